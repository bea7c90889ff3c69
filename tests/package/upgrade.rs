//! From one version to the next.

use std::path::PathBuf;

use crate::deb::{self, Parts};
use crate::machine::{Machine, client_address, proxy};
use crate::support::client;
use crate::support::wait::eventually;

/// A version before the one that is tried, whose configuration file has a word less.
fn previous() -> Option<(Parts, PathBuf)> {
    let parts = Parts::of(&deb::package()?);
    parts.version("0.0.9-1");
    parts.replace(
        "etc/tcpffee/tcpffee.toml",
        "# The configuration of tcpffee, a sticky TCP load balancer.",
        "# The configuration of tcpffee.",
    );
    let deb = parts.build();
    Some((parts, deb))
}

/// The service of the previous version with an edited file, and a client of each server.
fn running_previous() -> Option<(Machine, PathBuf)> {
    let (package, machine) = (deb::package()?, Machine::booted()?);
    let (_parts, old) = previous()?;
    machine.install(&old);
    machine.await_active();
    machine.replace(
        "/etc/tcpffee/tcpffee.toml",
        "expiration = 10",
        "expiration = 3600",
    );
    machine.ok("systemctl reload tcpffee");
    Some((machine, package))
}

#[test]
fn the_new_version_takes_over_with_the_edited_file_and_every_stick() {
    let Some((machine, package)) = running_previous() else {
        return;
    };
    let _servers = machine.servers();
    let clients = 1..=30;
    let before: Vec<String> = clients
        .clone()
        .map(|last| machine.ask(last, 5280).unwrap())
        .collect();
    let pid = machine.service_pid();

    let said = machine.install(&package);
    assert!(!said.contains("tcpffee: "), "{said}");
    machine.await_active();
    assert_ne!(machine.service_pid(), pid);
    let after: Vec<String> = clients
        .map(|last| machine.ask(last, 5281).unwrap())
        .collect();
    assert_eq!(after, before);
    assert!(
        machine
            .read("/etc/tcpffee/tcpffee.toml")
            .contains("expiration = 3600")
    );
    // The new version's file lies beside it.
    machine.ok("grep -q 'a sticky TCP load balancer' /etc/tcpffee/tcpffee.toml.dpkg-dist");
    assert_eq!(machine.service("UnitFileState"), "enabled");
}

#[test]
fn where_the_new_version_does_not_take_the_file_the_old_process_goes_on() {
    let Some((machine, package)) = running_previous() else {
        return;
    };
    let _servers = machine.servers();
    let before = machine.ask(1, 5280).unwrap();
    let (_, stream) = machine
        .inside(|| client::greet(client_address(1), proxy(5280)))
        .unwrap();
    let pid = machine.service_pid();
    machine.replace(
        "/etc/tcpffee/tcpffee.toml",
        "expiration = 3600",
        "expiratoin = 3600",
    );

    let said = machine.install(&package);
    for words in ["expiratoin", "left as it is", "systemctl restart tcpffee"] {
        assert!(said.contains(words), "{words:?} in {said}");
    }
    assert_eq!(machine.service_pid(), pid);
    assert_eq!(machine.service("ActiveState"), "active");
    client::exchange(&stream, b"no cut").unwrap();
    assert_eq!(machine.ask(1, 5281).unwrap(), before);
    let state = machine.ok("dpkg-query --show --showformat '${Status} ${Version}' tcpffee");
    assert!(state.starts_with("install ok installed"), "{state}");
    assert!(!state.contains("0.0.9"), "{state}");
    // As it was said.
    machine.replace(
        "/etc/tcpffee/tcpffee.toml",
        "expiratoin = 3600",
        "expiration = 3600",
    );
    machine.ok("tcpffee check");
    drop(stream);
    machine.ok("systemctl restart tcpffee");
    assert_eq!(machine.ask(1, 5282).unwrap(), before);
}

#[test]
fn a_service_that_was_stopped_or_disabled_stays_so() {
    let Some((machine, package)) = running_previous() else {
        return;
    };
    machine.ok("systemctl disable --now tcpffee");
    machine.install(&package);
    assert_eq!(machine.service("ActiveState"), "inactive");
    assert_eq!(machine.service("UnitFileState"), "disabled");
}

#[test]
fn an_upgrade_that_does_not_come_about_leaves_the_process_alone() {
    let Some((machine, package)) = running_previous() else {
        return;
    };
    let pid = machine.service_pid();
    let parts = Parts::of(&package);
    parts.version("0.2.0-1");
    // A file of another package's: dpkg takes back what it has begun.
    std::fs::create_dir_all(parts.path("usr/bin")).unwrap();
    std::fs::write(parts.path("usr/bin/man"), "not ours").unwrap();
    std::fs::copy(parts.build(), machine.path("/tmp/package.deb")).unwrap();
    let failed = machine.run("dpkg --install /tmp/package.deb");
    assert_eq!(failed.code, Some(1), "{}", failed.output);
    assert!(
        failed.output.contains("trying to overwrite"),
        "{}",
        failed.output
    );
    assert_eq!(machine.service_pid(), pid);
    let state = machine.ok("dpkg-query --show --showformat '${Status} ${Version}' tcpffee");
    assert_eq!(state, "install ok installed 0.0.9-1");
}

#[test]
fn a_removal_that_does_not_come_about_leaves_the_service_running() {
    let Some((machine, _)) = running_previous() else {
        return;
    };
    machine.ok("/var/lib/dpkg/info/tcpffee.prerm remove");
    assert_eq!(machine.service("ActiveState"), "inactive");
    machine.ok("/var/lib/dpkg/info/tcpffee.postinst abort-remove");
    machine.await_active();
}

#[test]
fn a_service_that_has_failed_is_started_by_the_version_that_takes_its_file() {
    let Some((machine, package)) = running_previous() else {
        return;
    };
    machine.replace(
        "/etc/tcpffee/tcpffee.toml",
        "expiration = 3600",
        "expiratoin = 3600",
    );
    machine.run("systemctl restart tcpffee");
    eventually("it has failed", || {
        machine.service("ActiveState") == "failed"
    });
    let said = machine.install(&package);
    assert!(said.contains("expiratoin"), "{said}");
    assert!(!said.contains("the process that runs"), "{said}");
    machine.replace(
        "/etc/tcpffee/tcpffee.toml",
        "expiratoin = 3600",
        "expiration = 3600",
    );
    // The same version once more.
    machine.install(&package);
    machine.await_active();
}

#[test]
fn the_check_before_a_restart_is_of_what_the_service_reads() {
    let Some((machine, package)) = running_previous() else {
        return;
    };
    machine.write(
        "/etc/systemd/system/tcpffee.service.d/elsewhere.conf",
        "[Service]\nEnvironment=TCPFFEE_CONFIG_PATH=/etc/tcpffee/elsewhere.toml\n",
    );
    machine.ok("cp /etc/tcpffee/tcpffee.toml /etc/tcpffee/elsewhere.toml");
    machine.ok("systemctl daemon-reload && systemctl restart tcpffee");
    let pid = machine.service_pid();
    machine.replace(
        "/etc/tcpffee/elsewhere.toml",
        "expiration = 3600",
        "expiratoin = 3600",
    );
    let said = machine.install(&package);
    assert!(said.contains("elsewhere.toml"), "{said}");
    assert_eq!(machine.service_pid(), pid);
}
