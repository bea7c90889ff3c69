//! Loopback addresses of one test's own, so that tests run in parallel on the same low ports.
//!
//! 127.N.0.0/16 for N from 1 to 250 is one block. A lock on a file names who has it: threads,
//! processes and whole test runs at once never share a block.

use std::fs::{File, TryLockError};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

const BLOCKS: u32 = 250;

static CLAIMED: AtomicU32 = AtomicU32::new(0);

/// 65,536 addresses, given back at drop.
#[derive(Debug)]
pub struct Block {
    number: u8,
    _lock: File,
}

impl Block {
    /// A block that nobody else has. It waits where all are taken.
    pub fn claim() -> Block {
        let first = std::process::id().wrapping_mul(7) + CLAIMED.fetch_add(1, Ordering::Relaxed);
        super::wait::eventually_some("a free block of loopback addresses", || {
            (0..BLOCKS).find_map(|step| Block::try_claim((first + step) % BLOCKS + 1))
        })
    }

    fn try_claim(number: u32) -> Option<Block> {
        let lock = File::create(lock_directory().join(number.to_string()))
            .expect("the lock file of a block can be opened");
        match lock.try_lock() {
            Ok(()) => Some(Block {
                number: u8::try_from(number).expect("250 fits"),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Error(error)) => panic!("lock of block {number}: {error}"),
        }
    }

    /// An address of the block.
    pub fn address(&self, third: u8, fourth: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.number, third, fourth)
    }

    /// Where the proxy listens.
    pub fn proxy(&self) -> Ipv4Addr {
        self.address(0, 1)
    }

    /// The proxy's listener for `port`.
    pub fn listener(&self, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.proxy()), port)
    }

    /// Where the `number`th proxy of the block serves statistics.
    pub fn statistics(&self, number: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.address(0, 2)), 2_340 + number * 10)
    }

    /// The address of the `number`th backend.
    pub fn backend(&self, number: u8) -> Ipv4Addr {
        self.address(1, number + 1)
    }

    /// The address of the `number`th client, up to 50,000.
    pub fn client(&self, number: u32) -> IpAddr {
        let third = u8::try_from(16 + number / 250).expect("at most 50,000 clients");
        let fourth = u8::try_from(1 + number % 250).expect("at most 250");
        IpAddr::V4(self.address(third, fourth))
    }

    /// 64 ports of this test's own below the ephemeral range, for addresses that cannot be
    /// its own (`::1`, `0.0.0.0`).
    pub fn port(&self, number: u16) -> u16 {
        assert!(number < 64, "a block has 64 ports");
        10_000 + u16::from(self.number) * 64 + number
    }
}

fn lock_directory() -> PathBuf {
    let directory = std::env::temp_dir().join("tcpffee-test-blocks");
    std::fs::create_dir_all(&directory).expect("the directory of block locks can be made");
    directory
}
