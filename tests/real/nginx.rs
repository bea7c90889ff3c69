//! nginx behind the proxy; large downloads and uploads by curl, hashes compared.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;

use crate::real;
use crate::support;
use real::{Server, User};
use support::{Block, Proxy, Settings, bulk};
use tempfile::TempDir;

const PORTS: [u16; 2] = [5280, 5281];
const PIECE_BYTES: usize = 64 * 1024;

struct Nginx {
    _server: Server,
    directory: TempDir,
    /// SHA-256 of the file that it serves.
    hash: String,
}

impl Nginx {
    /// Serves `/name` (its number), `/large`, and takes uploads below `/put/`.
    fn start(block: &Block, number: u8) -> Nginx {
        let directory = real::directory();
        real::open_to_all(directory.path());
        let root = directory.path().join("root");
        fs::create_dir_all(root.join("put")).unwrap();
        fs::write(root.join("name"), number.to_string()).unwrap();
        let large = root.join("large");
        write_stream(&large, u64::from(number), large_bytes());
        let address = block.backend(number);
        let places = PORTS.map(|port| SocketAddr::new(address.into(), port));
        let config = directory.path().join("nginx.conf");
        fs::write(&config, configuration(&directory, &places)).unwrap();
        let mut command = real::command(&real::find("nginx", "nginx"), User::Same);
        command
            .arg("-p")
            .arg(directory.path())
            .arg("-c")
            .arg(&config);
        Nginx {
            _server: Server::start(command, directory.path(), &places),
            hash: real::sha256_of_file(&large),
            directory,
        }
    }

    fn uploaded(&self, name: &str) -> Option<String> {
        let path = self.directory.path().join("root/put").join(name);
        path.exists().then(|| real::sha256_of_file(&path))
    }
}

fn configuration(directory: &TempDir, places: &[SocketAddr]) -> String {
    let user = if real::is_root() { "user root;" } else { "" };
    let path = directory.path().display();
    let listen: String = places
        .iter()
        .map(|place| format!("listen {place};\n"))
        .collect();
    format!(
        "{user}
        daemon off;
        worker_processes 1;
        pid {path}/nginx.pid;
        error_log stderr warn;
        events {{ worker_connections 256; }}
        http {{
            access_log off;
            sendfile on;
            client_max_body_size 0;
            client_body_temp_path {path}/body;
            proxy_temp_path {path}/proxy;
            fastcgi_temp_path {path}/fastcgi;
            uwsgi_temp_path {path}/uwsgi;
            scgi_temp_path {path}/scgi;
            server {{
                {listen}
                root {path}/root;
                location /put/ {{ dav_methods PUT; }}
            }}
        }}"
    )
}

fn large_bytes() -> u64 {
    support::scaled(48_000_000, 1_000_000_000)
}

fn write_stream(path: &PathBuf, seed: u64, length: u64) {
    let mut file = File::create(path).unwrap();
    let mut pattern = bulk::Pattern::new(seed);
    while pattern.position() < length {
        let left = usize::try_from(length - pattern.position()).unwrap_or(PIECE_BYTES);
        file.write_all(pattern.take(left.min(PIECE_BYTES))).unwrap();
    }
}

struct Setting {
    block: Block,
    servers: [Nginx; 2],
    _proxy: Proxy,
}

fn start() -> Setting {
    let block = Block::claim();
    let servers = [0, 1].map(|number| Nginx::start(&block, number));
    let mut settings = Settings::new(&block).ports(&PORTS);
    for number in [0, 1] {
        settings = settings.group(u32::from(number), block.backend(number));
    }
    let proxy = Proxy::start(&settings);
    Setting {
        block,
        servers,
        _proxy: proxy,
    }
}

impl Setting {
    fn curl(
        &self,
        client: u32,
        port: u16,
        path: &str,
        arguments: &[&str],
    ) -> std::process::Command {
        let mut command = real::command(&real::find("curl", "curl"), User::Same);
        command
            .args(["--silent", "--show-error", "--fail", "--noproxy", "*"])
            .args(["--max-time", &real::run_limit().as_secs().to_string()])
            .args(["--interface", &self.block.client(client).to_string()])
            .args(arguments)
            .arg(format!("http://{}{path}", self.block.listener(port)));
        command
    }

    /// The number of the server that a client meets.
    fn server_of(&self, client: u32, port: u16) -> usize {
        let name = real::run(self.curl(client, port, "/name", &[]));
        name.trim().parse().expect("a server's number")
    }

    fn download(&self, client: u32, port: u16, arguments: &[&str]) -> String {
        let mut curl = self.curl(client, port, "/large", arguments);
        let mut child = curl
            .stdout(Stdio::piped())
            .spawn()
            .expect("curl can be started");
        let hash = real::sha256(child.stdout.take().expect("it is a pipe"));
        let status = child.wait().expect("a child can be waited for");
        assert!(status.success(), "client {client}: curl: {status}");
        hash
    }
}

/// What the tests need.
const PROGRAMS: &[(&str, &str)] = &[("nginx", "nginx"), ("curl", "curl")];

#[test]
fn large_downloads_arrive_whole_from_the_clients_own_server() {
    if !real::has_all(PROGRAMS) {
        return;
    }
    let setting = start();
    assert_ne!(setting.servers[0].hash, setting.servers[1].hash);
    thread::scope(|scope| {
        for client in 0..6 {
            let setting = &setting;
            scope.spawn(move || {
                let server = &setting.servers[setting.server_of(client, 5280)];
                // The last one reads slowly: its server waits, the others do not.
                let slow: &[&str] = if client == 5 {
                    &["--limit-rate", "16M"]
                } else {
                    &[]
                };
                for port in PORTS {
                    assert_eq!(setting.download(client, port, slow), server.hash);
                }
            });
        }
    });
    let met: Vec<usize> = (0..6)
        .map(|client| setting.server_of(client, 5281))
        .collect();
    assert!(met.contains(&0) && met.contains(&1), "servers met: {met:?}");
}

#[test]
fn large_uploads_arrive_whole_at_the_clients_own_server() {
    if !real::has_all(PROGRAMS) {
        return;
    }
    let setting = start();
    let files = real::directory();
    thread::scope(|scope| {
        for client in 0..4 {
            let (setting, files) = (&setting, &files);
            scope.spawn(move || {
                let path = files.path().join(client.to_string());
                write_stream(&path, 100 + u64::from(client), large_bytes());
                let file = path.to_str().expect("a temporary path is text");
                real::run(setting.curl(client, 5281, &format!("/put/{client}"), &["-T", file]));
                let own = setting.server_of(client, 5280);
                let hash = real::sha256_of_file(&path);
                let name = client.to_string();
                assert_eq!(setting.servers[own].uploaded(&name), Some(hash));
                assert_eq!(setting.servers[1 - own].uploaded(&name), None);
            });
        }
    });
}
