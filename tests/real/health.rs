//! Three nginx behind the proxy, checked as the original's example does it.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::fs;
use std::net::SocketAddr;

use crate::real;
use crate::support;
use real::{Server, User};
use support::health::{changes, story, wait_change};
use support::{Block, Proxy, Settings, eventually};
use tempfile::TempDir;

const PORTS: [u16; 3] = [5280, 5281, 5282];
/// The third server is reached on another port through one of the proxied ones.
const OTHER_PORT: u16 = 3487;

/// The original's checks of group 1, a fifth as long.
const TCP_CHECK: &str = "
    fall = 3
    fall_action = \"Draining\"
    rise = 5
    interval = 1
    timeout = 0.2";
const HTTP_CHECK: &str = "
    interval = 1
    fall_action = \"Disabled\"
    http_target = \"/health\"
    http_method = \"POST\"
    http_body = \"Hello, World!\"
    http_status = 201";

/// A server with a name, and with an answer to `POST /health`.
struct Nginx {
    directory: TempDir,
    places: Vec<SocketAddr>,
    server: Option<Server>,
}

impl Nginx {
    fn start(block: &Block, number: u8) -> Nginx {
        let directory = real::directory();
        real::open_to_all(directory.path());
        let ports = PORTS.iter().chain([&OTHER_PORT]);
        let places = ports.map(|port| SocketAddr::new(block.backend(number).into(), *port));
        let mut nginx = Nginx {
            directory,
            places: places.collect(),
            server: None,
        };
        nginx.configure(number, 201);
        nginx.run();
        nginx
    }

