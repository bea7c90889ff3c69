//! Figures, printed, each in a process of its own, for the memory's sake:
//! `cargo test --release --lib -- --ignored --nocapture a_million_addresses`, `a_million_slices`.

use std::time::{Duration, Instant};

use super::fixtures::*;
use crate::config::GroupId;
use crate::stick::replicated::command::*;

const ENTRIES: u32 = 1_000_000;
const BATCH: u32 = 256;

fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let resident = pages.split_whitespace().nth(1).unwrap();
    resident.parse::<u64>().unwrap() * 4096
}

fn assigns(lab: &mut Lab, keys: std::ops::Range<u32>, is_sliced: bool) -> Duration {
    let begin = Instant::now();
    for from in keys.clone().step_by(BATCH as usize) {
        let assign = |number| Op::Assign {
            client: Wanted::Key(match is_sliced {
                true => sliced(number, "0123456789abcdef"),
                false => key(number),
            }),
            group: Some(GroupId(1 + number % 3)),
        };
        let ops = (from..keys.end.min(from + BATCH)).map(assign).collect();
        lab.batch(A, 1, ops);
        lab.time += 1;
    }
    begin.elapsed()
}

fn per_second(count: u32, took: Duration) -> f64 {
    f64::from(count) / took.as_secs_f64()
}

#[test]
#[ignore = "a measurement"]
fn a_million_addresses() {
    measure(false);
}

#[test]
#[ignore = "a measurement"]
fn a_million_slices() {
    measure(true);
}

fn measure(is_sliced: bool) {
    let mut lab = Lab::empty();
    lab.membership(&[A, B, C]);
    let statement = Statement {
        expiration_ms: 3_600_000,
        max_entries: 2_000_000,
        ..stating(&[1, 2, 3])
    };
    for node in [A, B, C] {
        lab.states(node, &statement);
    }
    let before = resident_bytes();
    let took = assigns(&mut lab, 0..ENTRIES, is_sliced);
    let used = resident_bytes().saturating_sub(before);
    println!("  bytes per entry    {}", used / u64::from(ENTRIES));
    println!("  new keys           {:.0}/s", per_second(ENTRIES, took));
    let took = assigns(&mut lab, 0..ENTRIES, is_sliced);
    println!("  known keys         {:.0}/s", per_second(ENTRIES, took));

    let begin = Instant::now();
    let mut source = lab.state.snapshot();
    println!("  mark               {:?}", begin.elapsed());
    // Each page is copied before its first change.
    let mut worst = Duration::ZERO;
    for number in (0..ENTRIES).step_by(97) {
        let begin = Instant::now();
        assigns(&mut lab, number..number + 1, is_sliced);
        worst = worst.max(begin.elapsed());
    }
    let kept = lab.state.entries.replica.snapshot_bytes();
    println!("  worst assign after {worst:?}");
    println!("  kept for it        {} KiB", kept / 1024);
    let begin = Instant::now();
    let bytes = try_read(&mut *source).unwrap();
    println!(
        "  read               {:?}, {} bytes",
        begin.elapsed(),
        bytes.len()
    );
    let source = lab.state.snapshot();
    drop(source);
    let mut source = lab.state.snapshot();
    let mut worst = Duration::ZERO;
    loop {
        let mut piece = Vec::new();
        let begin = Instant::now();
        source.next_piece(&mut piece).unwrap();
        worst = worst.max(begin.elapsed());
        if piece.is_empty() {
            break;
        }
    }
    println!("  worst piece        {worst:?}, several holds");
    let begin = Instant::now();
    let mut other = Lab::empty();
    other.state.restore(&mut &bytes[..]).unwrap();
    println!("  restored           {:?}", begin.elapsed());
    let given = lab.given(A, &key(1), 1);
    lab.hold(A, &key(1), given.version);
    let begin = Instant::now();
    lab.op(B, Op::EndSession { node: A, boot: 1 });
    println!("  end of a session   {:?}", begin.elapsed());
    lab.time += 3_600_000;
    let begin = Instant::now();
    lab.pass(0);
    println!("  purge of 4,096     {:?}", begin.elapsed());
}
