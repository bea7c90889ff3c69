//! Servers behind the proxy, each with a name and a way to behave.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::bulk;
use super::client::{STALL, StreamEnd, read_line};

/// A connection that a backend has accepted.
#[derive(Clone, Debug)]
pub struct Conn {
    /// The stream; its reads and writes fail after [`STALL`].
    pub stream: Arc<TcpStream>,
    /// The backend's name.
    pub name: Arc<str>,
    /// The port that it came to.
    pub port: u16,
    /// Where it came from.
    pub peer: SocketAddr,
}

/// A listening server, one thread for each connection. At drop it stops listening and cuts what
/// is open; where a thread has panicked before, the test fails.
#[derive(Debug)]
pub struct Backend {
    name: Arc<str>,
    shared: Arc<Shared>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    streams: Mutex<Vec<Weak<TcpStream>>>,
    arrivals: Mutex<Vec<(SocketAddr, u16)>>,
    open: AtomicUsize,
    failures: AtomicUsize,
}

const STOP: Token = Token(usize::MAX);

impl Backend {
    /// A server on every one of `ports` that runs `serve` for each connection; the stream is
    /// closed when `serve` and all clones of it are gone.
    pub fn start(
        name: &str,
        address: impl Into<IpAddr>,
        ports: &[u16],
        serve: impl Fn(Conn) + Send + Sync + 'static,
    ) -> Backend {
        let address = address.into();
        let listeners: Vec<TcpListener> = ports
            .iter()
            .map(|port| {
                let place = SocketAddr::new(address, *port);
                listen(place).unwrap_or_else(|error| panic!("backend {name} at {place}: {error}"))
            })
            .collect();
        let poll = Poll::new().expect("an event queue can be made");
        let waker = Waker::new(poll.registry(), STOP).expect("a waker can be made");
        let shared = Arc::new(Shared::default());
        let name: Arc<str> = name.into();
        let acceptor = Acceptor {
            name: Arc::clone(&name),
            shared: Arc::clone(&shared),
            serve: Arc::new(serve),
        };
        let thread = std::thread::spawn(move || acceptor.run(poll, listeners));
        Backend {
            name,
            shared,
            waker,
            thread: Some(thread),
        }
    }

    /// Says its name and a newline, then sends back what it gets.
    pub fn echo(name: &str, address: impl Into<IpAddr>, ports: &[u16]) -> Backend {
        Backend::start(name, address, ports, |conn| {
            let _ = conn.say_name().and_then(|()| conn.echo());
        })
    }

    /// Reads everything and says nothing; ends after the client has ended.
    pub fn silent(name: &str, address: impl Into<IpAddr>, ports: &[u16]) -> Backend {
        Backend::start(name, address, ports, |conn| {
            let _ = io::copy(&mut &*conn.stream, &mut io::sink());
        })
    }

    /// Accepts and never reads; holds the connection until the backend is dropped.
    pub fn never_reading(name: &str, address: impl Into<IpAddr>, ports: &[u16]) -> Backend {
        let held = Mutex::new(Vec::new());
        Backend::start(name, address, ports, move |conn| {
            held.lock().unwrap().push(conn);
        })
    }

    /// Closes every connection as soon as it is accepted.
    pub fn closing(name: &str, address: impl Into<IpAddr>, ports: &[u16]) -> Backend {
        Backend::start(name, address, ports, drop)
    }

    /// Does what the first line of each connection asks for: see [`Job`].
    pub fn bulk(name: &str, address: impl Into<IpAddr>, ports: &[u16]) -> Backend {
        Backend::start(name, address, ports, |conn| {
            let Ok(line) = read_line(&conn.stream) else {
                return;
            };
            Job::parse(&line).serve(&conn);
        })
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many connections it has accepted.
    pub fn accepted(&self) -> usize {
        self.shared.arrivals.lock().unwrap().len()
    }

    /// Who came to which port, in order.
    pub fn arrivals(&self) -> Vec<(SocketAddr, u16)> {
        self.shared.arrivals.lock().unwrap().clone()
    }

    /// How many connections are being served.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Refuses from now on; what is open stays open.
    pub fn stop_listening(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.waker.wake().expect("the waker's queue exists");
            thread.join().expect("the accepting thread ends in order");
        }
    }

    /// Ends every open connection (FIN, or RST where input is unread).
    pub fn cut(&self) {
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            if let Some(stream) = stream.upgrade() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let failures = self.shared.failures.load(Ordering::Relaxed);
        self.stop_listening();
        self.cut();
        if !std::thread::panicking() {
            assert_eq!(
                failures, 0,
                "connections of backend {} that failed",
                self.name
            );
        }
    }
}

impl Conn {
    /// Writes the name and a newline.
    pub fn say_name(&self) -> io::Result<()> {
        (&*self.stream).write_all(format!("{}\n", self.name).as_bytes())
    }

    /// Sends back what comes until the client ends, then ends too.
    pub fn echo(&self) -> io::Result<()> {
        let mut stream = &*self.stream;
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match stream.read(&mut buffer)? {
                0 => return stream.shutdown(Shutdown::Write),
                read => stream.write_all(&buffer[..read])?,
            }
        }
    }
}

/// What a client asks of [`Backend::bulk`], in one line at the start of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// The client's stream; the backend's is the next one.
    pub seed: u64,
    /// Bytes from the client, each of them checked.
    pub up: u64,
    /// Bytes to the client.
    pub down: u64,
    /// After half of `down` the backend resets the connection.
    pub abort: bool,
}

