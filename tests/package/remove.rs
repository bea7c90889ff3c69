//! What remains of the package when it goes.

use std::collections::BTreeSet;

use crate::deb;
use crate::machine::Machine;

/// Everything on the disk but what belongs to the package manager, to systemd and to logs; and the
/// accounts.
fn everything(machine: &Machine) -> BTreeSet<String> {
    let lines = machine.ok(
        "find / -xdev \\( -path /var/lib/dpkg -o -path /var/log -o -path /var/cache \
             -o -path /var/backups -o -path /var/lib/systemd/timers -o -path /var/lib/systemd/random-seed \
             -o -path /tmp -o -path /var/tmp \\) -prune -o -print; cat /etc/passwd /etc/group",
    );
    lines.lines().map(str::to_owned).collect()
}

#[test]
fn remove_keeps_what_is_the_administrators_and_purge_leaves_nothing() {
    let (Some(package), Some(machine)) = (deb::package(), Machine::booted()) else {
        return;
    };
    let before = everything(&machine);
    machine.install(&package);
    machine.await_active();
    machine.write("/etc/tcpffee/peer_secret", "not to be left behind\n");
    let _servers = machine.servers();
    machine.ask(1, 5280).unwrap();
    let pid = machine.service_pid();

    machine.ok("dpkg --remove tcpffee");
    assert!(
        !machine.path(&format!("/proc/{pid}")).exists(),
        "it still runs"
    );
    assert!(machine.ask(1, 5280).is_err());
    for kept in [
        "/etc/tcpffee/tcpffee.toml",
        "/etc/default/tcpffee",
        "/etc/tcpffee/peer_secret",
        "/var/lib/tcpffee/stick_table",
    ] {
        machine.ok(&format!("test -e {kept}"));
    }
    // Installed again, it knows its clients.
    machine.install(&package);
    machine.await_active();
    assert!(machine.journal().contains("1 stick entries restored"));

    machine.ok("dpkg --purge tcpffee");
    let after = everything(&machine);
    let left: Vec<_> = after.difference(&before).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    let gone: Vec<_> = before.difference(&after).collect();
    assert!(gone.is_empty(), "taken along: {gone:?}");
    assert!(!machine.path("/run/tcpffee").exists());
}

#[test]
fn a_purge_at_once_leaves_nothing_either() {
    let (Some(package), Some(machine)) = (deb::package(), Machine::bare()) else {
        return;
    };
    let before = everything(&machine);
    machine.install(&package);
    machine.ok("dpkg --purge tcpffee");
    let after = everything(&machine);
    let left: Vec<_> = after.difference(&before).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}
