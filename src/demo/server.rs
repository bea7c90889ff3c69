//! A small server that answers HTTP requests and echoes lines, both with its name.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

/// Connections of one listener at once; further ones wait in the backlog.
const MAX_CONNECTIONS: usize = 64;

/// Who has said nothing for this long is greeted: a person with `nc`.
const SILENCE: Duration = Duration::from_millis(500);

/// How long a conversation may pause.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long a request may take to come, and its answer to be taken.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// The largest head of a request.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// After a failed accept (out of descriptors), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A server on one port.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// What it calls itself.
    pub name: String,
    /// The proxy's port that leads to it.
    pub port: u16,
}

/// What a client speaks, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    Http,
    Lines,
    /// Too little to tell.
    Unclear,
}

impl Server {
    /// Listens at `address` and serves for the rest of the process's life.
    pub fn start(self, address: SocketAddr) -> io::Result<()> {
        let listener = TcpListener::bind(address)?;
        thread::Builder::new()
            .name(format!("demo-{}", self.name))
            .spawn(move || self.accept_all(&listener))?;
        Ok(())
    }

    fn accept_all(&self, listener: &TcpListener) {
        let (places, taken) = bounded(MAX_CONNECTIONS);
        loop {
            match listener.accept() {
                Ok((stream, _)) => self.admit(stream, &places, &taken),
                Err(error) => {
                    log::debug!("{} cannot accept: {error}", self.name);
                    thread::sleep(ACCEPT_PAUSE);
                }
            }
        }
    }

    /// Serves the connection in a thread of its own, when there is a place for one more.
    fn admit(&self, stream: TcpStream, places: &Sender<()>, taken: &Receiver<()>) {
        if places.send(()).is_err() {
            return;
        }
        let (server, place) = (self.clone(), taken.clone());
        let spawned = thread::Builder::new()
            .name(format!("demo-{}", self.name))
            .spawn(move || {
                if let Err(error) = server.converse(&stream) {
                    log::debug!("{}: a connection failed: {error}", server.name);
                }
                let _ = place.try_recv();
            });
        if let Err(error) = spawned {
            log::warn!("{} cannot serve a connection: {error}", self.name);
            let _ = taken.try_recv();
        }
    }

    fn converse(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(REQUEST_LIMIT))?;
        let mut heard = Vec::new();
        while speech(&heard) == Speech::Unclear {
            stream.set_read_timeout(Some(if heard.is_empty() {
                SILENCE
            } else {
                REQUEST_LIMIT
            }))?;
            match hear(stream, &mut heard) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if is_timeout(&error) => break,
                Err(error) => return Err(error),
            }
        }
        match speech(&heard) {
            Speech::Http => self.answer(stream, heard),
            Speech::Lines | Speech::Unclear => self.echo(stream, &heard),
        }
    }

    fn answer(&self, mut stream: &TcpStream, mut heard: Vec<u8>) -> io::Result<()> {
        stream.set_read_timeout(Some(REQUEST_LIMIT))?;
        let is_whole = |head: &[u8]| head.windows(4).any(|end| end == b"\r\n\r\n");
        while !is_whole(&heard) {
            if heard.len() > MAX_HEAD_BYTES || hear(stream, &mut heard)? == 0 {
                return Ok(());
            }
        }
        stream.write_all(self.response(heard.starts_with(b"HEAD ")).as_bytes())?;
        // What is still coming (a body) is read, so that closing does not reset the answer away.
        stream.shutdown(Shutdown::Write)?;
        io::copy(&mut stream.take(1 << 20), &mut io::sink()).map(drop)
    }

    fn response(&self, head_only: bool) -> String {
        let body = format!("{}: hello from port {}\n", self.name, self.port);
        let length = body.len();
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {length}\r\nServer: tcpffee-demo-{}\r\nConnection: close\r\n\r\n{}",
            self.name,
            if head_only { "" } else { &body },
        )
    }

    fn echo(&self, mut stream: &TcpStream, heard: &[u8]) -> io::Result<()> {
        let (name, port) = (&self.name, self.port);
        let greeting = format!("{name}: hello from port {port}; what you type comes back\n");
        stream.write_all(greeting.as_bytes())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut buffer = [0; 4_096];
        let mut at_line_start = true;
        let mut piece = heard.to_vec();
        loop {
            let prompt = format!("{name}> ");
            stream.write_all(&with_prompt(&piece, prompt.as_bytes(), &mut at_line_start))?;
            match (&mut stream).read(&mut buffer)? {
                0 => return Ok(()),
                count => piece = buffer[..count].to_vec(),
            }
        }
    }
}

