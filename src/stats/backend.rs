//! tiny_http behind the front.
//!
//! That library takes any number of connections, one thread each, and waits for each of them as
//! long as it likes. So it is given no door to the network: it listens on a Unix socket that lives
//! only until the front has made its fixed number of connections, in a directory that nobody else
//! may enter. From then on it serves those connections and no other.

use std::borrow::Cow;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::Sources;
use super::answer::{Answer, accepts_gzip};
use super::routes;

/// Connections of the front, and so requests at once.
pub const LINKS: usize = 4;
/// Threads that make answers.
const THREADS: usize = 2;
/// Names tried for the socket's directory before giving up.
const MAX_NAMES: u32 = 100;

/// tiny_http at work. At drop it ends, with all its threads.
pub struct Backend {
    /// There until the drop.
    server: Option<Arc<tiny_http::Server>>,
    threads: Vec<JoinHandle<()>>,
    /// The socket, which has no name any more.
    socket: File,
}

impl Backend {
    /// Starts the server, and makes the connections that it serves. The directory of its socket
    /// lies in `directory` meanwhile.
    ///
    /// # Errors
    /// The system has no directory, socket or thread for it.
    pub fn start(
        sources: &Arc<Sources>,
        directory: &Path,
    ) -> io::Result<(Backend, Vec<UnixStream>)> {
        let directory = Directory::make(directory)?;
        let path = directory.0.join("socket");
        let listener = UnixListener::bind(&path)?;
        let socket = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH)
            .open(&path)?;
        let connect = |_| UnixStream::connect(&path);
        let links = (0..LINKS).map(connect).collect::<io::Result<Vec<_>>>()?;
        drop(directory);
        let server = tiny_http::Server::from_listener(listener, None).map_err(io::Error::other)?;
        let server = Arc::new(server);
        let mut backend = Backend {
            server: Some(Arc::clone(&server)),
            threads: Vec::new(),
            socket,
        };
        for number in 0..THREADS {
            let (server, sources) = (Arc::clone(&server), Arc::clone(sources));
            let thread = thread::Builder::new().name(format!("stats-{number}"));
            let thread = thread.spawn(move || {
                while let Ok(request) = server.recv() {
                    serve(request, &sources);
                }
            })?;
            backend.threads.push(thread);
        }
        Ok((backend, links))
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        for _ in &self.threads {
            if let Some(server) = &self.server {
                server.unblock();
            }
        }
        for thread in self.threads.drain(..) {
            // A thread that panicked has ended the process already.
            let _ = thread.join();
        }
        // Told to close, the library would end its accepting thread by a connection to the socket's
        // name, which is gone.
        drop(self.server.take());
        let _ = UnixStream::connect(format!("/proc/self/fd/{}", self.socket.as_raw_fd()));
    }
}

/// A directory that only this process's user may enter, removed at drop.
struct Directory(PathBuf);

impl Directory {
    fn make(within: &Path) -> io::Result<Directory> {
        let pid = std::process::id();
        let mut number = 0;
        loop {
            let path = within.join(format!(".tcpffee-stats-{pid}-{number}"));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Directory(path)),
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists && number < MAX_NAMES =>
                {
                    number += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0.join("socket"));
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Answers one request.
fn serve(request: tiny_http::Request, sources: &Sources) {
    let encoding = request.headers().iter();
    let encoding = encoding
        .filter(|header| header.field.equiv("Accept-Encoding"))
        .any(|header| accepts_gzip(header.value.as_str()));
    let answer = routes::answer(request.url(), sources).finished(encoding);
    // Where the front has gone there is no one to tell.
    let _ = request.respond(response(answer));
}

fn response(answer: Answer) -> tiny_http::Response<io::Cursor<Cow<'static, [u8]>>> {
    let content_type = ("Content-Type", answer.content_type.to_owned());
    let headers = answer.headers.into_iter().chain([content_type]);
    let headers =
        headers.filter_map(|(name, value)| tiny_http::Header::from_bytes(name, value).ok());
    let body = answer.body;
    let length = body.len();
    let status = tiny_http::StatusCode(answer.status);
    let response = tiny_http::Response::new(
        status,
        headers.collect(),
        io::Cursor::new(body),
        Some(length),
        None,
    );
    // The front goes by the length.
    response.with_chunked_threshold(usize::MAX)
}
