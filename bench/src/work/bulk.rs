//! Bulk transfer one way, on blocking threads.
//!
//! A client says with nine bytes what it wants; then the bytes flow from server to client, or
//! from client to server with a receipt of eight bytes. Every byte is counted, and the ends of
//! every piece that arrives are compared with what belongs at that place of the stream.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use socket2::{Domain, Socket, Type};

use crate::places::{self, Places};

/// Flows at once.
const FLOWS: u64 = 4;
/// Bytes of one write or read at most.
const PIECE_BYTES: usize = 256 * 1024;
/// The stream repeats after this many bytes: a prime, so that no buffer size hides a slip.
const PERIOD_BYTES: usize = 65_521;
/// Bytes compared at each end of a piece.
const COMPARED_BYTES: usize = 32;
/// Silence after which a flow has hung.
const HANG_TIMEOUT: Duration = Duration::from_secs(15);
/// How often the accepting thread looks whether it is to end.
const ACCEPT_TICK: Duration = Duration::from_millis(20);

/// One period of the stream and a piece more, so that a piece starts anywhere in it.
static STREAM: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_u32;
    let mut period = Vec::with_capacity(PERIOD_BYTES);
    for _ in 0..PERIOD_BYTES {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        period.push((state >> 24) as u8);
    }
    let bytes = period.iter().copied().cycle();
    bytes.take(PERIOD_BYTES + PIECE_BYTES).collect()
});

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Server to client.
    Download,
    /// Client to server.
    Upload,
}

/// Servers that listen.
#[derive(Debug)]
pub struct Bulk<'a> {
    places: &'a Places,
    listeners: Vec<TcpListener>,
}

impl<'a> Bulk<'a> {
    /// Servers on every target.
    pub fn listen(places: &'a Places) -> anyhow::Result<Bulk<'a>> {
        let listeners = places
            .backends()
            .map(places::listener)
            .collect::<Result<_, _>>()?;
        Ok(Bulk { places, listeners })
    }

    /// Transfers `bytes` over a few flows at once; answers how many flows failed.
    pub fn transfer(&self, direction: Direction, bytes: u64) -> anyhow::Result<u64> {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let servers = scope.spawn(|| self.serve(&over));
            let flows: Vec<_> = (0..FLOWS)
                .map(|nth| {
                    let share = bytes / FLOWS + u64::from(nth < bytes % FLOWS);
                    scope.spawn(move || self.flow(nth, direction, share))
                })
                .collect();
            let mut failed = 0;
            for flow in flows {
                if let Err(error) = flow.join().expect("a flow's thread does not panic") {
                    eprintln!("error: {error:#}");
                    failed += 1;
                }
            }
            over.store(true, Ordering::Relaxed);
            servers
                .join()
                .expect("the servers' thread does not panic")?;
            Ok(failed)
        })
    }

    /// Accepts and serves until told that all is over.
    fn serve(&self, over: &AtomicBool) -> anyhow::Result<()> {
        let tick = Timespec::try_from(ACCEPT_TICK).context("a time-out")?;
        let mut watched: Vec<_> = self
            .listeners
            .iter()
            .map(|listener| PollFd::new(listener, PollFlags::IN))
            .collect();
        thread::scope(|scope| {
            while !over.load(Ordering::Relaxed) {
                poll(&mut watched, Some(&tick)).context("wait for connections")?;
                for listener in &self.listeners {
                    // Connections that only tried whether the balancer listens say nothing.
                    while let Ok((stream, _)) = listener.accept() {
                        scope.spawn(move || {
                            if let Err(error) = serve_one(&stream) {
                                eprintln!("error: a server: {error:#}");
                            }
                        });
                    }
                }
            }
            Ok(())
        })
    }

    fn flow(&self, nth: u64, direction: Direction, bytes: u64) -> anyhow::Result<()> {
        let from = SocketAddrV4::new(self.places.client(nth), 0);
        let to = self.places.listen(nth);
        let mut stream = connect(from, to).with_context(|| format!("connect {from} to {to}"))?;
        let mut request = [0; 9];
        request[0] = u8::from(direction == Direction::Upload);
        request[1..].copy_from_slice(&bytes.to_le_bytes());
        stream.write_all(&request).context("send a request")?;
        match direction {
            Direction::Download => {
                let got = receive(&stream).context("download")?;
                ensure!(got == bytes, "{got} of {bytes} bytes were downloaded");
            }
            Direction::Upload => {
                send(&stream, bytes).context("upload")?;
                stream.shutdown(Shutdown::Write).context("end an upload")?;
                let mut receipt = [0; 8];
                stream.read_exact(&mut receipt).context("read a receipt")?;
                let got = u64::from_le_bytes(receipt);
                ensure!(got == bytes, "{got} of {bytes} bytes were uploaded");
            }
        }
        Ok(())
    }
}

fn connect(from: SocketAddrV4, to: SocketAddrV4) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&from.into())?;
    socket.connect(&to.into())?;
    let stream: TcpStream = socket.into();
    bound_waiting(&stream)?;
    Ok(stream)
}

fn bound_waiting(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(HANG_TIMEOUT))?;
    stream.set_write_timeout(Some(HANG_TIMEOUT))
}

fn serve_one(mut stream: &TcpStream) -> anyhow::Result<()> {
    stream.set_nonblocking(false).context("make it blocking")?;
    bound_waiting(stream).context("set time-outs")?;
    let mut request = [0; 9];
    match stream.read(&mut request).context("read a request")? {
        0 => return Ok(()),
        length => stream
            .read_exact(&mut request[length..])
            .context("read a request")?,
    }
    let (kind, length) = request.split_first().context("a request has nine bytes")?;
    if *kind == 0 {
        let length = <[u8; 8]>::try_from(length).context("a request has nine bytes")?;
        send(stream, u64::from_le_bytes(length)).context("serve a download")?;
    } else {
        let got = receive(stream).context("serve an upload")?;
        stream
            .write_all(&got.to_le_bytes())
            .context("send a receipt")?;
    }
    stream.shutdown(Shutdown::Write).context("end a reply")
}

fn send(mut stream: &TcpStream, bytes: u64) -> std::io::Result<()> {
    let mut sent = 0;
    while sent < bytes {
        let left = usize::try_from(bytes - sent).unwrap_or(usize::MAX);
        let from = (sent % PERIOD_BYTES as u64) as usize;
        let piece = &STREAM[from..from + left.min(PIECE_BYTES)];
        sent += stream.write(piece)? as u64;
    }
    Ok(())
}

/// Reads to the end of the stream; answers how many bytes came.
fn receive(mut stream: &TcpStream) -> anyhow::Result<u64> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut got = 0;
    loop {
        let length = stream.read(&mut buffer).context("read")?;
        if length == 0 {
            return Ok(got);
        }
        let from = (got % PERIOD_BYTES as u64) as usize;
        let expected = &STREAM[from..from + length];
        let compared = length.min(COMPARED_BYTES);
        ensure!(
            buffer[..compared] == expected[..compared]
                && buffer[length - compared..length] == expected[length - compared..],
            "wrong bytes near byte {got} of the stream"
        );
        got += length as u64;
    }
}
