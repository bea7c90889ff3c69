//! The configurations and commands of the pages, given to the real program.

use std::net::IpAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use super::mdoc::{Page, items, text};
use super::{file_page, program_page};
use crate::support::proxy::{BINARY, State, subcommand};
use crate::support::{Backend, Proxy, client, eventually, netns};

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const OTHER_CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 5));

/// The one display of a section that is a whole configuration.
fn configuration_in(section: &str) -> String {
    let lines = program_page().section(section).join("\n");
    let mut found = Page::parse(&lines).configurations();
    assert_eq!(found.len(), 1, "{section}");
    found.remove(0)
}

/// The display of a section that has this in it.
fn commands_with(section: &str, part: &str) -> String {
    let lines = program_page().section(section).join("\n");
    let displays = Page::parse(&lines).displays();
    let found = displays.into_iter().find(|text| text.contains(part));
    found.unwrap_or_else(|| panic!("{section} shows {part}"))
}

#[test]
fn every_configuration_is_valid_without_a_warning() {
    let pages = [(program_page(), 4), (file_page(), 4)];
    for (page, count) in pages {
        let configurations = page.configurations();
        assert_eq!(configurations.len(), count);
        for text in configurations {
            let state = State::new();
            std::fs::write(state.config_path(), &text).expect("the file can be written");
            let answer = subcommand(&state, &["check"]);
            assert_eq!(answer.code, 0, "{}\n{text}", answer.text);
            assert!(
                answer.text.ends_with("no warnings\n"),
                "{}\n{text}",
                answer.text
            );
        }
    }
}

#[test]
fn mistakes_are_answered_as_the_page_shows() {
    let section = file_page().section("Errors");
    let displays = Page::parse(&section.join("\n")).displays();
    let state = State::new();
    std::fs::write(state.path("tcpffee.toml"), &displays[0]).expect("the file can be written");
    let directory = state.config_path();
    let output = Command::new(BINARY)
        .args(["check", "--config", "tcpffee.toml"])
        .current_dir(directory.parent().expect("a file is in a directory"))
        .output()
        .expect("the binary can be started");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let said: Vec<&str> = said
        .lines()
        .filter(|line| line.contains(": error: "))
        .collect();
    let shown: Vec<String> = items(&section)
        .iter()
        .map(|item| text(&item.body))
        .collect();
    assert_eq!(said, shown);
}

/// Runs a display's commands as a reader would, with the program under test as `tcpffee`.
fn run(proxy: &Proxy, commands: &str) -> (bool, String) {
    let directory = std::path::Path::new(BINARY)
        .parent()
        .expect("a file is in a directory");
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("sh")
        .args(["-ec", commands])
        .env("PATH", format!("{}:{path}", directory.display()))
        .env("TCPFFEE_PID_PATH", proxy.state().pid_path())
        .stdin(Stdio::null())
        .output()
        .expect("a shell can be started");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), None);
    (output.status.success(), text.into_owned())
}

fn who_answers(from: IpAddr, port: u16) -> String {
    let place = (CLIENT, port).into();
    client::ask(from, place).unwrap_or_else(|error| panic!("{from} at port {port}: {error}"))
}

#[test]
fn the_quick_start_leads_to_two_servers() {
    netns::in_new_namespace(|| {
        for address in ["10.0.0.11/32", "10.0.0.12/32"] {
            netns::ip(&format!("address add {address} dev lo")).expect("lo takes addresses");
        }
        let address = |last| IpAddr::from([10, 0, 0, last]);
        let _alder = Backend::echo("alder", address(11), &[5280]);
        let _birch = Backend::echo("birch", address(12), &[5280]);
        let proxy = Proxy::builder_from_text(configuration_in("QUICK START")).start();

        let mine = who_answers(CLIENT, 5280);
        let other = who_answers(OTHER_CLIENT, 5280);
        assert_ne!(mine, other);
        for _ in 0..3 {
            assert_eq!(who_answers(CLIENT, 5280), mine);
        }
        let (_, table) = run(&proxy, "tcpffee sticks");
        assert!(table.contains("127.0.0.1 "), "{table}");
        let (is_fine, status) = run(&proxy, "tcpffee status");
        assert!(is_fine && status.contains("healthy"), "{status}");

        // The last step: drained, it takes no new client, and comes back.
        let (is_done, said) = run(&proxy, "tcpffee drain birch");
        assert!(is_done, "{said}");
        assert_eq!(
            who_answers("127.0.0.6".parse().expect("an address"), 5280),
            "alder"
        );
        let (is_done, said) = run(&proxy, "tcpffee enable birch");
        assert!(is_done, "{said}");
    });
}

