//! Servers that are asked how they are, and answer as they are told.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::backend::Conn;
use super::{Backend, Proxy, eventually};

/// The port that wards answer on; the `port` of checks that ask them.
pub const WARD_PORT: u16 = 8080;

/// An HTTP server that notes when it is asked and answers 200 or 503, as its script says.
#[derive(Debug)]
pub struct Ward {
    _backend: Backend,
    chart: Arc<Mutex<Chart>>,
}

#[derive(Debug, Default)]
struct Chart {
    /// Answers to come, the next one last.
    script: Vec<bool>,
    /// The answer where the script is over.
    is_well: bool,
    asked: Vec<Instant>,
}

impl Ward {
    /// A server that is well.
    pub fn start(address: Ipv4Addr) -> Ward {
        Ward::start_at(address, WARD_PORT)
    }

    /// The same on another port.
    pub fn start_at(address: Ipv4Addr, port: u16) -> Ward {
        let chart = Arc::new(Mutex::new(Chart {
            is_well: true,
            ..Chart::default()
        }));
        let own = Arc::clone(&chart);
        let backend = Backend::start("ward", address, &[port], move |conn| answer(&conn, &own));
        Ward {
            _backend: backend,
            chart,
        }
    }

    /// Answers 200, or 503, from now on.
    pub fn set_well(&self, is_well: bool) {
        let mut chart = self.chart.lock().unwrap();
        chart.script.clear();
        chart.is_well = is_well;
    }

    /// Answers so to the next checks, `+` for 200 and `-` for 503, and `+` after them.
    pub fn play(&self, script: &str) {
        let mut chart = self.chart.lock().unwrap();
        chart.script = script.chars().rev().map(|sign| sign == '+').collect();
        chart.is_well = true;
    }

    /// When it was asked, each time.
    pub fn asked(&self) -> Vec<Instant> {
        self.chart.lock().unwrap().asked.clone()
    }

    /// How often it was asked.
    pub fn count(&self) -> usize {
        self.chart.lock().unwrap().asked.len()
    }

    /// Waits until it has been asked so often once more.
    pub fn wait_asked(&self, more: usize) {
        let wanted = self.count() + more;
        eventually("the server is asked", || self.count() >= wanted);
    }
}

fn answer(conn: &Conn, chart: &Mutex<Chart>) {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        match (&*conn.stream).read(&mut byte) {
            Ok(1) => request.push(byte[0]),
            _ => return,
        }
    }
    let is_well = {
        let mut chart = chart.lock().unwrap();
        chart.asked.push(Instant::now());
        chart.script.pop().unwrap_or(chart.is_well)
    };
    let status = if is_well { "200 OK" } else { "503 Unwell" };
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    let _ = (&*conn.stream).write_all(text.as_bytes());
}

/// The keys of a check that asks wards.
pub fn http(keys: &str) -> String {
    format!("port = {WARD_PORT}\nhttp_target = \"/health\"\n{keys}")
}

/// The log's lines about a group's status, without time and level.
pub fn story(proxy: &Proxy, group: u32) -> Vec<String> {
    let title = format!("group {group}");
    let lines = proxy.log.lines();
    let told = lines.iter().filter_map(|line| {
        let (_, text) = line.split_once("tcpffee::groups: ")?;
        let rest = text.strip_prefix(&title)?;
        (!rest.starts_with(|next: char| next.is_ascii_digit())).then(|| text.to_owned())
    });
    told.collect()
}

/// The changes of a group's status: `Up -> Draining`.
pub fn changes(proxy: &Proxy, group: u32) -> Vec<String> {
    let story = story(proxy, group);
    let changes = story.iter().filter_map(|line| {
        let change = line.split(": ").nth(1)?;
        change.contains(" -> ").then(|| change.to_owned())
    });
    changes.collect()
}

/// Waits for the line of a change.
pub fn wait_change(proxy: &Proxy, mark: usize, group: u32, change: &str) -> String {
    let what = format!("group {group}: {change}");
    proxy.log.wait_after(mark, &what, |line| {
        line.contains(&format!("groups: group {group}")) && line.contains(&format!(": {change}: "))
    })
}

/// A port of an address where every handshake is left hanging: its backlog is full.
#[derive(Debug)]
pub struct BlackHole {
    _listener: socket2::Socket,
    _held: Vec<std::net::TcpStream>,
}

impl BlackHole {
    /// Opens one.
    pub fn open(place: SocketAddr) -> BlackHole {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::for_address(place), Type::STREAM, None).unwrap();
        socket.bind(&place.into()).unwrap();
        socket.listen(0).unwrap();
        let mut held = Vec::new();
        let short = std::time::Duration::from_millis(200);
        while let Ok(stream) = std::net::TcpStream::connect_timeout(&place, short) {
            held.push(stream);
        }
        BlackHole {
            _listener: socket,
            _held: held,
        }
    }
}
