//! The service under a real systemd: what systemd hears of it, and what it does about it.

use std::fs::Permissions;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use crate::deb;
use crate::machine::{Machine, client_address, proxy};
use crate::support::wait::eventually;
use crate::support::{Backend, Job, client};

fn installed() -> Option<Machine> {
    let (package, machine) = (deb::package()?, Machine::booted()?);
    machine.install(&package);
    machine.await_active();
    Some(machine)
}

#[test]
fn the_unit_is_valid_and_as_locked_up_as_it_can_be() {
    let Some(machine) = installed() else { return };
    let verified = machine.ok("systemd-analyze verify /lib/systemd/system/tcpffee.service");
    assert_eq!(verified, "");
    machine.ok(
        "systemd-analyze security --offline=yes --threshold=15 --no-pager \
         /lib/systemd/system/tcpffee.service",
    );
    let pid = machine.service_pid();
    let status = machine.read(&format!("/proc/{pid}/status"));
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} in {status}"))
            .trim()
            .to_owned()
    };
    // CAP_NET_BIND_SERVICE is bit 10.
    for set in ["CapEff:", "CapPrm:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000400", "{set}");
    }
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("Seccomp:"), "2");
    let owner = machine.ok(&format!("stat --format '%U %G' /proc/{pid}"));
    assert_eq!(owner.trim(), "tcpffee tcpffee");
    assert_eq!(machine.service("LimitNOFILE"), "1048576");
    let journal = machine.journal();
    for complaint in ["[WARN", "[ERROR"] {
        assert!(!journal.contains(complaint), "{journal}");
    }
}

#[test]
fn a_changed_file_takes_effect_by_systemctl_reload_port_80_included() {
    let Some(machine) = installed() else { return };
    let pid = machine.service_pid();
    let file = "/etc/tcpffee/tcpffee.toml";
    machine.replace(file, "ports = [5280, 5281, 5282]", "ports = [80, 5280]");
    machine.replace(
        file,
        "portmap = \"127.0.0.11\"",
        "portmap = { 80 = \"127.0.0.11:5280\" }",
    );
    let _servers = machine.servers();
    machine.ok("systemctl reload tcpffee");
    assert_eq!(machine.ask(1, 80).unwrap(), "alder");
    let status = machine.service("StatusText");
    assert!(status.contains("reloaded"), "{status}");
    assert_eq!(machine.service("ActiveState"), "active");

    // A bad one fails the reload, and changes nothing.
    machine.replace(file, "expiration = 10", "expiration = \"soon\"");
    let refused = machine.run("systemctl reload tcpffee");
    assert_eq!(refused.code, Some(1), "{}", refused.output);
    assert_eq!(machine.service("ActiveState"), "active");
    assert_eq!(machine.service_pid(), pid);
    let journal = machine.journal();
    assert!(journal.contains("tcpffee.toml:"), "{journal}");
    assert_eq!(machine.ask(1, 80).unwrap(), "alder");
    let status = machine.service("StatusText");
    assert!(status.contains("refused"), "{status}");
}

/// The sandbox lets the service reach a socket below /run, and the user decides who may.
#[test]
fn the_service_reaches_a_unix_socket_that_its_user_may_write_to() {
    let Some(machine) = installed() else { return };
    let path = machine.path("/run/server.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().write_all(b"by unix\n");
        }
    });
    let allow = |mode| std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    let file = "/etc/tcpffee/tcpffee.toml";
    let to_socket = "portmap = \"unix:/run/server.sock\"";
    machine.replace(file, "portmap = \"127.0.0.11\"", to_socket);
    for other in ["[groups.1]\n", "[groups.2]\n"] {
        machine.replace(file, other, &format!("{other}disabled = true\n"));
    }
    allow(0o600);
    machine.ok("systemctl reload tcpffee");
    assert!(machine.ask(1, 5280).is_err());
    let journal = machine.journal();
    let said = "does not answer at unix:/run/server.sock: Permission denied";
    assert!(journal.contains(said), "{journal}");
    allow(0o666);
    assert_eq!(machine.ask(1, 5280).unwrap(), "by unix");
}