#[test]
fn the_main_example_starts_with_nothing_behind_it() {
    netns::in_new_namespace(|| {
        let text = configuration_in("Two servers on this machine");
        let proxy = Proxy::builder_from_text(text).start();
        let status = || run(&proxy, "tcpffee status").1;
        let are_up = || {
            status()
                .lines()
                .filter(|line| line.contains(" Up "))
                .count()
        };
        eventually("both groups are found to be down", || are_up() == 0);

        let _alder = Backend::echo("alder", IpAddr::from([127, 0, 0, 11]), &[5280, 5281]);
        let _birch = Backend::echo("birch", IpAddr::from([127, 0, 0, 12]), &[5280, 5281]);
        eventually("both groups are found to be up", || are_up() == 2);
        let mine = who_answers(CLIENT, 5280);
        assert_eq!(who_answers(CLIENT, 5281), mine);
        assert_ne!(who_answers(OTHER_CLIENT, 5280), mine);
    });
}

#[test]
fn the_draining_commands_wait_for_the_last_client() {
    netns::in_new_namespace(|| {
        let text = configuration_in("Two servers on this machine");
        let text = text.replace("expiration = 60", "expiration = 1");
        let _alder = Backend::echo("alder", IpAddr::from([127, 0, 0, 11]), &[5280, 5281]);
        let _birch = Backend::echo("birch", IpAddr::from([127, 0, 0, 12]), &[5280, 5281]);
        let proxy = Proxy::builder_from_text(text).start();
        // Two clients, one of them of birch, which keeps its connection.
        let held = [CLIENT, OTHER_CLIENT]
            .map(|from| client::greet(from, (CLIENT, 5280).into()).expect("a server answers"));
        let commands = commands_with("Draining a server with nobody interrupted", "until");
        let commands = commands.replace("sleep 5", "sleep 0.1");
        std::thread::scope(|scope| {
            let drained = scope.spawn(|| run(&proxy, &commands));
            let status = || run(&proxy, "tcpffee status").1;
            eventually("birch drains", || status().contains("1 connection left"));
            assert!(!drained.is_finished());
            drop(held);
            let (is_done, said) = drained.join().expect("the shell ends");
            assert!(is_done, "{said}");
            assert!(status().contains("; drained"), "{}", status());
        });
    });
}

#[test]
fn the_signals_of_the_page_are_those_that_the_process_catches() {
    netns::in_new_namespace(|| {
        let proxy =
            Proxy::builder_from_text(configuration_in("Two servers on this machine")).start();
        let path = format!("/proc/{}/status", proxy.pid());
        let status = std::fs::read_to_string(path).expect("the process is there");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = u64::from_str_radix(caught.expect("Linux has it").trim(), 16);
        let caught = caught.expect("a mask is hexadecimal");
        let mut expected: Vec<&str> = SIGNALS
            .iter()
            .filter(|(number, _)| caught & (1 << (number - 1)) != 0)
            .map(|(_, name)| *name)
            .collect();
        let described = items(&program_page().section("SIGNALS"));
        let mut found: Vec<&str> = described
            .iter()
            .flat_map(|item| item.head.split(", "))
            .collect();
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected);
    });
}

/// Those that mean something to a server; SIGSEGV and SIGBUS are caught by Rust's start-up code to
/// tell of a stack that overflows.
const SIGNALS: &[(u32, &str)] = &[
    (1, "SIGHUP"),
    (2, "SIGINT"),
    (3, "SIGQUIT"),
    (10, "SIGUSR1"),
    (12, "SIGUSR2"),
    (14, "SIGALRM"),
    (15, "SIGTERM"),
    (17, "SIGCHLD"),
    (28, "SIGWINCH"),
];
