//! The works that are put through a balancer.

mod bulk;
mod exchange;

use anyhow::{Context, ensure};

use crate::balancer::{Balancer, Running};
use crate::cli::{CompareOptions, WorkName};
use crate::core::Cores;
use crate::figure::{Sample, Span};
use crate::places::Places;
use bulk::Bulk;
pub use bulk::Direction;
pub use exchange::Exchange;

/// Connections at once in the connect work, and while idle ones are opened.
pub const CONNECT_AT_ONCE: usize = 32;
/// Connections of the ping-pong.
const PINGPONG_CONNECTIONS: usize = 64;
/// Connections before the idle ones, so that what a balancer sets up once is not counted.
const IDLE_WARM_UP: u64 = 500;
/// Bytes of a unit of bulk.
const GB: f64 = 1e9;

/// A work with its amount.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// Connect, 64 bytes each way, close: this many connections.
    Connect(u64),
    /// This many round trips of 64 bytes.
    Pingpong(u64),
    /// This many bytes one way.
    Bulk(Direction, u64),
    /// This many idle connections.
    Idle(usize),
}

/// The goal of a work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// At most this part of the best other's cost.
    OfBest(f64),
    /// At most this cost.
    AtMost(f64),
}

impl Work {
    /// The works of a comparison.
    pub fn all(options: &CompareOptions) -> Vec<Work> {
        let scale = options.scale * if options.quick { 0.1 } else { 1.0 };
        let whole = |amount: f64| (amount * scale).max(100.0) as u64;
        let works = [
            Work::Connect(whole(40_000.0)),
            Work::Pingpong(whole(250_000.0)),
            Work::Bulk(Direction::Download, whole(6e9)),
            Work::Bulk(Direction::Upload, whole(6e9)),
            Work::Idle(if options.quick { 2_000 } else { 8_000 }),
        ];
        let wanted = |work: &Work| options.only.is_empty() || options.only.contains(&work.name());
        works.into_iter().filter(wanted).collect()
    }

    fn name(self) -> WorkName {
        match self {
            Work::Connect(_) => WorkName::Connect,
            Work::Pingpong(_) => WorkName::Pingpong,
            Work::Bulk(..) => WorkName::Bulk,
            Work::Idle(_) => WorkName::Idle,
        }
    }

    /// What it is called in the table.
    pub fn title(self) -> &'static str {
        match self {
            Work::Connect(_) => "connect, 64 B each way, close",
            Work::Pingpong(_) => "64 B ping-pong, 64 connections",
            Work::Bulk(Direction::Download, _) => "bulk, server to client",
            Work::Bulk(Direction::Upload, _) => "bulk, client to server",
            Work::Idle(_) => "idle connections",
        }
    }

    /// The goal for tcpffee.
    pub fn goal(self) -> Goal {
        match self {
            Work::Connect(_) => Goal::OfBest(0.9),
            Work::Pingpong(_) => Goal::OfBest(0.95),
            Work::Bulk(..) => Goal::OfBest(0.7),
            Work::Idle(_) => Goal::AtMost(600.0),
        }
    }

    /// Starts the balancer, puts the work through it, stops it.
    pub fn measure(
        self,
        balancer: &Balancer,
        places: &Places,
        cores: Cores,
    ) -> anyhow::Result<Sample> {
        // The servers listen first: a balancer must never see a dead one.
        let through_exchange =
            |work: &dyn Fn(&mut Exchange<'_>, &Running) -> anyhow::Result<Sample>| {
                let mut exchange = Exchange::listen(places)?;
                with_balancer(balancer, places, cores, |running| {
                    let sample = work(&mut exchange, running)?;
                    exchange.release()?;
                    Ok(sample)
                })
            };
        match self {
            Work::Connect(total) => through_exchange(&|exchange, running| {
                exchange.connect_and_close(total / 10, CONNECT_AT_ONCE)?;
                let span = Span::start(running)?;
                exchange.connect_and_close(total, CONNECT_AT_ONCE)?;
                span.end(total as f64, exchange.errors())
            }),
            Work::Pingpong(total) => through_exchange(&|exchange, running| {
                exchange.hold(PINGPONG_CONNECTIONS, PINGPONG_CONNECTIONS)?;
                exchange.ping_pong(total / 20)?;
                let span = Span::start(running)?;
                exchange.ping_pong(total)?;
                span.end(total as f64, exchange.errors())
            }),
            Work::Idle(connections) => {
                through_exchange(&|exchange, running| idle(exchange, running, connections))
            }
            Work::Bulk(direction, bytes) => {
                let bulk = Bulk::listen(places)?;
                with_balancer(balancer, places, cores, |running| {
                    let warm_up_errors = bulk.transfer(direction, bytes / 20)?;
                    let span = Span::start(running)?;
                    let errors = bulk.transfer(direction, bytes)?;
                    span.end(bytes as f64 / GB, errors + warm_up_errors)
                })
            }
        }
        .with_context(|| format!("{} through {}", self.title(), balancer.name.as_str()))
    }
}

/// Memory per connection that has carried 64 bytes each way and is now silent.
fn idle(
    exchange: &mut Exchange<'_>,
    running: &Running,
    connections: usize,
) -> anyhow::Result<Sample> {
    exchange.connect_and_close(IDLE_WARM_UP, CONNECT_AT_ONCE)?;
    let span = Span::start(running)?;
    let before = span.memory()?;
    exchange.hold(connections, CONNECT_AT_ONCE)?;
    let mut sample = span.end(connections as f64, exchange.errors())?;
    ensure!(
        exchange.held() == connections || exchange.errors() > 0,
        "{} of {connections} connections are up",
        exchange.held()
    );
    exchange.rest()?;
    sample.memory = running.tree()?.memory()?;
    let grown =
        |before: u64, after: u64| (after as f64 - before as f64) / exchange.held().max(1) as f64;
    sample.cost = grown(before.private_bytes, sample.memory.private_bytes);
    sample.resident_growth = grown(before.resident_bytes, sample.memory.resident_bytes);
    Ok(sample)
}

/// Runs the work against a started balancer and stops it in any case; the work's own error
/// comes first.
fn with_balancer(
    balancer: &Balancer,
    places: &Places,
    cores: Cores,
    work: impl FnOnce(&Running) -> anyhow::Result<Sample>,
) -> anyhow::Result<Sample> {
    let running = balancer.start(places, cores)?;
    let sample = work(&running);
    let stopped = running.stop();
    let sample = sample?;
    stopped?;
    Ok(sample)
}
