//! A service manager in the place of systemd: listens where `NOTIFY_SOCKET` says.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::proxy::Builder;
use super::wait::eventually_some;

/// One datagram.
#[derive(Clone, Debug)]
pub struct Word {
    /// When it came.
    pub at: Instant,
    /// What it says, a line for each assignment.
    pub text: String,
}

impl Word {
    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    }

    /// Whether it sets this variable.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The status; empty where it sets none.
    pub fn status(&self) -> &str {
        self.get("STATUS").unwrap_or_default()
    }
}

/// Hears everything that is said, in the background.
#[derive(Debug)]
pub struct Manager {
    address: String,
    words: Arc<Mutex<Vec<Word>>>,
}

impl Manager {
    /// At a path.
    pub fn at(path: &Path) -> Manager {
        let socket = UnixDatagram::bind(path).expect("a socket can be made");
        let address = path.to_str().expect("paths of tests are text");
        Manager::hear(socket, address.to_owned())
    }

    /// At an abstract name.
    pub fn named(name: &str) -> Manager {
        let address = SocketAddr::from_abstract_name(name).expect("the name is short");
        let socket = UnixDatagram::bind_addr(&address).expect("the name is free");
        Manager::hear(socket, format!("@{name}"))
    }

    fn hear(socket: UnixDatagram, address: String) -> Manager {
        let words: Arc<Mutex<Vec<Word>>> = Arc::default();
        let heard = Arc::clone(&words);
        // It ends with the test's process.
        std::thread::spawn(move || {
            let mut bytes = vec![0; 64 * 1024];
            while let Ok(length) = socket.recv(&mut bytes) {
                let word = Word {
                    at: Instant::now(),
                    text: String::from_utf8_lossy(&bytes[..length]).into_owned(),
                };
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                heard.push(word);
            }
        });
        Manager { address, words }
    }

    /// Has a proxy tell this one.
    pub fn manages(&self, builder: Builder) -> Builder {
        builder.env("NOTIFY_SOCKET", &self.address)
    }

    /// Everything that was said.
    pub fn words(&self) -> Vec<Word> {
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        words.clone()
    }

    /// How much was said: for [`Manager::wait_after`].
    pub fn mark(&self) -> usize {
        self.words().len()
    }

    /// The first such word.
    pub fn wait(&self, what: &str, wanted: impl Fn(&Word) -> bool) -> Word {
        self.wait_after(0, what, wanted)
    }

    /// The first such word after a mark.
    pub fn wait_after(&self, mark: usize, what: &str, wanted: impl Fn(&Word) -> bool) -> Word {
        eventually_some(what, || {
            let words = self.words();
            words.get(mark..)?.iter().find(|word| wanted(word)).cloned()
        })
    }
}
