//! The stick table at 1,000,000 entries, on one core: routing known and new keys, holding and
//! releasing them, sweeping and saving.
//!
//! `cargo bench --bench stick_table`; elements per second are calls (or entries) per second of
//! the thread's CPU time, so that other work on the machine disturbs the figures little.

mod cpu_time;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use cpu_time::{CpuTime, thread_cpu_time};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tcpffee::clock::Millis;
use tcpffee::config::{Balance, GroupConfig, GroupId, OnDisabled, StickTableFull};
use tcpffee::groups::{Group, GroupRegistry, Groups, HealthStatus, Target};
use tcpffee::stick::{
    Answer, Ask, Client, ClientIp, Cursor, KeyRef, Route, Settings, Sticks, Table, Ticket,
};

const ENTRIES: u32 = 1_000_000;
const PORT: u16 = 5280;
const NOW: Millis = Millis(1 << 40);
const EXPIRATION: Duration = Duration::from_secs(3600);

/// A step through the keys that visits all of them, far apart: no key is in a CPU cache because
/// its neighbour was asked for.
const STRIDE: u32 = 2_654_435_761;

struct Bench {
    table: Table,
    groups: Groups,
}

impl Bench {
    fn new() -> Bench {
        let registry = Arc::new(GroupRegistry::new(1));
        let groups = (1..=4).map(|id| group(id, &registry)).collect();
        let settings = Settings {
            expiration: EXPIRATION,
            max_entries: 64_000_000,
            full: StickTableFull::Refuse,
            balance: Balance::LeastSticks,
        };
        Bench {
            table: Table::new(settings, registry),
            groups: Groups::new(groups),
        }
    }

    /// With a million idle entries, of the keys below [`ENTRIES`].
    fn full() -> Bench {
        let bench = Bench::new();
        for number in 0..ENTRIES {
            bench.visit(number, NOW);
        }
        bench
    }

    fn ask(&self, number: u32, now: Millis) -> Ask<'_> {
        // The numbers are scattered over all addresses, for the same reason as STRIDE.
        let address = Ipv4Addr::from_bits(number.wrapping_mul(0x9e37_79b1));
        let ip = ClientIp::new(IpAddr::V4(address), 128);
        Ask {
            client: Client::Key(KeyRef { ip, slice: None }),
            port: PORT,
            groups: &self.groups,
            place: None,
            ticket: Ticket {
                worker: 0,
                token: 0,
            },
            now,
        }
    }

    fn route(&self, number: u32, now: Millis) -> Answer {
        match self.table.route(&self.ask(number, now)) {
            Route::Group(answer) => answer,
            other => panic!("no group for key {number}: {other:?}"),
        }
    }

    fn establish(&self, answer: Answer, now: Millis) {
        let established = self.table.established(answer.stick, &self.groups, now);
        assert!(established.is_ok());
    }

    fn visit(&self, number: u32, now: Millis) {
        let answer = self.route(number, now);
        self.establish(answer, now);
        self.table.closed(answer.stick, now);
    }
}

fn group(id: u32, registry: &GroupRegistry) -> Group {
    let config = GroupConfig {
        id: GroupId(id),
        name: None,
        targets: BTreeMap::new(),
        weight: 1,
        drain: false,
        disabled: false,
        backup: false,
        on_disabled: OnDisabled::Keep,
        drain_timeout: None,
        max_connections: None,
        send_proxy: None,
        slow_start: None,
        transparent: false,
        healthchecks: Vec::new(),
    };
    let target = Target::fixed(config.id, SocketAddr::from(([127, 0, 0, 1], 9)));
    let targets = BTreeMap::from([(PORT, target)]);
    let health = Arc::new(HealthStatus::up());
    Group::new(&config, targets, registry.counters(config.id), health)
}

