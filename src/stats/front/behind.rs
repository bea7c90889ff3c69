//! What stands behind the front: the backend with the links to it, and another where one is lost.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Interest, Registry, Token};

use super::link::{Asker, Link};
use super::queue::Rank;
use crate::stats::backend::{Answers, Backend};

/// From one start of a backend to the next.
const START_PAUSE: Duration = Duration::from_secs(1);
/// From one complaint in the log to the next.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(60);

/// The backend, where there is one, and the links to it.
pub struct Behind {
    /// Before the backend, whose threads end with the links that they serve.
    links: Vec<Link>,
    backend: Option<Backend>,
    /// When the next backend may be started.
    again: Instant,
    /// When the log may be told the next time.
    complain_again: Option<Instant>,
    directory: PathBuf,
    answers: Arc<dyn Answers>,
}

impl Behind {
    /// A backend that makes `answers`. In `directory` lies, for a moment, its socket. The events of
    /// its links bear the tokens from `FIRST_LINK`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(
        registry: &Registry,
        directory: PathBuf,
        answers: Arc<dyn Answers>,
        now: Instant,
    ) -> io::Result<Behind> {
        let mut behind = Behind {
            links: Vec::new(),
            backend: None,
            again: now,
            complain_again: None,
            directory,
            answers,
        };
        behind.try_start(registry, now)?;
        Ok(behind)
    }

    /// Starts another backend where there is none.
    pub fn keep(&mut self, registry: &Registry, now: Instant) {
        if self.backend.is_none()
            && self.again <= now
            && let Err(error) = self.try_start(registry, now)
        {
            self.complain(
                &format!("the statistics server has none to make answers: {error}"),
                now,
            );
        }
    }

    /// When a backend is to be started; `None` while there is one.
    pub fn due(&self) -> Option<Instant> {
        self.backend.is_none().then_some(self.again)
    }

    /// The backend is of no use any more. Who waits for an answer of it?
    pub fn lose(&mut self, error: &io::Error, now: Instant) -> Vec<Asker> {
        self.complain(
            &format!("the statistics server lost its backend and starts another: {error}"),
            now,
        );
        let askers = self.links.iter().filter_map(Link::asker).collect();
        self.links.clear();
        self.backend = None;
        askers
    }

    /// Links at work.
    pub fn busy(&self) -> usize {
        self.links.iter().filter(|link| !link.is_free()).count()
    }

    /// A link without work that a request of this rank may take.
    pub fn free(&self, rank: Rank) -> Option<usize> {
        let links = match rank {
            Rank::Urgent => &self.links[..],
            Rank::Ordinary => &self.links[..self.links.len().saturating_sub(1)],
        };
        links.iter().position(Link::is_free)
    }

    /// One of the links.
    pub fn link(&mut self, at: usize) -> Option<&mut Link> {
        self.links.get_mut(at)
    }

    fn try_start(&mut self, registry: &Registry, now: Instant) -> io::Result<()> {
        self.again = now + START_PAUSE;
        let place = self.directory.display();
        let refused = |error: io::Error| {
            let text = format!("its backend cannot be started in {place}: {error}");
            io::Error::new(error.kind(), text)
        };
        let (backend, streams) = Backend::start(&self.answers, &self.directory).map_err(refused)?;
        let mut links = Vec::new();
        for (number, stream) in streams.into_iter().enumerate() {
            stream.set_nonblocking(true)?;
            let mut link = Link::new(mio::net::UnixStream::from_std(stream));
            let both = Interest::READABLE | Interest::WRITABLE;
            let token = Token(super::FIRST_LINK + number);
            registry.register(link.stream(), token, both)?;
            links.push(link);
        }
        self.links = links;
        self.backend = Some(backend);
        Ok(())
    }

    /// Tells the log, which a fault that lasts must not fill.
    fn complain(&mut self, text: &str, now: Instant) {
        if self.complain_again.is_some_and(|again| now < again) {
            log::debug!("{text}");
            return;
        }
        log::error!("{text} (said at most once a minute)");
        self.complain_again = Some(now + COMPLAINT_PAUSE);
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        // The backend's threads end with the links that they serve.
        self.links.clear();
    }
}
