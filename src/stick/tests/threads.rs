//! Several workers at once.

use super::fixtures::*;
use crate::config::StickTableFull;
use crate::stick::{AfterFailure, Route, Settings, Sticks};

/// Nothing is left over when all connections have ended and all has expired.
#[test]
fn threads_leave_a_table_in_order() {
    let cluster = Cluster::new();
    let table = cluster.table(Settings {
        max_entries: 500,
        full: StickTableFull::Evict,
        ..settings()
    });
    let groups = cluster.groups([up(1), up(2), up(3)]);
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let (table, groups) = (&table, &groups);
            scope.spawn(move || {
                for number in 0..20_000u32 {
                    let random = number
                        .wrapping_mul(2_654_435_761)
                        .wrapping_add(thread << 20)
                        >> 7;
                    let now = second(u64::from(number / 1000));
                    let known = key(random % 1_000);
                    let Route::Group(answer) = table.route(&ask(known, groups, now)) else {
                        continue;
                    };
                    match random % 5 {
                        0 => table.abandoned(answer.stick, now),
                        1 => {
                            let tried = [answer.group];
                            let ask = ask(known, groups, now);
                            let after = table.connect_failed(&ask, answer, &tried);
                            if let AfterFailure::Moved(moved) = after {
                                table.abandoned(moved.stick, now);
                            }
                        }
                        _ => {
                            if table.established(answer.stick, groups, now).is_ok() {
                                table.closed(answer.stick, now);
                            }
                        }
                    }
                    if number % 500 == 0 {
                        table.sweep(now);
                    }
                }
            });
        }
    });
    let entries = table.counts().entries;
    assert!(entries <= 500);
    let sticks: u64 = (1..=3).map(|id| cluster.sticks(id)).sum();
    assert_eq!(sticks, entries);
    assert_eq!(table.sweep(second(10_000)), entries);
    assert_eq!((1..=3).map(|id| cluster.sticks(id)).sum::<u64>(), 0);
}
