//! The log of a whole process: no caller waits, a panic is heard, exit never hangs.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::support;
use support::wait::holds_within;
use support::{Backend, Block, Log, Proxy, Settings, client};
use tcpffee::logging::{self, DEFAULT_FILTER};

/// Long beyond any limit that the log keeps by itself, short of a hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs one of the children below in a process of its own, standard error being a pipe.
fn spawn(child: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture"])
        .arg(format!("logging::{child}"))
        .env_remove("RUST_LOG")
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn exit_code(mut child: Child) -> i32 {
    let mut status = None;
    let ended = holds_within(PATIENCE, || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    if !ended {
        child.kill().unwrap();
        panic!("the process hangs");
    }
    status.unwrap().code().unwrap_or(-1)
}

fn start() -> logging::LogGuard {
    let settings = logging::Settings {
        rust_log: None,
        default_filter: DEFAULT_FILTER,
    };
    logging::start(&settings).unwrap()
}

fn say_much() {
    for number in 0..50_000 {
        log::info!("line {number} {}", "x".repeat(100));
    }
}

#[test]
#[ignore = "a child of the tests below"]
fn child_says_much() {
    let log = start();
    say_much();
    drop(log);
    std::process::exit(7);
}

#[test]
#[ignore = "a child of the tests below"]
fn child_panics() {
    let _log = start();
    log::info!("the line before");
    let worker = thread::Builder::new().name("worker-7".to_owned());
    let worker = worker.spawn(|| panic!("out of luck")).unwrap();
    let _ = worker.join();
    thread::sleep(2 * PATIENCE);
}

#[test]
#[ignore = "a child of the tests below"]
fn child_says_much_and_panics() {
    let _log = start();
    say_much();
    let worker = thread::Builder::new().name("worker-7".to_owned());
    let worker = worker.spawn(|| panic!("out of luck")).unwrap();
    let _ = worker.join();
    thread::sleep(2 * PATIENCE);
}

#[test]
fn a_process_ends_though_its_standard_error_is_a_full_pipe() {
    let mut child = spawn("child_says_much");
    let unread = child.stderr.take();
    assert_eq!(exit_code(child), 7);
    drop(unread);
}

#[test]
fn lost_lines_are_reported_and_the_others_are_whole() {
    let mut child = spawn("child_says_much");
    let mut text = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(exit_code(child), 7);
    let (mut said, mut lost) = (0_u64, 0_u64);
    for line in text.lines() {
        match line.split_once("tcpffee::logging: ") {
            Some((_, report)) => {
                lost += report.split_once(' ').unwrap().0.parse::<u64>().unwrap();
            }
            None => {
                assert!(
                    line.ends_with("xxxx") && line.contains("[INFO ] proxy::logging: line"),
                    "{line}"
                );
                said += 1;
            }
        }
    }
    assert_eq!(said + lost, 50_000);
    assert!(!text.contains('\x1b'), "escape codes in a pipe");
}

#[test]
fn a_panic_in_any_thread_ends_the_process_with_a_message() {
    let mut child = spawn("child_panics");
    let log = Log::read_from(child.stderr.take().unwrap());
    assert_eq!(exit_code(child), 101);
    log.wait_end();
    let text = log.text();
    assert!(text.contains("the line before"), "{text}");
    assert!(
        text.contains("thread `worker-7` panicked at tests/proxy/logging.rs:"),
        "{text}"
    );
    assert!(text.contains("out of luck"), "{text}");
}

#[test]
fn a_panic_ends_the_process_though_standard_error_is_a_full_pipe() {
    let mut child = spawn("child_says_much_and_panics");
    let unread = child.stderr.take();
    assert_eq!(exit_code(child), 101);
    drop(unread);
}

#[test]
fn a_filter_that_cannot_be_read_is_reported() {
    let block = Block::claim();
    let settings = Settings::new(&block).group(0, block.backend(0));
    let proxy = Proxy::builder(&settings)
        .env("RUST_LOG", "info,tcpffee=loud")
        .start();
    let wanted = |line: &str| line.contains("RUST_LOG: found `info,tcpffee=loud`");
    proxy.log.wait("the report of a bad filter", wanted);
}

#[test]
fn session_lines_are_silent_by_default() {
    let block = Block::claim();
    let _backend = Backend::echo("alder", block.backend(0), &support::settings::PORTS);
    let settings = Settings::new(&block).group(0, block.backend(0));
    let mut proxy = Proxy::builder(&settings).env("RUST_LOG", "").start();
    client::ask(block.client(0), block.listener(5280)).unwrap();
    assert_eq!(proxy.stop(), 0);
    assert!(
        !proxy.log.text().contains("tcpffee::session"),
        "{}",
        proxy.log.text()
    );
}

#[test]
fn a_module_can_be_singled_out() {
    let block = Block::claim();
    let settings = Settings::new(&block).group(0, block.backend(0));
    let filter = "off,tcpffee::supervisor=info";
    let mut proxy = Proxy::builder(&settings).env("RUST_LOG", filter).start();
    assert_eq!(proxy.stop(), 0);
    for line in proxy.log.lines() {
        let is_of_it = ["tcpffee::supervisor: ", "tcpffee::supervisor::"]
            .iter()
            .any(|module| line.contains(&format!(" {module}")));
        assert!(is_of_it, "{line}");
    }
}
