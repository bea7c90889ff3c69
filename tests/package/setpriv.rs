//! The unit's command without systemd: under the unit's user, capabilities, address families and
//! environment, with a socket of the test's in the place of systemd's.

use std::collections::HashMap;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::time::Duration;

use crate::deb;
use crate::machine::Machine;
use crate::support::Backend;
use crate::support::wait::eventually;

#[test]
fn the_units_command_serves_port_80_with_nothing_but_what_the_unit_grants() {
    let (Some(package), Some(machine)) = (deb::package(), Machine::bare()) else {
        return;
    };
    machine.install(&package);
    let unit = Unit::of(&machine.read("/lib/systemd/system/tcpffee.service"));
    let directory = format!("/run/{}", unit.one("RuntimeDirectory"));
    let (user, group) = (unit.one("User"), unit.one("Group"));
    machine.ok(&format!("install -d -o {user} -g {group} {directory}"));
    machine.replace(
        "/etc/tcpffee/tcpffee.toml",
        "ports = [5280, 5281, 5282]",
        "ports = [80]",
    );
    let heard = UnixDatagram::bind(machine.path("/run/notify")).unwrap();
    heard
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let all = Permissions::from_mode(0o777);
    std::fs::set_permissions(machine.path("/run/notify"), all).unwrap();
    let _server = machine.inside(|| {
        let address = std::net::Ipv4Addr::new(127, 0, 0, 11);
        Backend::echo("alder", address, &[80])
    });
    machine.replace(
        "/etc/tcpffee/tcpffee.toml",
        "[groups.1]",
        "[groups.1]\ndisabled = true",
    );
    machine.replace(
        "/etc/tcpffee/tcpffee.toml",
        "[groups.2]",
        "[groups.2]\ndisabled = true",
    );

    let capabilities = unit.one("AmbientCapabilities");
    assert_eq!(unit.one("CapabilityBoundingSet"), capabilities);
    let capability = capabilities.trim_start_matches("CAP_").to_lowercase();
    let line = format!(
        "exec env {} NOTIFY_SOCKET=/run/notify WATCHDOG_USEC=2000000 \
         setpriv --reuid {user} --regid {group} --clear-groups --no-new-privs \
         --inh-caps -all,+{capability} --ambient-caps -all,+{capability} \
         --bounding-set -all,+{capability} -- {}",
        unit.one("Environment"),
        unit.one("ExecStart"),
    );
    let families = unit.one("RestrictAddressFamilies").to_owned();
    let mut service = machine.start_command_with(&line, |command| {
        let allowed: Vec<u32> = families.split_whitespace().map(family).collect();
        let filter = address_families(&allowed);
        // SAFETY: only system calls are made between fork and exec.
        unsafe { command.pre_exec(move || install(&filter)) };
    });

    let hear = |word: &str| {
        let mut buffer = [0; 4096];
        loop {
            let length = heard
                .recv(&mut buffer)
                .unwrap_or_else(|error| panic!("{word}: {error}"));
            let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if said.lines().any(|line| line == word) {
                return said;
            }
        }
    };
    hear("READY=1");
    assert_eq!(machine.ask(1, 80).unwrap(), "alder");
    hear("WATCHDOG=1");
    // It cannot do what the unit does not let it.
    let pid = machine.ok("cat /run/tcpffee/tcpffee.pid");
    let status = machine.read(&format!("/proc/{}/status", pid.trim()));
    assert!(status.contains("CapEff:\t0000000000000400"), "{status}");
    assert!(status.contains("Seccomp:\t2"), "{status}");

    let reload = unit.one("ExecReload");
    let said = machine.ok(reload);
    assert!(said.contains("nothing has changed"), "{said}");
    hear("RELOADING=1");
    hear("READY=1");
    machine.ok(&format!("kill -TERM {}", pid.trim()));
    hear("STOPPING=1");
    let ended = service.wait().unwrap();
    assert_eq!(ended.code(), Some(0));
    eventually("nobody listens", || machine.ask(1, 80).is_err());
}

/// The settings of a unit's file; of those that stand there more than once, the last.
struct Unit(HashMap<String, String>);

impl Unit {
    fn of(text: &str) -> Unit {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let settings = lines.filter_map(|line| line.split_once('='));
        Unit(
            settings
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    fn one(&self, key: &str) -> &str {
        self.0
            .get(key)
            .unwrap_or_else(|| panic!("{key}= is not in the unit"))
    }
}

fn family(name: &str) -> u32 {
    let number = match name {
        "AF_UNIX" => libc::AF_UNIX,
        "AF_INET" => libc::AF_INET,
        "AF_INET6" => libc::AF_INET6,
        "AF_NETLINK" => libc::AF_NETLINK,
        other => panic!("{other} in RestrictAddressFamilies="),
    };
    number.cast_unsigned()
}

/// A filter of system calls that lets `socket` have these address families only.
fn address_families(allowed: &[u32]) -> Vec<libc::sock_filter> {
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: u16::try_from(code).expect("a BPF code has 16 bits"),
        jt: 0,
        jf: 0,
        k,
    };
    let jump = |k: u32, jt: usize, jf: usize| libc::sock_filter {
        jt: u8::try_from(jt).expect("a short jump"),
        jf: u8::try_from(jf).expect("a short jump"),
        ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, k)
    };
    let load = |offset| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset);
    let answer = |k| statement(libc::BPF_RET | libc::BPF_K, k);
    // struct seccomp_data: the call's number, then at 16 its first argument.
    let socket = u32::try_from(libc::SYS_socket).expect("a small number");
    let count = allowed.len();
    let mut filter = vec![load(0), jump(socket, 0, count + 2), load(16)];
    // Each jumps to the last answer.
    filter.extend(
        allowed
            .iter()
            .enumerate()
            .map(|(index, family)| jump(*family, count - index, 0)),
    );
    filter.push(answer(
        libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT.cast_unsigned(),
    ));
    filter.push(answer(libc::SECCOMP_RET_ALLOW));
    filter
}

fn install(filter: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).expect("a short filter"),
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the program and its filter live until the kernel has copied them.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
