//! Equivalent sticky configurations: two groups, all listened ports, one worker each.

use std::fmt::Write as _;
use std::path::Path;

use crate::places::Places;

/// Connections that a balancer must be able to hold.
const MAX_CONNECTIONS: u32 = 9_000;
/// Descriptors for them: two each, and some for the process itself.
const DESCRIPTORS: u32 = 2 * MAX_CONNECTIONS + 500;
/// Pipes for haproxy's splicing, two descriptors each: its own default would not fit beside the
/// connections under a limit of 20,000 descriptors.
const PIPES: u32 = 256;
/// How long every balancer remembers a client, in seconds.
pub const STICK_SECONDS: u32 = 1800;

/// tcpffee: its default balance, statistics out of the way.
pub fn tcpffee(places: &Places) -> String {
    tcpffee_with(places, STICK_SECONDS, "")
}

/// The same with another `expiration`, and with more keys.
pub fn tcpffee_with(places: &Places, stick_seconds: u32, more: &str) -> String {
    let (first, last) = places.ports();
    let mut text = format!(
        "bind_addr = \"{}\"\n\
         stats_bind_socket = \"{}:{}\"\n\
         ports = [\"{first}-{last}\"]\n\
         expiration = {stick_seconds}\n\
         workers = 1\n\
         {more}",
        places.proxy(),
        places.proxy(),
        places.statistics_port(),
    );
    for (id, host) in places.groups().enumerate() {
        write!(text, "\n[groups.{id}]\nportmap = \"{host}\"\n").expect("a string takes all");
    }
    text
}

/// haproxy: a stick table by client address, splicing where haproxy sees fit.
pub fn haproxy(places: &Places) -> String {
    let table = format!("size 100k expire {STICK_SECONDS}s");
    haproxy_with(places, &table, "")
}

/// The same with another stick table, and with more sections.
pub fn haproxy_with(places: &Places, table: &str, more: &str) -> String {
    let (first, last) = places.ports();
    let proxy = places.proxy();
    let mut text = format!(
        "global\n\
         \x20   nbthread 1\n\
         \x20   maxconn {MAX_CONNECTIONS}\n\
         \x20   maxpipes {PIPES}\n\
         {more}\
         defaults\n\
         \x20   mode tcp\n\
         \x20   maxconn {MAX_CONNECTIONS}\n\
         \x20   backlog 4096\n\
         \x20   option splice-auto\n\
         \x20   timeout connect 5s\n\
         \x20   timeout client 1h\n\
         \x20   timeout server 1h\n\
         listen proxy\n\
         \x20   bind {proxy}:{first}-{last}\n\
         \x20   balance leastconn\n\
         \x20   stick-table type ip {table}\n\
         \x20   stick on src\n",
    );
    for (id, host) in places.groups().enumerate() {
        writeln!(text, "    server group{id} {host}").expect("a string takes all");
    }
    text
}

/// nginx: consistent hash of the client address, one upstream for each port.
pub fn nginx(places: &Places, dir: &Path, stream_module: &Path) -> String {
    let mut text = String::new();
    if stream_module.exists() {
        let module = stream_module.display();
        writeln!(text, "load_module {module};").expect("a string takes all");
    }
    if rustix::process::geteuid().is_root() {
        text.push_str("user root;\n");
    }
    let dir = dir.display();
    write!(
        text,
        "daemon off;\n\
         worker_processes 1;\n\
         worker_rlimit_nofile {DESCRIPTORS};\n\
         pid {dir}/nginx.pid;\n\
         error_log {dir}/nginx-error.log error;\n\
         events {{\n\
         \x20   use epoll;\n\
         \x20   worker_connections {DESCRIPTORS};\n\
         }}\n\
         stream {{\n\
         \x20   access_log off;\n\
         \x20   proxy_connect_timeout 5s;\n\
         \x20   proxy_timeout 1h;\n\
         \x20   proxy_half_close on;\n"
    )
    .expect("a string takes all");
    for listen in places.listens() {
        let port = listen.port();
        write!(
            text,
            "    upstream u{port} {{\n        hash $remote_addr consistent;\n"
        )
        .expect("a string takes all");
        for host in places.groups() {
            writeln!(text, "        server {host}:{port};").expect("a string takes all");
        }
        writeln!(
            text,
            "    }}\n    server {{ listen {listen} backlog=4096; proxy_pass u{port}; }}"
        )
        .expect("a string takes all");
    }
    text.push_str("}\n");
    text
}
