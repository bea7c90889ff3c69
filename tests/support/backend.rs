//! Servers behind the proxy, each with a name and a way to behave.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::client::STALL;

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
/// is open.
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
        self.stop_listening();
        self.cut();
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
                serve(conn);
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

fn listen(place: SocketAddr) -> io::Result<TcpListener> {
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
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