#[test]
fn a_stop_waits_for_open_connections_longer_than_systemd_would() {
    let Some(machine) = installed() else { return };
    let _servers = machine.servers();
    machine.write(
        "/etc/systemd/system/tcpffee.service.d/impatient.conf",
        "[Service]\nTimeoutStopSec=2\n",
    );
    machine.replace(
        "/etc/tcpffee/tcpffee.toml",
        "#shutdown_grace = 30",
        "shutdown_grace = 60",
    );
    machine.ok("systemctl daemon-reload && systemctl reload tcpffee");
    let (_, stream) = machine
        .inside(|| client::greet(client_address(1), proxy(5280)))
        .unwrap();
    let begun = Instant::now();
    machine.ok("systemctl --no-block stop tcpffee");
    eventually("systemd waits", || {
        machine.service("ActiveState") == "deactivating"
    });
    // Bytes pass to and fro for three times as long as systemd would have waited by itself.
    while begun.elapsed() < Duration::from_secs(6) {
        client::exchange(&stream, b"still here").unwrap();
        assert_eq!(machine.service("ActiveState"), "deactivating");
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(stream);
    eventually("the service has stopped", || {
        machine.service("ActiveState") == "inactive"
    });
    assert_eq!(machine.service("Result"), "success");
    assert!(machine.journal().contains("every connection had ended"));
}

#[test]
fn connections_that_are_cut_at_a_stop_make_no_failure_of_it() {
    let Some(machine) = installed() else { return };
    let _servers = machine.servers();
    machine.replace(
        "/etc/tcpffee/tcpffee.toml",
        "#shutdown_grace = 30",
        "shutdown_grace = 0.5",
    );
    machine.ok("systemctl reload tcpffee");
    let (_, stream) = machine
        .inside(|| client::greet(client_address(1), proxy(5280)))
        .unwrap();
    machine.ok("systemctl stop tcpffee");
    assert_eq!(machine.service("Result"), "success");
    assert_eq!(machine.service("ActiveState"), "inactive");
    drop(stream);
}

#[test]
fn a_process_that_stands_still_or_dies_is_started_anew() {
    let Some(machine) = installed() else { return };
    machine.write(
        "/etc/systemd/system/tcpffee.service.d/impatient.conf",
        "[Service]\nWatchdogSec=8\n",
    );
    machine.ok("systemctl daemon-reload && systemctl restart tcpffee");
    let first = machine.service_pid();
    machine.ok(&format!("kill -STOP {first}"));
    eventually("the watchdog has ended it, and another runs", || {
        let pid = machine.service_pid();
        pid != 0 && pid != first && machine.service("ActiveState") == "active"
    });
    assert_eq!(machine.service("NRestarts"), "1");
    let second = machine.service_pid();
    machine.ok(&format!("kill -KILL {second}"));
    eventually("another runs", || {
        let pid = machine.service_pid();
        pid != 0 && pid != second && machine.service("ActiveState") == "active"
    });
    // It goes on and on: idle loops feed the watchdog.
    let third = machine.service_pid();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        assert_eq!(machine.service_pid(), third);
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_bad_configuration_fails_the_start_once_and_says_why() {
    let Some(machine) = installed() else { return };
    machine.replace(
        "/etc/tcpffee/tcpffee.toml",
        "expiration = 10",
        "expiration = \"soon\"",
    );
    let failed = machine.run("systemctl restart tcpffee");
    assert_eq!(failed.code, Some(1), "{}", failed.output);
    eventually("the service has failed", || {
        machine.service("ActiveState") == "failed"
    });
    assert_eq!(machine.service("NRestarts"), "0");
    assert!(machine.journal().contains("expiration"));
    let errors = machine.ok("journalctl --unit tcpffee --priority err --output cat --no-pager");
    assert!(errors.contains("[ERROR] tcpffee: "), "{errors}");
    assert!(!errors.contains("[INFO"), "{errors}");
    let status = machine.service("StatusText");
    assert!(status.contains("cannot start"), "{status}");
}

#[test]
fn variables_of_etc_default_reach_the_service_and_the_commands() {
    let Some(machine) = installed() else { return };
    let mut file = std::fs::File::options()
        .append(true)
        .open(machine.path("/etc/default/tcpffee"))
        .unwrap();
    file.write_all(b"TCPFFEE_PID_PATH=/run/tcpffee/other.pid\nRUST_LOG=debug\n")
        .unwrap();
    machine.ok("systemctl restart tcpffee");
    let pid = machine.service_pid();
    assert_eq!(
        machine.read("/run/tcpffee/other.pid").trim(),
        pid.to_string()
    );
    machine.ok("tcpffee status");
    machine.ok("systemctl reload tcpffee");
    assert!(machine.journal().contains("[DEBUG"));
    // A slip in the file keeps nobody from asking the process that runs.
    file.write_all(b"TCPFFEE_KEY_TYPE=ip\n").unwrap();
    machine.ok("tcpffee status");
    machine.ok("systemctl reload tcpffee");
    assert_eq!(machine.run("tcpffee check").code, Some(1));
}

#[test]
fn the_drop_in_for_transparent_proxying_adds_its_capability_and_no_other() {
    let Some(machine) = installed() else { return };
    let file = "/etc/tcpffee/tcpffee.toml";
    machine.replace(file, "#transparent = false", "transparent = true");
    assert_ne!(machine.run("systemctl reload tcpffee").code, Some(0));
    let journal = machine.journal();
    assert!(
        journal.contains("examples/transparent.conf and a restart"),
        "{journal}"
    );
    machine.ok(
        "install -D -m 0644 /usr/share/doc/tcpffee/examples/transparent.conf \
             /etc/systemd/system/tcpffee.service.d/transparent.conf
         systemctl daemon-reload
         systemctl restart tcpffee",
    );
    let status = machine.read(&format!("/proc/{}/status", machine.service_pid()));
    // CAP_NET_BIND_SERVICE is bit 10, CAP_NET_ADMIN bit 12.
    assert!(status.contains("CapEff:\t0000000000001400"), "{status}");
    // Group 0 is transparent, and one of the first three clients is its.
    let servers = machine.servers();
    for client in 1..=3 {
        machine.ask(client, 5280).unwrap();
    }
    let seen = servers[0].arrivals();
    let clients: Vec<_> = (1..=3).map(client_address).collect();
    assert!(!seen.is_empty());
    assert!(
        seen.iter().all(|(peer, _)| clients.contains(&peer.ip())),
        "{seen:?}"
    );
}

#[test]
fn a_node_of_a_cluster_with_checks_and_heavy_flow_lacks_nothing_in_the_sandbox() {
    let Some(machine) = installed() else { return };
    machine.link("link add tcpffee0 address 02:00:00:00:00:01 type veth peer name tcpffee1");
    let mut text = machine.read("/etc/tcpffee/tcpffee.toml");
    text.push_str(
        "\n[[groups.0.healthchecks]]\nport = 5290\nhttp_target = \"/\"\n\
         fall_action = \"Up\"\n[[groups.0.healthchecks]]\nport = 5290\n\
         [[peers]]\nhost = \"127.0.0.1\"\nmac_address = \"02:00:00:00:00:01\"\n",
    );
    machine.write("/etc/tcpffee/tcpffee.toml", &text);
    let ports = [5280, 5281, 5282];
    let _servers = machine.inside(move || {
        let server = |last| Backend::bulk("bulk", Ipv4Addr::new(127, 0, 0, last), &ports);
        let checked = Backend::echo("checked", Ipv4Addr::new(127, 0, 0, 11), &[5290]);
        ([11, 12, 13].map(server), checked)
    });
    machine.ok("systemctl restart tcpffee");
    eventually("the node may get traffic", || {
        machine.run("tcpffee status").code == Some(0)
    });
    let stream = machine
        .inside(|| client::connect(client_address(1), proxy(5280)))
        .unwrap();
    let job = Job {
        seed: 7,
        up: 100 << 20,
        down: 100 << 20,
        abort: false,
    };
    job.run(&stream);
    // Nothing that it tried was refused by the sandbox.
    let journal = machine.journal();
    assert!(journal.contains("of a cluster of 1"), "{journal}");
    let complaints = journal.lines().filter(|line| {
        let is_check = line.contains("health check HTTP"); // that server does not speak it
        !is_check
            && ["[WARN", "[ERROR", "ermitted"]
                .iter()
                .any(|word| line.contains(word))
    });
    let complaints: Vec<_> = complaints.collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[test]
fn root_does_not_take_the_state_from_the_service() {
    let Some(machine) = installed() else { return };
    machine.ok("systemctl stop tcpffee");
    let refused = machine.run("timeout 20 tcpffee");
    assert_eq!(refused.code, Some(3), "{}", refused.output);
    assert!(
        refused.output.contains("systemctl start tcpffee"),
        "{}",
        refused.output
    );
    machine.ok("systemctl start tcpffee");
}
