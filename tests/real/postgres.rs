//! PostgreSQL behind the proxy, pgbench in front of it.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use crate::real;
use crate::support;
use real::{Server, User};
use rustix::process::Signal;
use support::{Block, Proxy, Settings};
use tempfile::TempDir;

const PORT: u16 = 5280;
const POSTGRES: User<'static> = User::Named("postgres");
const OPTIONS: &str = "
    unix_socket_directories = ''
    shared_buffers = 16MB
    max_connections = 40
    fsync = off
    autovacuum = off
";

struct Postgres {
    _server: Server,
    _directory: TempDir,
    address: SocketAddr,
}

impl Postgres {
    /// A cluster of its own. Neither initdb nor the server runs as root: there, both run as the
    /// package's user.
    fn start(block: &Block, number: u8) -> Postgres {
        let directory = real::directory();
        give_away(directory.path());
        let data = directory.path().join("data");
        let mut initdb = real::command(&real::find("initdb", "postgresql"), POSTGRES);
        initdb
            .args(["--auth", "trust", "--no-sync", "--username", "bench"])
            .args(["--no-locale", "--encoding", "UTF8", "--pgdata"])
            .arg(&data);
        // A program under another user cannot stay in a directory that it may not read.
        initdb.current_dir(directory.path());
        real::run(initdb);
        let address = SocketAddr::new(block.backend(number).into(), PORT);
        let config = data.join("postgresql.conf");
        let listen = format!(
            "{OPTIONS}listen_addresses = '{}'\nport = {PORT}\n",
            address.ip()
        );
        let text = fs::read_to_string(&config).unwrap() + &listen;
        fs::write(&config, text).unwrap();
        let trusted = "host all all 127.0.0.0/8 trust\n";
        fs::write(data.join("pg_hba.conf"), trusted).unwrap();
        let mut server = real::command(&real::find("postgres", "postgresql"), POSTGRES);
        server.arg("-D").arg(&data).current_dir(directory.path());
        Postgres {
            // SIGINT: end sessions and stop, without waiting for clients.
            _server: Server::start(server, directory.path(), &[address]).ended_by(Signal::INT),
            _directory: directory,
            address,
        }
    }
}

fn give_away(directory: &Path) {
    if real::is_root() {
        let mut chown = std::process::Command::new("chown");
        chown.arg("postgres:postgres").arg(directory);
        real::run(chown);
    }
}

fn sql(to: SocketAddr, query: &str) -> String {
    let mut psql = real::command(&real::find("psql", "postgresql-client"), User::Same);
    psql.args([
        "--host",
        &to.ip().to_string(),
        "--port",
        &to.port().to_string(),
    ])
    .args(["--username", "bench", "--dbname", "postgres"])
    .args([
        "--no-psqlrc",
        "--tuples-only",
        "--no-align",
        "--command",
        query,
    ]);
    real::run(psql).trim().to_owned()
}

fn pgbench(to: SocketAddr, arguments: &[&str]) -> String {
    let mut pgbench = real::command(&real::find("pgbench", "postgresql-contrib"), User::Same);
    pgbench
        .args([
            "--host",
            &to.ip().to_string(),
            "--port",
            &to.port().to_string(),
        ])
        .args(["--username", "bench"])
        .args(arguments)
        .arg("postgres");
    real::run(pgbench)
}

/// What the tests need.
const PROGRAMS: &[(&str, &str)] = &[
    ("initdb", "postgresql"),
    ("postgres", "postgresql"),
    ("psql", "postgresql-client"),
    ("pgbench", "postgresql-contrib"),
];

#[test]
fn pgbench_runs_whole_against_one_server_and_its_books_balance() {
    if !real::has_all(PROGRAMS) {
        return;
    }
    let block = Block::claim();
    let servers = [0, 1].map(|number| Postgres::start(&block, number));
    let mut settings = Settings::new(&block).ports(&[PORT]);
    for number in [0, 1] {
        settings = settings.group(u32::from(number), block.backend(number));
    }
    let proxy = Proxy::start(&settings);
    let to = block.listener(PORT);

    pgbench(to, &["--initialize", "--scale", "1", "--quiet"]);
    let transactions = support::scaled(100, 5_000);
    let each = transactions.to_string();
    // Extended protocol with 8 sessions, then a new connection for every transaction.
    let prepared = ["--client", "8", "--jobs", "2", "--protocol", "prepared"];
    let connecting = ["--client", "4", "--jobs", "2", "--connect"];
    for arguments in [&prepared[..], &connecting[..]] {
        // Without --no-vacuum it would empty the history first.
        let arguments = [arguments, &["--no-vacuum", "--transactions", &each]].concat();
        let report = pgbench(to, &arguments);
        assert!(
            report.contains("number of failed transactions: 0"),
            "{report}"
        );
    }

    let done = sql(to, "SELECT count(*) FROM pgbench_history");
    assert_eq!(done, (12 * transactions).to_string());
    let books = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = sum(delta), \
                 (SELECT sum(tbalance) FROM pgbench_tellers) = sum(delta), \
                 (SELECT sum(bbalance) FROM pgbench_branches) = sum(delta) FROM pgbench_history";
    assert_eq!(sql(to, books), "t|t|t");
    let tables = "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'pgbench%'";
    let mut tables = servers.each_ref().map(|server| sql(server.address, tables));
    tables.sort();
    assert_eq!(tables, ["0", "4"], "tables at each server");
    let sessions = proxy.log.wait_sessions(400, "of pgbench", |_| true);
    assert!(
        sessions
            .iter()
            .all(|session| session.group == sessions[0].group)
    );
}