/// Known keys in scattered order, for ever.
fn scattered() -> impl FnMut() -> u32 {
    let mut at = 0u32;
    move || {
        at = at.wrapping_add(STRIDE);
        at % ENTRIES
    }
}

fn known_keys(criterion: &mut Criterion<CpuTime>) {
    let bench = Bench::full();
    let mut one = criterion.benchmark_group("1M entries");
    one.throughput(Throughput::Elements(1));
    let mut next = scattered();
    one.bench_function("route of a known key", |bencher| {
        bencher.iter(|| black_box(bench.route(next(), NOW)));
    });

    let bench = Bench::full();
    one.bench_function("route, established and closed of a known key", |bencher| {
        bencher.iter(|| bench.visit(next(), NOW));
    });
    one.bench_function("closed", |bencher| {
        bencher.iter_custom(|times| {
            let mut spent = Duration::ZERO;
            let mut left = times;
            while left > 0 {
                let batch = left.min(100_000);
                let open: Vec<Answer> = (0..batch).map(|_| bench.route(next(), NOW)).collect();
                open.iter().for_each(|&answer| bench.establish(answer, NOW));
                let start = thread_cpu_time();
                open.iter()
                    .for_each(|answer| bench.table.closed(answer.stick, NOW));
                spent += thread_cpu_time() - start;
                left -= batch;
            }
            spent
        });
    });
    one.finish();
}

/// Work on new keys, timed in rounds of 100,000 on top of a million, so that the table's size
/// stays near a million.
fn new_keys(criterion: &mut Criterion<CpuTime>, name: &str, work: impl Fn(&Bench, u32)) {
    const ROUND: u32 = 100_000;
    let mut one = criterion.benchmark_group("1M entries");
    one.throughput(Throughput::Elements(1));
    one.bench_function(name, |bencher| {
        bencher.iter_custom(|times| {
            let mut spent = Duration::ZERO;
            let mut left = times;
            let mut bench = Bench::full();
            let mut first = ENTRIES;
            while left > 0 {
                if first >= ENTRIES + 5 * ROUND {
                    bench = Bench::full();
                    first = ENTRIES;
                }
                let batch = u32::try_from(left).map_or(ROUND, |left| left.min(ROUND));
                let start = thread_cpu_time();
                (first..first + batch).for_each(|number| work(&bench, number));
                spent += thread_cpu_time() - start;
                first += batch;
                left -= u64::from(batch);
            }
            spent
        });
    });
    one.finish();
}

fn inserts(criterion: &mut Criterion<CpuTime>) {
    new_keys(criterion, "route of a new key", |bench, number| {
        black_box(bench.route(number, NOW));
    });
    let name = "route and established of a new key";
    new_keys(criterion, name, |bench, number| {
        bench.establish(bench.route(number, NOW), NOW);
    });
}

fn whole_table(criterion: &mut Criterion<CpuTime>) {
    let mut all = criterion.benchmark_group("1M entries, each entry");
    all.throughput(Throughput::Elements(ENTRIES.into()));
    all.sample_size(10);
    all.bench_function("sweep of expired ones", |bencher| {
        bencher.iter_batched_ref(
            Bench::full,
            |bench| assert_eq!(bench.table.sweep(NOW + EXPIRATION), u64::from(ENTRIES)),
            criterion::BatchSize::PerIteration,
        );
    });
    let bench = Bench::full();
    all.bench_function("listing in pages of 1,000", |bencher| {
        bencher.iter(|| {
            let mut next = Some(Cursor::START);
            while let Some(cursor) = next {
                let (entries, after) = bench.table.page(cursor, 1000, NOW);
                black_box(entries);
                next = after;
            }
        });
    });
    all.finish();
    let mut none = criterion.benchmark_group("1M entries");
    none.bench_function("sweep of nothing", |bencher| {
        bencher.iter(|| black_box(bench.table.sweep(NOW)));
    });
    none.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = known_keys, inserts, whole_table
}
criterion_main!(benches);