impl Job {
    fn parse(line: &str) -> Job {
        let numbers: Vec<u64> = line.split(' ').map(|word| word.parse().unwrap()).collect();
        let [seed, up, down, abort] = numbers[..] else {
            panic!("not a job: {line}");
        };
        Job {
            seed,
            up,
            down,
            abort: abort == 1,
        }
    }

    fn serve(self, conn: &Conn) {
        if self.abort {
            let _ = bulk::send(&*conn.stream, self.seed + 1, self.down / 2);
            let linger = SockRef::from(&conn.stream).set_linger(Some(Duration::ZERO));
            return linger.expect("linger can be set on an open socket");
        }
        let sender = Arc::clone(&conn.stream);
        let sending = std::thread::spawn(move || {
            let sent = bulk::send(&*sender, self.seed + 1, self.down);
            sent.and_then(|()| sender.shutdown(Shutdown::Write))
        });
        let (received, end) = bulk::receive_to_end(&*conn.stream, self.seed);
        let sent = sending.join().expect("sending does not panic");
        // A reset is told once: where the sender has met it, the receiver sees a plain end.
        if end == StreamEnd::Finished && sent.is_ok() {
            assert_eq!(received, self.up, "bytes of stream {}", self.seed);
        }
    }

    /// Asks for it on a fresh connection.
    pub fn ask(self, mut stream: &TcpStream) -> io::Result<()> {
        let Job {
            seed,
            up,
            down,
            abort,
        } = self;
        stream.write_all(format!("{seed} {up} {down} {}\n", u8::from(abort)).as_bytes())
    }

    /// The client's part: asks, sends and receives at once, checks everything, ends in order.
    pub fn run(self, stream: &TcpStream) {
        self.ask(stream).expect("the job is sent");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                bulk::send(stream, self.seed, self.up).expect("the backend reads to the end");
                stream
                    .shutdown(Shutdown::Write)
                    .expect("the stream is open");
            });
            let received = bulk::receive_to_end(stream, self.seed + 1);
            assert_eq!(received, (self.down, StreamEnd::Finished));
        });
    }
}

struct Acceptor<F> {
    name: Arc<str>,
    shared: Arc<Shared>,
    serve: Arc<F>,
}

impl<F: Fn(Conn) + Send + Sync + 'static> Acceptor<F> {
    fn run(self, mut poll: Poll, listeners: Vec<TcpListener>) {
        for (at, listener) in listeners.iter().enumerate() {
            poll.registry()
                .register(
                    &mut SourceFd(&listener.as_raw_fd()),
                    Token(at),
                    Interest::READABLE,
                )
                .expect("a listener can be registered");
        }
        let mut events = Events::with_capacity(64);
        loop {
            match poll.poll(&mut events, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                outcome => outcome.expect("waiting for events cannot fail otherwise"),
            }
            for event in &events {
                if event.token() == STOP {
                    return refuse(&listeners);
                }
                self.accept_all(&listeners[event.token().0]);
            }
        }
    }

    fn accept_all(&self, listener: &TcpListener) {
        let port = listener.local_addr().map_or(0, |address| address.port());
        while let Ok((stream, peer)) = listener.accept() {
            let ready = stream
                .set_nodelay(true)
                .and_then(|()| stream.set_read_timeout(Some(10 * STALL)))
                .and_then(|()| stream.set_write_timeout(Some(10 * STALL)));
            ready.expect("options of a fresh socket can be set");
            let stream = Arc::new(stream);
            self.shared
                .streams
                .lock()
                .unwrap()
                .push(Arc::downgrade(&stream));
            self.shared.arrivals.lock().unwrap().push((peer, port));
            self.spawn(Conn {
                stream,
                name: Arc::clone(&self.name),
                port,
                peer,
            });
        }
    }

    fn spawn(&self, conn: Conn) {
        let serve = Arc::clone(&self.serve);
        let shared = Arc::clone(&self.shared);
        shared.open.fetch_add(1, Ordering::Relaxed);
        std::thread::Builder::new()
            .stack_size(256 * 1024)
            .spawn(move || {
                if catch_unwind(AssertUnwindSafe(|| serve(conn))).is_err() {
                    shared.failures.fetch_add(1, Ordering::Relaxed);
                }
                shared.open.fetch_sub(1, Ordering::Relaxed);
            })
            .expect("a thread for a connection can be started");
    }
}

/// Ends listening at once. Closing alone is not enough: a child process that another test starts
/// at this moment holds copies of all descriptors until it executes its program.
fn refuse(listeners: &[TcpListener]) {
    for listener in listeners {
        let _ = SockRef::from(listener).shutdown(Shutdown::Both);
    }
}

/// A port that answers no SYN: its queue of one is full.
#[derive(Debug)]
pub struct Unresponsive {
    _listener: Socket,
    _queued: Vec<TcpStream>,
}

impl Unresponsive {
    /// Fills the queue of a listener that never accepts.
    pub fn start(place: SocketAddr) -> Unresponsive {
        let listener = bound(place).expect("the place is free");
        listener.listen(0).expect("a bound socket can listen");
        let mut queued = Vec::new();
        let patience = Duration::from_millis(300);
        while let Ok(stream) = TcpStream::connect_timeout(&place, patience) {
            queued.push(stream);
            assert!(queued.len() < 100, "the queue does not fill");
        }
        Unresponsive {
            _listener: listener,
            _queued: queued,
        }
    }
}

fn listen(place: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound(place)?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn bound(place: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(place),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if place.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&place.into())?;
    Ok(socket)
}