/// Reads once, and puts what came behind what is there.
fn hear(mut stream: &TcpStream, heard: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0; 4_096];
    let count = stream.read(&mut buffer)?;
    heard.extend_from_slice(&buffer[..count]);
    Ok(count)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn speech(heard: &[u8]) -> Speech {
    const METHODS: [&[u8]; 7] = [
        b"GET ",
        b"HEAD ",
        b"POST ",
        b"PUT ",
        b"DELETE ",
        b"OPTIONS ",
        b"PATCH ",
    ];
    if METHODS.iter().any(|method| heard.starts_with(method)) {
        return Speech::Http;
    }
    match METHODS.iter().any(|method| method.starts_with(heard)) {
        true => Speech::Unclear,
        false => Speech::Lines,
    }
}

/// The bytes with the prompt before each line that begins in them.
fn with_prompt(bytes: &[u8], prompt: &[u8], at_line_start: &mut bool) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len() + prompt.len());
    for &byte in bytes {
        if *at_line_start {
            text.extend_from_slice(prompt);
        }
        text.push(byte);
        *at_line_start = byte == b'\n';
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_http_from_lines() {
        for (heard, expected) in [
            ("", Speech::Unclear),
            ("G", Speech::Unclear),
            ("GET ", Speech::Http),
            ("GET / HTTP/1.1\r\n", Speech::Http),
            ("POST /x", Speech::Http),
            ("GETAWAY", Speech::Lines),
            ("hello\n", Speech::Lines),
            ("\n", Speech::Lines),
        ] {
            assert_eq!(speech(heard.as_bytes()), expected, "{heard:?}");
        }
    }

    #[test]
    fn every_line_comes_back_with_the_name_however_it_is_cut() {
        for cut in 0..=8 {
            let mut at_line_start = true;
            let (one, two) = b"ab\n\ncd\ne".split_at(cut);
            let mut text = with_prompt(one, b"> ", &mut at_line_start);
            text.extend(with_prompt(two, b"> ", &mut at_line_start));
            assert_eq!(text, b"> ab\n> \n> cd\n> e", "cut at {cut}");
        }
    }

    fn server() -> SocketAddr {
        let server = Server {
            name: "birch".to_owned(),
            port: 5280,
        };
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        server.start(free).unwrap();
        free
    }

    fn ask(request: &str) -> String {
        let mut stream = TcpStream::connect(server()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn an_http_request_is_answered_with_the_name() {
        let answer = ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(
            head.contains(&format!("Content-Length: {}", body.len())),
            "{head}"
        );
        assert_eq!(body, "birch: hello from port 5280\n");
        assert!(ask("HEAD / HTTP/1.0\r\n\r\n").ends_with("\r\n\r\n"));
    }

    #[test]
    fn lines_are_echoed_with_the_name() {
        let answer = ask("one\ntwo\n");
        assert!(
            answer.starts_with("birch: hello from port 5280"),
            "{answer}"
        );
        assert!(answer.ends_with("\nbirch> one\nbirch> two\n"), "{answer}");
    }

    #[test]
    fn a_silent_client_is_greeted() {
        let mut stream = TcpStream::connect(server()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut first = [0; 6];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"birch:");
    }
}
