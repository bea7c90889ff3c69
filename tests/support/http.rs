//! A client of the statistics server, plain enough to be rude with.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use serde_json::Value;

use super::client;

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// By name in lower case; of several the last.
    pub headers: HashMap<String, String>,
    /// The body, as it came.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header, empty where it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("the body is text")
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        let parsed = serde_json::from_slice(&self.body);
        parsed.unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// A GET of a path over a connection of its own.
pub fn get(server: SocketAddr, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    ask(server, request.as_bytes()).unwrap_or_else(|error| panic!("GET {path}: {error}"))
}

/// A GET that has to succeed, as JSON.
pub fn json(server: SocketAddr, path: &str) -> Value {
    let answer = get(server, path);
    assert_eq!(answer.status, 200, "GET {path}: {answer:?}");
    assert_eq!(answer.header("content-type"), "application/json", "{path}");
    answer.json()
}

/// Sends bytes over a connection of its own and reads the answer up to the end of the stream.
pub fn ask(server: SocketAddr, request: &[u8]) -> io::Result<Answer> {
    ask_from(server.ip(), server, request)
}

/// The same from an address.
pub fn ask_from(from: IpAddr, server: SocketAddr, request: &[u8]) -> io::Result<Answer> {
    let mut stream = client::connect(from, server)?;
    stream.write_all(request)?;
    let is_head = request.starts_with(b"HEAD ");
    read_answer(&mut stream, is_head)
}

/// Reads one answer, and no byte behind it.
pub fn read_answer(stream: &mut TcpStream, is_head: bool) -> io::Result<Answer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).map_err(io::Error::other)?;
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers
        .get("content-length")
        .and_then(|length| length.parse().ok());
    let length: usize = if is_head { 0 } else { length.unwrap_or(0) };
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Answer {
        status: status.ok_or(io::ErrorKind::InvalidData)?,
        headers,
        body,
    })
}
