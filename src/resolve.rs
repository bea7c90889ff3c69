//! Host names of targets, resolved off the event loop.
//!
//! A few threads take whichever name is due next, look it up, and put the answer where the
//! event loops read it ([`ResolvedName`]): all addresses of the name, in a lasting order. A failed
//! look-up keeps the last answer. A look-up that hangs holds one thread, nothing else.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use crate::clock::Clock;
use crate::logging::RateLimit;

/// Looks a name up; may take as long as it likes.
pub type Lookup = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// Told of each new answer, by the thread that has just published it.
pub type OnChange = dyn Fn(&Change) + Send + Sync;

/// A name's addresses have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The name.
    pub host: String,
    /// What they were before; empty: it had not been resolved.
    pub from: Vec<IpAddr>,
    /// What they are now.
    pub to: Vec<IpAddr>,
}

/// Addresses of one name that are used; those beyond are left out.
const MAX_ADDRESSES: usize = 64;

/// How often names are looked up, and by how many threads.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between look-ups of a name that has an answer.
    pub resolved: Duration,
    /// Between look-ups of a name that has none.
    pub unresolved: Duration,
    /// Between warnings about one name.
    pub warning: Duration,
    /// Look-ups at once, at least 1.
    pub max_threads: usize,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            resolved: Duration::from_secs(30),
            unresolved: Duration::from_secs(5),
            warning: Duration::from_secs(60),
            max_threads: 4,
        }
    }
}

/// A host name and the addresses it last resolved to.
#[derive(Debug)]
pub struct ResolvedName {
    /// The name as configured.
    pub host: String,
    /// The last good answer, at least one address; `None` until there was one.
    pub answer: ArcSwapOption<Vec<IpAddr>>,
}

impl ResolvedName {
    /// A name that is not resolved yet.
    pub fn new(host: String) -> ResolvedName {
        ResolvedName {
            host,
            answer: ArcSwapOption::empty(),
        }
    }

    /// Its addresses, the preferred one first; none until it has resolved.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let answer = self.answer.load();
        answer.as_deref().cloned().unwrap_or_default()
    }

    /// The preferred one of its addresses.
    pub fn first(&self) -> Option<IpAddr> {
        let answer = self.answer.load();
        answer.as_deref().and_then(|ips| ips.first().copied())
    }
}

/// Every host name in use, each looked up again and again as long as it is.
pub struct Names {
    shared: Arc<Shared>,
}

impl Names {
    /// No names yet, and no threads; names are looked up as the system does it (`getaddrinfo`).
    pub fn new(on_change: Box<OnChange>) -> Names {
        Names::with(Pace::default(), Box::new(look_up), on_change)
    }

    /// The same with another pace and another way of looking up.
    pub fn with(pace: Pace, lookup: Box<Lookup>, on_change: Box<OnChange>) -> Names {
        Names {
            shared: Arc::new(Shared {
                pace,
                lookup,
                on_change,
                clock: Clock::start(),
                table: Mutex::default(),
                changed: Condvar::new(),
            }),
        }
    }

    /// The name's place, made at first asking; its first look-up begins at once.
    ///
    /// # Errors
    /// When the system refuses the first thread.
    pub fn get(&self, host: &str) -> io::Result<Arc<ResolvedName>> {
        let mut table = self.shared.table();
        if let Some(entry) = table.entries.get(host) {
            return Ok(Arc::clone(&entry.name));
        }
        self.staff(&mut table)?;
        let name = Arc::new(ResolvedName::new(host.to_owned()));
        let entry = Entry {
            name: Arc::clone(&name),
            due: Instant::now(),
            busy: false,
            attempted: false,
            warned: RateLimit::every(self.shared.pace.warning),
        };
        table.entries.insert(host.to_owned(), entry);
        self.shared.changed.notify_all();
        Ok(name)
    }

    /// Waits until each name has been looked up once, for at most `timeout`; returns the names
    /// that have no answer then.
    pub fn resolve_first(&self, timeout: Duration) -> Vec<String> {
        let waits = |table: &mut Table| table.entries.values().any(|entry| !entry.attempted);
        let table = self.shared.table();
        let (table, _) = self
            .shared
            .changed
            .wait_timeout_while(table, timeout, waits)
            .unwrap_or_else(PoisonError::into_inner);
        let unresolved = |entry: &&Entry| entry.name.answer.load().is_none();
        let mut hosts: Vec<_> = table
            .entries
            .values()
            .filter(unresolved)
            .map(|entry| entry.name.host.clone())
            .collect();
        hosts.sort();
        hosts
    }

    /// Keeps only the names in `used`: those of the newest generation. Older generations keep
    /// the last answers of theirs.
    pub fn retain(&self, used: &BTreeSet<String>) {
        let mut table = self.shared.table();
        table.entries.retain(|host, _| used.contains(host));
    }

