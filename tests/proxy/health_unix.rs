//! Health checks of groups whose target is a Unix socket.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use socket2::SockRef;

use crate::support;
use support::health::{changes, story, wait_change};
use support::{Block, Proxy, Settings, eventually, http};

const PORT: u16 = 5280;
const QUICK: &str = "interval = 0.5\ntimeout = 0.5\nfall = 3\nrise = 2";

/// An HTTP server at a path, which is well. Dropping it leaves its file behind, as an end by a
/// signal does.
struct Server {
    listener: Arc<UnixListener>,
    asked: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(path: &Path) -> Server {
        let _ = fs::remove_file(path);
        let listener = Arc::new(UnixListener::bind(path).unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let (own, count) = (Arc::clone(&listener), Arc::clone(&asked));
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = own.accept() {
                count.fetch_add(1, Ordering::Relaxed);
                answer(stream);
            }
        });
        Server {
            listener,
            asked,
            thread: Some(thread),
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ends the accept.
        SockRef::from(&*self.listener)
            .shutdown(Shutdown::Both)
            .unwrap();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn answer(mut stream: UnixStream) {
    let (mut request, mut piece) = (Vec::new(), [0; 512]);
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(count) => request.extend(&piece[..count]),
        }
    }
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

/// A place for a socket, and a configuration whose only group is there.
fn scene(check: &str) -> (tempfile::TempDir, PathBuf, Settings) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let settings = Settings::new(&Block::claim())
        .ports(&[PORT])
        .group_ports(0, &[(PORT, format!("unix:{}", path.display()))])
        .check(0, check);
    (directory, path, settings)
}

#[test]
fn a_unix_target_falls_and_rises_with_its_server_and_stays_out_over_a_restart() {
    let check = format!("{QUICK}\nhttp_target = \"/health\"\nfall_action = \"Disabled\"");
    let (_directory, path, settings) = scene(&check);
    let server = Server::start(&path);
    let mut proxy = Proxy::start(&settings);
    eventually("it is checked", || server.asked() >= 5);
    assert!(changes(&proxy, 0).is_empty(), "{:?}", story(&proxy, 0));
    let place = format!("unix:{}", path.display());
    let target = |proxy: &Proxy| {
        let checks = http::json(proxy.statistics(), "/api/v1/healthchecks");
        checks[0]["targets"][0].clone()
    };
    assert_eq!(target(&proxy)["target"], *place);
    assert_eq!(target(&proxy)["last_result"], "passed");

    drop(server);
    let line = wait_change(&proxy, 0, 0, "Up -> Disabled");
    let title = format!("health check HTTP GET /health at {place}");
    let refused = "has failed 3 times in a row: connection refused";
    assert!(line.ends_with(&format!("{title} {refused}")), "{line}");
    assert_eq!(target(&proxy)["state"], "failing");
    fs::remove_file(&path).unwrap();
    eventually("the file is missed", || {
        let error = target(&proxy)["last_error"].to_string();
        error.contains("cannot connect: No such file or directory")
    });

    eventually("it is saved", || {
        fs::read_to_string(proxy.state().health_path())
            .is_ok_and(|text| text.contains("\"state\":\"failing\"") && text.contains(&place))
    });
    proxy.kill9();
    let proxy = proxy.start_again(&settings);
    let told = story(&proxy, 0);
    let expected = format!("group 0 is Disabled: {title} was failing when its state was saved");
    assert!(told[0].starts_with(&expected), "{told:?}");

    let _server = Server::start(&path);
    let line = wait_change(&proxy, 0, 0, "Disabled -> Up");
    assert!(line.contains("has passed 2 times in a row"), "{line}");
}

#[test]
fn a_connect_is_enough_where_no_more_is_asked() {
    let (_directory, path, settings) = scene(QUICK);
    let server = Server::start(&path);
    let proxy = Proxy::start(&settings);
    eventually("it is checked", || server.asked() >= 5);
    assert!(changes(&proxy, 0).is_empty(), "{:?}", story(&proxy, 0));
    drop(server);
    let line = wait_change(&proxy, 0, 0, "Up -> Draining");
    let title = format!("health check TCP at unix:{}", path.display());
    assert!(line.contains(&title), "{line}");
    let _server = Server::start(&path);
    wait_change(&proxy, 0, 0, "Draining -> Up");
}
