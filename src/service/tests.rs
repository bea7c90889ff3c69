//! The datagrams, seen at the other end.

use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use super::*;

fn of(vars: &[(&str, &str)]) -> Service {
    let vars = |name: &str| {
        let found = vars.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    };
    Service::from_vars(vars, 77)
}

fn received(manager: &UnixDatagram) -> String {
    let mut bytes = [0; 4096];
    manager
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let length = manager.recv(&mut bytes).unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

fn listen(directory: &Path) -> (UnixDatagram, String) {
    let path = directory.join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    (manager, path.to_str().unwrap().to_owned())
}

#[test]
fn each_word_is_one_datagram_with_the_status_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let (manager, address) = listen(directory.path());
    let service = of(&[("NOTIFY_SOCKET", &address)]);
    service.ready("two\nlines");
    assert_eq!(received(&manager), "READY=1\nSTATUS=two lines\n");
    service.stopping("3 open connections");
    assert_eq!(
        received(&manager),
        "STOPPING=1\nSTATUS=3 open connections\n"
    );
    service.goes_on("2 open connections");
    assert_eq!(
        received(&manager),
        "EXTEND_TIMEOUT_USEC=15000000\nSTATUS=2 open connections\n"
    );
    service.alive();
    assert_eq!(received(&manager), "WATCHDOG=1\n");
    service.failed(&"no such file");
    assert_eq!(received(&manager), "STATUS=cannot start: no such file\n");
}

#[test]
fn a_reload_bears_the_monotonic_time() {
    let directory = tempfile::tempdir().unwrap();
    let (manager, address) = listen(directory.path());
    let service = of(&[("NOTIFY_SOCKET", &address)]);
    let mut last = 0;
    for _ in 0..2 {
        service.reloading();
        let text = received(&manager);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "RELOADING=1");
        let usec: u64 = lines[1]
            .strip_prefix("MONOTONIC_USEC=")
            .unwrap()
            .parse()
            .unwrap();
        assert!(usec > last, "{text}");
        last = usec;
    }
}

#[test]
fn an_abstract_socket_is_reached() {
    let name = format!("tcpffee-test-notify-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = UnixDatagram::bind_addr(&address).unwrap();
    let service = of(&[("NOTIFY_SOCKET", &format!("@{name}"))]);
    service.status("here");
    assert_eq!(received(&manager), "STATUS=here\n");
}

#[test]
fn what_is_late_stands_before_the_status_until_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let (manager, address) = listen(directory.path());
    let service = of(&[("NOTIFY_SOCKET", &address)]);
    service.status("ready");
    service.late("worker-0 does not turn".to_owned());
    service.status("reloaded");
    service.late(String::new());
    let lines: Vec<String> = (0..4).map(|_| received(&manager)).collect();
    assert_eq!(
        lines,
        [
            "STATUS=ready\n",
            "STATUS=worker-0 does not turn; ready\n",
            "STATUS=worker-0 does not turn; reloaded\n",
            "STATUS=reloaded\n",
        ]
    );
}

#[test]
fn a_long_status_is_cut_between_two_characters() {
    let directory = tempfile::tempdir().unwrap();
    let (manager, address) = listen(directory.path());
    let text = format!("x{}", "ä".repeat(MAX_STATUS_BYTES));
    of(&[("NOTIFY_SOCKET", &address)]).status(&text);
    let line = received(&manager);
    assert_eq!(line.len(), "STATUS=\n".len() + MAX_STATUS_BYTES - 1);
}

#[test]
fn without_a_socket_or_with_an_odd_one_nobody_is_told() {
    for vars in [
        &[][..],
        &[("NOTIFY_SOCKET", "")],
        &[("NOTIFY_SOCKET", "relative")],
        &[("NOTIFY_SOCKET", "vsock:2:1234")],
        &[("WATCHDOG_USEC", "3000000")],
    ] {
        let service = of(vars);
        assert!(!service.is_told(), "{vars:?}");
        assert_eq!(service.watchdog(), None);
        service.ready("nothing comes of it");
    }
}

#[test]
fn a_socket_that_nobody_reads_holds_nobody_up_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let (manager, address) = listen(directory.path());
    let socket = NotifySocket::open(address.as_ref()).unwrap();
    let failed = (0..100_000).find_map(|_| socket.send(b"STATUS=x\n").err());
    assert_eq!(failed.unwrap().kind(), ErrorKind::WouldBlock);
    drop(manager);
    // Gone: told at once, and the process goes on.
    assert!(socket.send(b"STATUS=x\n").is_err());
    of(&[("NOTIFY_SOCKET", &address)]).ready("nobody hears it");
}

#[test]
fn the_watchdog_is_for_the_process_that_it_names() {
    let watchdog = |vars: &[(&str, &str)]| {
        let all = [vars, &[("NOTIFY_SOCKET", "/nowhere")]].concat();
        of(&all).watchdog()
    };
    let second = Some(Duration::from_secs(1));
    assert_eq!(watchdog(&[("WATCHDOG_USEC", "1000000")]), second);
    assert_eq!(
        watchdog(&[("WATCHDOG_USEC", "1000000"), ("WATCHDOG_PID", "77")]),
        second
    );
    for pid in ["78", "x"] {
        let vars = [("WATCHDOG_USEC", "1000000"), ("WATCHDOG_PID", pid)];
        assert_eq!(watchdog(&vars), None);
    }
    for usec in ["0", "", "-1", "1s"] {
        assert_eq!(watchdog(&[("WATCHDOG_USEC", usec)]), None);
    }
    assert_eq!(watchdog(&[]), None);
}

#[test]
fn more_time_is_asked_for_while_work_goes_on_and_no_longer() {
    let directory = tempfile::tempdir().unwrap();
    let (manager, address) = listen(directory.path());
    let service = of(&[("NOTIFY_SOCKET", &address)]);
    let extension = service.extend(Duration::from_secs(60));
    extension.step("saving");
    assert_eq!(
        received(&manager),
        "EXTEND_TIMEOUT_USEC=15000000\nSTATUS=saving\n"
    );
    assert_eq!(received(&manager), "EXTEND_TIMEOUT_USEC=15000000\n");
    drop(extension);
    manager.set_nonblocking(true).unwrap();
    while manager.recv(&mut [0; 64]).is_ok() {}
    // The thread has ended: nobody is left to send.
    assert_eq!(Arc::strong_count(service.told.as_ref().unwrap()), 1);
}

#[test]
fn work_that_is_stuck_gets_no_more_time() {
    let directory = tempfile::tempdir().unwrap();
    let (manager, address) = listen(directory.path());
    let service = of(&[("NOTIFY_SOCKET", &address)]);
    let _stuck = service.extend(EXTEND_EVERY + EXTEND_EVERY / 2);
    received(&manager);
    manager.set_read_timeout(Some(EXTEND_EVERY * 3)).unwrap();
    let error = manager.recv(&mut [0; 64]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}
