//! vsftpd in passive mode: the data connections come to ports that the server chooses, and must
//! meet the server that chose them.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use crate::real;
use crate::support;
use real::{Server, User};
use support::{Block, Proxy, Settings};
use tempfile::TempDir;

const CONTROL_PORT: u16 = 2121;
const FIRST_PASSIVE_PORT: u16 = 30_000;
const LAST_PASSIVE_PORT: u16 = 30_019;
const CLIENTS: u32 = 8;
const LARGE_BYTES: usize = 5_000_000;

struct Ftp {
    _server: Server,
    directory: TempDir,
}

impl Ftp {
    /// Serves `name` (its number) and `large` to anonymous users, and takes uploads in `incoming`.
    fn start(block: &Block, number: u8) -> Ftp {
        assert!(
            real::is_root(),
            "vsftpd serves anonymous users only when started by root"
        );
        let directory = real::directory();
        real::open_to_all(directory.path());
        for name in ["root", "root/incoming", "empty"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let root = directory.path().join("root");
        let everyone = fs::Permissions::from_mode(0o777);
        fs::set_permissions(root.join("incoming"), everyone).unwrap();
        fs::write(root.join("name"), number.to_string()).unwrap();
        fs::write(root.join("large"), large(number)).unwrap();
        let address = SocketAddr::new(block.backend(number).into(), CONTROL_PORT);
        let config = directory.path().join("vsftpd.conf");
        fs::write(&config, configuration(block, address, &directory)).unwrap();
        let mut command = real::command(&real::find("vsftpd", "vsftpd"), User::Same);
        command.arg(&config);
        Ftp {
            _server: Server::start(command, directory.path(), &[address]),
            directory,
        }
    }

    fn uploaded(&self, name: &str) -> PathBuf {
        self.directory.path().join("root/incoming").join(name)
    }
}

/// What a server's large file holds: no two servers' are alike.
fn large(number: u8) -> Vec<u8> {
    let byte = |at: usize| (at % 251) as u8 ^ number;
    (0..LARGE_BYTES).map(byte).collect()
}

/// vsftpd takes no spaces around `=`. It runs without its sandbox, which kernels and containers
/// do not all allow.
fn configuration(block: &Block, address: SocketAddr, directory: &TempDir) -> String {
    let path = directory.path().display();
    format!(
        "listen=YES\n\
         background=NO\n\
         listen_address={}\n\
         listen_port={CONTROL_PORT}\n\
         anonymous_enable=YES\n\
         no_anon_password=YES\n\
         anon_root={path}/root\n\
         write_enable=YES\n\
         anon_upload_enable=YES\n\
         anon_umask=022\n\
         local_enable=NO\n\
         secure_chroot_dir={path}/empty\n\
         pasv_address={}\n\
         pasv_min_port={FIRST_PASSIVE_PORT}\n\
         pasv_max_port={LAST_PASSIVE_PORT}\n\
         seccomp_sandbox=NO\n\
         isolate=NO\n\
         isolate_network=NO\n\
         xferlog_enable=NO\n",
        address.ip(),
        block.proxy(),
    )
}

struct Setting {
    block: Block,
    servers: [Ftp; 2],
    _proxy: Proxy,
}

fn start() -> Setting {
    let block = Block::claim();
    let servers = [0, 1].map(|number| Ftp::start(&block, number));
    let mut ports = vec![CONTROL_PORT];
    ports.extend(FIRST_PASSIVE_PORT..=LAST_PASSIVE_PORT);
    let mut settings = Settings::new(&block).ports(&ports);
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
    fn curl(&self, client: u32, path: &str, arguments: &[&str]) -> Command {
        let mut command = real::command(&real::find("curl", "curl"), User::Same);
        command
            .args(["--silent", "--show-error", "--fail", "--noproxy", "*"])
            .args(["--max-time", "60"])
            .args(["--interface", &self.block.client(client).to_string()])
            .args(arguments)
            .arg(format!(
                "ftp://{}/{path}",
                self.block.listener(CONTROL_PORT)
            ));
        command
    }

    fn server_of(&self, client: u32) -> u8 {
        let name = real::run(self.curl(client, "name", &[]));
        name.trim().parse().expect("a server's number")
    }
}

/// What the tests need.
const PROGRAMS: &[(&str, &str)] = &[("vsftpd", "vsftpd"), ("curl", "curl")];

#[test]
fn passive_transfers_meet_the_server_of_the_control_connection() {
    if !real::has_all(PROGRAMS) {
        return;
    }
    let setting = start();
    // EPSV names a port; PASV names an address too, the proxy's, where curl is told to heed it.
    let pasv = ["--disable-epsv", "--no-ftp-skip-pasv-ip"];
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let setting = &setting;
            scope.spawn(move || {
                let own = setting.server_of(client);
                for mode in [&[][..], &pasv] {
                    let got = real::outcome(setting.curl(client, "large", mode));
                    assert!(got.status.success(), "client {client}: {got:?}");
                    assert!(got.stdout == large(own), "client {client}: other bytes");
                }
            });
        }
    });
    let met: Vec<u8> = (0..CLIENTS)
        .map(|client| setting.server_of(client))
        .collect();
    assert!(met.contains(&0) && met.contains(&1), "servers met: {met:?}");
}

#[test]
fn uploads_and_listings_meet_the_server_of_the_control_connection() {
    if !real::has_all(PROGRAMS) {
        return;
    }
    let setting = start();
    let files = real::directory();
    for client in 0..CLIENTS {
        let own = setting.server_of(client);
        let name = format!("from{client}");
        let text = format!("{name} ").repeat(100_000);
        let path = files.path().join(&name);
        fs::write(&path, &text).unwrap();
        let file = path.to_str().expect("a temporary path is text");
        real::run(setting.curl(client, &format!("incoming/{name}"), &["-T", file]));
        let [own, other] = [own, 1 - own].map(|number| &setting.servers[usize::from(number)]);
        assert!(fs::read_to_string(own.uploaded(&name)).unwrap() == text);
        assert!(!other.uploaded(&name).exists());
        let listing = real::run(setting.curl(client, "incoming/", &["--list-only"]));
        assert!(listing.lines().any(|line| line == name), "{listing}");
    }
}
