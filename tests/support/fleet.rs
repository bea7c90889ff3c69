//! The usual scene: some named echo servers, one group each, and the settings that name them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::settings::PORTS;
use super::{Backend, Block, Settings};

/// Groups 0, 1, … with an echo server each, named `g0`, `g1`, ….
#[derive(Debug)]
pub struct Fleet {
    /// The servers, by group.
    pub backends: Vec<Backend>,
    /// Settings that name all of them.
    pub settings: Settings,
    /// The test's addresses.
    pub block: Block,
}

impl Fleet {
    /// So many groups, each answering on [`PORTS`].
    pub fn new(groups: u8) -> Fleet {
        Fleet::on_ports(groups, &PORTS)
    }

    /// So many groups, each answering on these ports.
    pub fn on_ports(groups: u8, ports: &[u16]) -> Fleet {
        let block = Block::claim();
        let mut settings = Settings::new(&block).ports(ports);
        let mut backends = Vec::new();
        for group in 0..groups {
            let address = block.backend(group);
            backends.push(Backend::echo(&format!("g{group}"), address, ports));
            settings = settings.group(u32::from(group), address);
        }
        Fleet {
            backends,
            settings,
            block,
        }
    }

    /// The proxy's listener for a port.
    pub fn listener(&self, port: u16) -> SocketAddr {
        self.block.listener(port)
    }

    /// Which group answers the `client`th address on a port.
    pub fn ask(&self, client: u32, port: u16) -> std::io::Result<String> {
        super::client::ask(self.block.client(client), self.listener(port))
    }

    /// As [`Fleet::ask`], where an answer is certain.
    pub fn served_by(&self, client: u32, port: u16) -> String {
        self.ask(client, port)
            .unwrap_or_else(|error| panic!("client {client} on port {port}: {error}"))
    }
}

/// Runs `job` for 0, 1, … `count` on `threads` threads: the results in order.
pub fn parallel<T: Send>(threads: usize, count: u32, job: impl Fn(u32) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let count = usize::try_from(count).expect("fits");
    let mut results: Vec<(usize, T)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut done = Vec::new();
                    loop {
                        let item = next.fetch_add(1, Ordering::Relaxed);
                        if item >= count {
                            return done;
                        }
                        done.push((item, job(u32::try_from(item).expect("it came from one"))));
                    }
                })
            })
            .collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined
            .flat_map(|outcome| outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    results.sort_by_key(|(item, _)| *item);
    results.into_iter().map(|(_, result)| result).collect()
}