    fn configure(&self, number: u8, health: u16) {
        let path = self.directory.path().display();
        let user = if real::is_root() { "user root;" } else { "" };
        let places = self.places.iter();
        let listen: String = places.map(|place| format!("listen {place};\n")).collect();
        let text = format!(
            "{user}
            daemon off;
            worker_processes 1;
            pid {path}/nginx.pid;
            error_log stderr warn;
            events {{ worker_connections 256; }}
            http {{
                access_log {path}/access.log;
                client_body_temp_path {path}/body;
                proxy_temp_path {path}/proxy;
                fastcgi_temp_path {path}/fastcgi;
                uwsgi_temp_path {path}/uwsgi;
                scgi_temp_path {path}/scgi;
                server {{
                    {listen}
                    location = /name {{ return 200 \"{number}\"; }}
                    location = /health {{ return {health}; }}
                }}
            }}"
        );
        fs::write(self.directory.path().join("nginx.conf"), text).unwrap();
    }

    fn run(&mut self) {
        let mut command = real::command(&real::find("nginx", "nginx"), User::Same);
        command
            .arg("-p")
            .arg(self.directory.path())
            .arg("-c")
            .arg(self.directory.path().join("nginx.conf"));
        self.server = Some(Server::start(command, self.directory.path(), &self.places));
    }

    fn stop(&mut self) {
        self.server = None;
    }

    fn access_log(&self) -> String {
        fs::read_to_string(self.directory.path().join("access.log")).unwrap_or_default()
    }
}

/// Groups 0 to 2 as in the original's example: an address, an address with both kinds of check, a
/// table of targets.
fn settings(block: &Block) -> Settings {
    let table = PORTS.map(|port| match port {
        5281 => (port, format!("{}:{OTHER_PORT}", block.backend(2))),
        _ => (port, format!("{}:{port}", block.backend(2))),
    });
    Settings::new(block)
        .ports(&PORTS)
        .set("expiration", 2)
        .group(0, block.backend(0))
        .group_set(0, "drain", false)
        .group_set(0, "disabled", false)
        .group(1, block.backend(1))
        .check(1, TCP_CHECK)
        .check(1, HTTP_CHECK)
        .group_ports(2, &table)
}

/// The number of the server that answers a client, by curl.
fn served_by(block: &Block, client: u32, port: u16) -> Option<String> {
    let mut command = real::command(&real::find("curl", "curl"), User::Same);
    command
        .args(["--silent", "--show-error", "--fail", "--noproxy", "*"])
        .args(["--max-time", &real::run_limit().as_secs().to_string()])
        .args(["--interface", &block.client(client).to_string()])
        .arg(format!("http://{}/name", block.listener(port)));
    let output = real::outcome(command);
    output
        .status
        .success()
        .then(|| String::from_utf8(output.stdout).unwrap())
}

/// Whether new clients reach this server.
fn takes_new(block: &Block, fresh: &mut u32, number: &str) -> bool {
    (0..9).any(|_| {
        *fresh += 1;
        served_by(block, *fresh, 5280).as_deref() == Some(number)
    })
}

/// A client that the server has.
fn client_of(block: &Block, number: &str) -> u32 {
    (0..20)
        .find(|client| served_by(block, *client, 5280).as_deref() == Some(number))
        .expect("one of twenty clients has each server")
}

/// What the tests need.
const PROGRAMS: &[(&str, &str)] = &[("nginx", "nginx"), ("curl", "curl")];

#[test]
fn a_server_stopped_for_work_loses_its_clients_and_gets_new_ones_when_it_is_back() {
    if !real::has_all(PROGRAMS) {
        return;
    }
    let block = Block::claim();
    let mut servers = [0, 1, 2].map(|number| Nginx::start(&block, number));
    let settings = settings(&block);
    let mut proxy = Proxy::start(&settings);
    let mut fresh = 1_000;
    let client = client_of(&block, "1");
    let asked = "\"POST /health HTTP/1.1\" 201";
    eventually("nginx is asked", || servers[1].access_log().contains(asked));
    let third = client_of(&block, "2");
    assert_eq!(served_by(&block, third, 5281).as_deref(), Some("2"));

    // Still there, but it says that it is not well: the HTTP check alone takes the group out.
    servers[1].stop();
    servers[1].configure(1, 503);
    servers[1].run();
    wait_change(&proxy, 0, 1, "Up -> Disabled");
    assert!(!takes_new(&block, &mut fresh, "1"));
    let elsewhere = served_by(&block, client, 5280).expect("another server takes the client");
    assert_ne!(elsewhere, "1", "its own group is out");

    // Gone altogether: nothing changes for clients. The proxy is restarted meanwhile.
    servers[1].stop();
    eventually("the TCP check has failed as well", || {
        let story = story(&proxy, 1);
        story.iter().any(|line| line.contains("TCP"))
    });
    assert_eq!(proxy.stop(), 0);
    let first_story = story(&proxy, 1);
    let proxy = proxy.start_again(&settings);
    assert_eq!(changes(&proxy, 1), Vec::<String>::new());
    assert!(!takes_new(&block, &mut fresh, "1"), "still out");

    // Well again: back once both checks have risen.
    servers[1].configure(1, 201);
    servers[1].run();
    // From Disabled by way of Draining where the TCP check is the last to rise.
    proxy.log.wait("group 1 is back", |line| {
        line.contains("group 1: ") && line.contains("-> Up: ")
    });
    assert!(takes_new(&block, &mut fresh, "1"));
    let second_story = story(&proxy, 1);
    println!("{}\n{}", first_story.join("\n"), second_story.join("\n"));

    // The log alone tells what happened.
    let told = |story: &[String], parts: &[&str]| {
        let tells = |line: &String| parts.iter().all(|part| line.contains(part));
        assert!(story.iter().any(tells), "{parts:?} in {story:#?}");
    };
    told(
        &first_story,
        &["Up -> Disabled", "POST /health", "503", "201"],
    );
    told(&first_story, &["stays Disabled", "TCP", "refused"]);
    told(&second_story, &["is Disabled", "POST /health"]);
    told(&second_story, &["-> Up"]);
}
