//! What the package puts where, and what its installation does.

use std::process::Command;

use crate::deb::{self, Parts, succeed};
use crate::machine::Machine;

/// Owner, group, mode and path of everything that the package brings or makes.
const FILES: &str = "\
root root 755 /etc/tcpffee
root root 644 /etc/tcpffee/tcpffee.toml
root root 644 /etc/default/tcpffee
root root 755 /usr/sbin/tcpffee
root root 644 /lib/systemd/system/tcpffee.service
root root 644 /usr/share/man/man8/tcpffee.8.gz
root root 644 /usr/share/man/man5/tcpffee.toml.5.gz
root root 644 /usr/share/bash-completion/completions/tcpffee
root root 644 /usr/share/zsh/vendor-completions/_tcpffee
root root 644 /usr/share/fish/vendor_completions.d/tcpffee.fish
root root 644 /usr/share/doc/tcpffee/README.md
root root 644 /usr/share/doc/tcpffee/copyright
root root 644 /usr/share/doc/tcpffee/changelog.gz
root root 644 /usr/share/doc/tcpffee/changelog.Debian.gz
root root 644 /usr/share/doc/tcpffee/docs/CLUSTER.md
root root 644 /usr/share/doc/tcpffee/docs/CONFIGURATION.md
root root 644 /usr/share/doc/tcpffee/docs/MIGRATING.md
root root 644 /usr/share/doc/tcpffee/docs/TRANSPARENT.md
root root 644 /usr/share/doc/tcpffee/examples/alerts.yml
root root 644 /usr/share/doc/tcpffee/examples/grafana-dashboard.json
root root 644 /usr/share/doc/tcpffee/examples/tcpffee-sysctl.conf
root root 644 /usr/share/doc/tcpffee/examples/transparent.conf
tcpffee tcpffee 750 /var/lib/tcpffee
tcpffee tcpffee 755 /run/tcpffee
tcpffee tcpffee 640 /run/tcpffee/tcpffee.pid
tcpffee tcpffee 660 /run/tcpffee/tcpffee.sock
";

#[test]
fn the_files_are_there_with_their_owners_and_modes_and_the_service_runs() {
    let (Some(package), Some(machine)) = (deb::package(), Machine::booted()) else {
        return;
    };
    let said = machine.install(&package);
    assert!(!said.contains("tcpffee: "), "{said}");
    machine.await_active();
    assert_eq!(machine.service("UnitFileState"), "enabled");

    for line in FILES.lines() {
        let (_, path) = line.rsplit_once(' ').unwrap();
        let found = machine.ok(&format!("stat --format '%U %G %a %n' {path}"));
        assert_eq!(found.trim_end(), line);
    }
    let owned =
        machine.ok("dpkg --verify tcpffee; dpkg-query --show --showformat '${Conffiles}' tcpffee");
    for conffile in ["/etc/tcpffee/tcpffee.toml", "/etc/default/tcpffee"] {
        assert!(owned.contains(conffile), "{conffile}: {owned}");
    }
    // Nothing is readable by all that the process has written.
    let open = machine.ok("find /var/lib/tcpffee -perm /o=rwx");
    assert_eq!(open, "");

    let account = machine.ok("getent passwd tcpffee");
    assert!(
        account.contains(":/var/lib/tcpffee:/usr/sbin/nologin"),
        "{account}"
    );
    for (page, section) in [("tcpffee", "8"), ("tcpffee.toml", "5")] {
        let file = machine.ok(&format!("man --where {section} {page}"));
        let expected = format!("/usr/share/man/man{section}/{page}.{section}.gz");
        assert_eq!(file.trim(), expected);
    }
    // Three servers where the example expects them: a client has one of them on all ports.
    let servers = machine.servers();
    let first = machine.ask(1, 5280).unwrap();
    assert_eq!(machine.ask(1, 5281).unwrap(), first);
    assert_eq!(machine.ask(1, 5282).unwrap(), first);
    let names: Vec<&str> = servers.iter().map(|server| server.name()).collect();
    assert!(names.contains(&first.as_str()), "{first}");
    // Root, and who is in the group, asks the running process; others are told why not.
    let status = machine.ok("tcpffee status");
    assert!(status.contains("alder"), "{status}");
    machine.ok("setpriv --reuid nobody --regid tcpffee --clear-groups -- tcpffee status");
    let refused =
        machine.run("setpriv --reuid nobody --regid nogroup --clear-groups -- tcpffee status");
    assert_eq!(refused.code, Some(4), "{}", refused.output);
    assert!(refused.output.contains("ermission"), "{}", refused.output);
}

#[test]
fn nothing_is_missing_on_a_bare_debian_without_a_service_manager() {
    let (Some(package), Some(machine)) = (deb::package(), Machine::bare()) else {
        return;
    };
    machine.install(&package);
    machine.ok("tcpffee check");
    let libraries = machine.ok("ldd /usr/sbin/tcpffee");
    assert!(!libraries.contains("not found"), "{libraries}");
    // Enabled for the day when systemd is there.
    machine.ok("test -L /etc/systemd/system/multi-user.target.wants/tcpffee.service");
}

#[test]
fn completions_are_where_shells_look_for_them() {
    let (Some(package), Some(machine)) = (deb::package(), Machine::bare()) else {
        return;
    };
    machine.install(&package);
    let word = machine.ok("bash -c '. /usr/share/bash-completion/completions/tcpffee
         COMP_WORDS=(tcpffee rel) COMP_CWORD=1 COMP_LINE=\"tcpffee rel\" COMP_POINT=11
         complete -p tcpffee
         _tcpffee tcpffee rel tcpffee; echo \"${COMPREPLY[@]}\"'");
    assert!(word.trim_end().ends_with("reload"), "{word}");
}

#[test]
fn the_kernel_settings_of_the_example_can_be_set() {
    let (Some(package), Some(machine)) = (deb::package(), Machine::bare()) else {
        return;
    };
    machine.install(&package);
    let file = machine.path("/usr/share/doc/tcpffee/examples/tcpffee-sysctl.conf");
    // These belong to its network, so that the tests' own is left alone.
    let set = machine.inside(move || succeed(Command::new("sysctl").arg("-p").arg(file)));
    for name in [
        "ip_local_port_range",
        "ip_local_reserved_ports",
        "somaxconn",
    ] {
        assert!(set.contains(name), "{set}");
    }
}

#[test]
fn the_binary_is_stripped_and_its_symbols_are_in_a_package_of_their_own() {
    let Some(package) = deb::package() else {
        return;
    };
    let parts = Parts::of(&package);
    let mut readelf = Command::new("readelf");
    readelf.args(["--sections", "--wide"]);
    let said = succeed(readelf.arg(parts.path("usr/sbin/tcpffee")));
    assert!(
        !said.contains(".debug_info") && !said.contains(".symtab"),
        "{said}"
    );
    assert!(said.contains(".gnu_debuglink"), "{said}");
    let name = package.file_name().unwrap().to_string_lossy();
    let symbols = name
        .replace("tcpffee_", "tcpffee-dbgsym_")
        .replace(".deb", ".ddeb");
    let mut list = Command::new("dpkg-deb");
    let list = succeed(list.arg("--contents").arg(package.with_file_name(symbols)));
    // Where debuggers look for what the link names.
    let expected = "/usr/lib/debug/usr/sbin/tcpffee.debug";
    assert!(list.contains(expected), "{list}");
}