    /// One more thread while there are more names than threads, up to the bound.
    fn staff(&self, table: &mut Table) -> io::Result<()> {
        if table.threads >= self.shared.pace.max_threads.min(table.entries.len() + 1) {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let spawned = thread::Builder::new()
            .name("resolve".to_owned())
            .spawn(move || shared.work());
        match spawned {
            Ok(_) => table.threads += 1,
            // Those that run already do its work too, only later.
            Err(error) if table.threads > 0 => log::debug!("no further thread: {error}"),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Drop for Names {
    /// The threads end by themselves, each after its look-up.
    fn drop(&mut self) {
        self.shared.table().ended = true;
        self.shared.changed.notify_all();
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let table = self.shared.table();
        f.debug_list().entries(table.entries.keys()).finish()
    }
}

/// The system's resolver, in its order of preference.
fn look_up(host: &str) -> io::Result<Vec<IpAddr>> {
    Ok((host, 0).to_socket_addrs()?.map(|at| at.ip()).collect())
}

struct Shared {
    pace: Pace,
    lookup: Box<Lookup>,
    on_change: Box<OnChange>,
    clock: Clock,
    table: Mutex<Table>,
    /// A name came in, was looked up, or all is over.
    changed: Condvar,
}

#[derive(Default)]
struct Table {
    entries: HashMap<String, Entry>,
    threads: usize,
    ended: bool,
}

struct Entry {
    name: Arc<ResolvedName>,
    due: Instant,
    busy: bool,
    attempted: bool,
    warned: RateLimit,
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(name) = self.next_due() {
            let found = (self.lookup)(&name.host);
            self.settle(&name, found);
        }
    }

    /// Waits for the next name that is due and marks it busy. `None`: all is over.
    fn next_due(&self) -> Option<Arc<ResolvedName>> {
        let mut table = self.table();
        loop {
            if table.ended {
                return None;
            }
            let idle = table.entries.values_mut().filter(|entry| !entry.busy);
            let now = Instant::now();
            let wait = match idle.min_by_key(|entry| entry.due) {
                Some(entry) if entry.due <= now => {
                    entry.busy = true;
                    return Some(Arc::clone(&entry.name));
                }
                next => next.map(|entry| entry.due - now),
            };
            table = match wait {
                Some(wait) => {
                    let waited = self.changed.wait_timeout(table, wait);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.changed.wait(table);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }

    /// Publishes what a look-up found and sets the next one.
    fn settle(&self, name: &Arc<ResolvedName>, found: io::Result<Vec<IpAddr>>) {
        let before = name.addresses();
        let found = found.and_then(|ips| in_lasting_order(&before, &ips));
        let mut table = self.table();
        let entry = table.entries.get_mut(&name.host);
        // Dropped meanwhile, or dropped and asked for anew.
        let Some(entry) = entry.filter(|entry| Arc::ptr_eq(&entry.name, name)) else {
            return;
        };
        let has_answer = !before.is_empty() || found.is_ok();
        let change = match found {
            Ok(to) if before == to => None,
            Ok(to) => {
                name.answer.store(Some(Arc::new(to.clone())));
                let (host, from) = (name.host.clone(), before);
                Some(Change { host, from, to })
            }
            Err(error) => {
                warn_of(entry, &before, &error, self.clock);
                None
            }
        };
        let pause = match has_answer {
            true => self.pace.resolved,
            false => self.pace.unresolved,
        };
        entry.due = Instant::now() + pause;
        entry.busy = false;
        entry.attempted = true;
        self.changed.notify_all();
        drop(table);
        if let Some(change) = change {
            tell(&change);
            (self.on_change)(&change);
        }
    }
}

/// The addresses that a look-up found: those of before that the name still has come first, in their
/// order (servers of names shuffle their lists), then what is new.
fn in_lasting_order(before: &[IpAddr], found: &[IpAddr]) -> io::Result<Vec<IpAddr>> {
    let kept = before.iter().filter(|ip| found.contains(ip));
    let mut ordered: Vec<IpAddr> = Vec::new();
    for &ip in kept.chain(found) {
        if ordered.len() < MAX_ADDRESSES && !ordered.contains(&ip) {
            ordered.push(ip);
        }
    }
    match ordered.is_empty() {
        true => Err(io::Error::other("the name has no address")),
        false => Ok(ordered),
    }
}

fn warn_of(entry: &Entry, before: &[IpAddr], error: &io::Error, clock: Clock) {
    let host = &entry.name.host;
    if let Some(left_out) = entry.warned.admit(clock.now()) {
        match before {
            [] => log::warn!(
                "cannot resolve {host}: {error}; its targets are absent until it resolves{left_out}"
            ),
            [ip] => log::warn!("cannot resolve {host}: {error}; {ip} stays{left_out}"),
            ips => {
                let ips = shown(ips);
                log::warn!("cannot resolve {host}: {error}; {ips} stay{left_out}");
            }
        }
    }
}

fn tell(Change { host, from, to }: &Change) {
    match from.as_slice() {
        [] => log::info!("{host} is {}", shown(to)),
        from => log::info!("{host} has moved from {} to {}", shown(from), shown(to)),
    }
}

fn shown(ips: &[IpAddr]) -> String {
    let shown: Vec<String> = ips.iter().map(IpAddr::to_string).collect();
    shown.join(", ")
}

#[cfg(test)]
mod tests;
