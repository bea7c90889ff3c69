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
/// Threads that make answers: one for each request at once, so that the one that may always go ahead
/// finds one.
const THREADS: usize = LINKS;
/// Names tried for the socket's directory before giving up.
const MAX_NAMES: u32 = 100;

/// Makes answers. A trait, so that the front can be tested with answers that are late, or too large.
pub trait Answers: Send + Sync {
    /// The answer to a target: a path and what stands behind its question mark.
    fn answer(&self, target: &str) -> Answer;

    /// Called once a second.
    fn tick(&self);
}

impl Answers for Sources {
    fn answer(&self, target: &str) -> Answer {
        routes::answer(target, self)
    }

    fn tick(&self) {
        Sources::tick(self);
    }
}

/// tiny_http at work. At drop it ends, with all its threads.
pub struct Backend {
    /// There until the drop.
    server: Option<Arc<tiny_http::Server>>,
    threads: Vec<JoinHandle<()>>,
    /// The socket, which has no name any more.
    socket: File,
    /// The directory that the socket was in, gone but held: the library keeps the socket's name, and
    /// at its end looks there once more.
    _directory: File,
}

impl Backend {
    /// Starts the server, and makes the connections that it serves. The directory of its socket
    /// lies in `directory` meanwhile.
    ///
    /// # Errors
    /// The system has no directory, socket or thread for it.
    pub fn start(
        answers: &Arc<dyn Answers>,
        directory: &Path,
    ) -> io::Result<(Backend, Vec<UnixStream>)> {
        let directory = Directory::make(directory)?;
        let held = open_path(&directory.0)?;
        // A socket's name has at most 107 bytes: by this one it fits wherever the directory is.
        let path = PathBuf::from(format!("/proc/self/fd/{}/socket", held.as_raw_fd()));
        let listener = UnixListener::bind(&path)?;
        let socket = open_path(&path)?;
        let connect = |_| UnixStream::connect(&path);
        let links = (0..LINKS).map(connect).collect::<io::Result<Vec<_>>>()?;
        drop(directory);
        let server = tiny_http::Server::from_listener(listener, None).map_err(io::Error::other)?;
        let mut backend = Backend {
            server: Some(Arc::new(server)),
            threads: Vec::new(),
            socket,
            _directory: held,
        };
        for number in 0..THREADS {
            backend.start_thread(number, Arc::clone(answers))?;
        }
        Ok((backend, links))
    }

    fn start_thread(&mut self, number: usize, answers: Arc<dyn Answers>) -> io::Result<()> {
        let server = self.server.clone();
        let thread = thread::Builder::new().name(format!("stats-{number}"));
        self.threads.push(thread.spawn(move || {
            while let Some(Ok(request)) = server.as_ref().map(|server| server.recv()) {
                serve(request, &*answers);
            }
        })?);
        Ok(())
    }
}

/// A place in the file system, held.
fn open_path(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(path)
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
fn serve(request: tiny_http::Request, answers: &dyn Answers) {
    let encoding = request.headers().iter();
    let encoding = encoding
        .filter(|header| header.field.equiv("Accept-Encoding"))
        .any(|header| accepts_gzip(header.value.as_str()));
    let answer = answers.answer(request.url()).finished(encoding);
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
