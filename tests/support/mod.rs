//! What the integration tests share. Each test binary uses part of it.
//!
//! A test claims a [`Block`] of loopback addresses, writes [`Settings`], starts [`Backend`]s and
//! the real binary as a [`Proxy`], and talks to it through [`client`]. Everything that waits has
//! a deadline and says what it waited for.

#![allow(dead_code, unused_imports, clippy::unwrap_used)]

pub mod backend;
pub mod block;
pub mod bulk;
pub mod client;
pub mod fleet;
pub mod frozen;
pub mod guide;
pub mod health;
pub mod host;
pub mod http;
pub mod log;
pub mod manager;
pub mod netns;
pub mod process;
pub mod proxy;
pub mod settings;
pub mod traffic;
pub mod wait;
pub mod yardstick;

pub use backend::{Backend, Job};
pub use block::Block;
pub use fleet::{Fleet, parallel};
pub use health::Ward;
pub use log::{Log, Session};
pub use proxy::{Builder, Proxy};
pub use settings::Settings;
pub use traffic::Traffic;
pub use wait::{PATIENCE, eventually};

/// Whether the long variants were asked for: `LONG_TESTS=1`.
pub fn long() -> bool {
    std::env::var_os("LONG_TESTS").is_some_and(|value| value == "1")
}

/// Says that a test is left out, and why; where none may be (`TESTS_NEED_PROGRAMS`, as in `.ci/run`),
/// the test fails.
pub fn skip(reason: impl std::fmt::Display) {
    assert!(
        std::env::var_os("TESTS_NEED_PROGRAMS").is_none(),
        "{reason}"
    );
    println!("SKIPPED: {reason}");
    eprintln!("SKIPPED: {reason}");
}

/// One size for everyday runs, another for `LONG_TESTS=1`.
pub fn scaled<T>(everyday: T, long_run: T) -> T {
    if long() { long_run } else { everyday }
}
