//! Looking for entries, while others come and go.

use std::collections::HashSet;
use std::time::Instant;

use super::*;
use crate::stick::tests::fixtures::*;
use crate::stick::{Key, Remaining, RestoredEntry};

const WIDE: Search = Search {
    limit: 100,
    slice_bytes: usize::MAX,
    slots: 10_000,
};

/// All pages of a look; each keeps to its bounds.
fn all(
    search: Search,
    mut page: impl FnMut(Option<Cursor>) -> (Vec<EntryView>, Option<Cursor>),
) -> Vec<EntryView> {
    let (mut found, mut cursor) = (Vec::new(), None);
    for _ in 0..100_000 {
        let (entries, next) = page(cursor);
        assert!(entries.len() <= search.limit);
        found.extend(entries);
        match next {
            Some(next) => cursor = Some(Cursor::from_u64(next.to_u64())),
            None => return found,
        }
    }
    panic!("the pages never end");
}

#[test]
fn what_is_wanted_is_found_once_in_however_small_pieces() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    let groups = cluster.groups([up(1), up(2)]);
    for number in 0..5_000 {
        visit(&table, key(number), &groups, second(0));
    }
    for slots in [1, 70, 10_000] {
        let search = Search { slots, ..WIDE };
        let wanted = |_: KeyRef<'_>, group| group == GroupId(2);
        let found = all(search, |from| {
            table.search(from.unwrap_or_default(), search, second(1), wanted)
        });
        let keys: HashSet<Key> = found.iter().map(|entry| entry.key.clone()).collect();
        assert_eq!((found.len(), keys.len()), (2_500, 2_500), "{slots}");
        assert!(found.iter().all(|entry| entry.group == GroupId(2)));
    }
}

#[test]
fn a_page_ends_where_slices_become_many_bytes() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    let groups = cluster.groups([up(1)]);
    for number in 0..50 {
        visit(
            &table,
            slice_key(number, &[b'x'; 1_000]),
            &groups,
            second(0),
        );
    }
    let search = Search {
        slice_bytes: 3_000,
        ..WIDE
    };
    let mut longest = 0;
    let found = all(search, |from| {
        let page = table.search(from.unwrap_or_default(), search, second(1), |_, _| true);
        longest = longest.max(page.0.len());
        page
    });
    assert_eq!((found.len(), longest), (50, 3));
}

#[test]
fn all_slices_of_an_address_are_found_few_or_many() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    let groups = cluster.groups([up(1)]);
    let slices: Vec<[u8; 4]> = (0..6_000_u32).map(u32::to_be_bytes).collect();
    for number in 0..2_000 {
        visit(&table, key(number), &groups, second(0));
    }
    for slice in &slices {
        visit(&table, slice_key(7, slice), &groups, second(0));
    }
    for slice in &slices[..30] {
        visit(&table, slice_key(8, slice), &groups, second(0));
    }
    for (number, expected) in [(1, 1), (7, 6_001), (8, 31), (5_000, 0)] {
        for limit in [10, 1_000] {
            let search = Search { limit, ..WIDE };
            let found = all(search, |from| {
                table.search_address(ip(number), from, search, second(1), |_, _| true)
            });
            let keys: HashSet<Key> = found.iter().map(|entry| entry.key.clone()).collect();
            assert_eq!(
                (found.len(), keys.len()),
                (expected, expected),
                "{number} {limit}"
            );
            assert!(found.iter().all(|entry| entry.key.ip == ip(number)));
        }
    }
    // A place in another address's shard leads nowhere.
    for shard in 0..64_u64 {
        let from = Some(Cursor::from_u64(shard << 32));
        let (found, _) = table.search_address(ip(8), from, WIDE, second(1), |_, _| true);
        assert!(found.iter().all(|entry| entry.key.ip == ip(8)));
    }
}

#[test]
fn the_last_stick_of_each_group_is_found_or_nothing_is_said() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    let (one, two) = (cluster.groups([up(1)]), cluster.groups([up(2)]));
    for at in 0..5 {
        let groups = if at == 4 { &two } else { &one };
        for number in 0..200 {
            visit(
                &table,
                key(at * 1_000 + number),
                groups,
                second(u64::from(at)),
            );
        }
    }
    let ids = BTreeSet::from([GroupId(1), GroupId(2), GroupId(3)]);
    let last = table.last_remaining(&ids, 100_000, second(4));
    let seconds: Vec<u64> = last.values().map(Duration::as_secs).collect();
    assert_eq!(seconds, [9, 10, 0]);
    assert!(table.last_remaining(&ids, 500, second(4)).is_empty());
}

/// The bound that statistics promise is 10 ms for a page; this asserts no more than that there is
/// a bound, on any machine and in any build, and prints the figures.
#[test]
fn a_page_of_a_table_of_a_million_entries_is_quick() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    let entries = (0..1_000_000).map(|number| RestoredEntry {
        key: Key {
            ip: ip(number),
            slice: None,
        },
        group: GroupId(number % 3),
        remaining: Remaining::Full,
    });
    assert_eq!(table.restore(entries.collect(), second(0)), 1_000_000);
    let search = Search {
        limit: 1_000,
        slice_bytes: usize::MAX,
        slots: 131_072,
    };
    let middle = Cursor::from_u64(30 << 32 | 4_000);
    let timed = |what: &str, expected: usize, page: &dyn Fn() -> usize| {
        let times = (0..5).map(|_| {
            let begun = Instant::now();
            assert_eq!(page(), expected, "{what}");
            begun.elapsed()
        });
        let best = times.min().unwrap_or_default();
        println!("{what}: {best:?}");
        assert!(best < Duration::from_millis(200), "{what}: {best:?}");
    };
    let anything = |_: KeyRef<'_>, _| true;
    let nothing = |_: KeyRef<'_>, group| group == GroupId(9);
    timed("a page of 1,000", 1_000, &|| {
        table.search(middle, search, second(1), anything).0.len()
    });
    timed("a look that finds nothing", 0, &|| {
        table.search(middle, search, second(1), nothing).0.len()
    });
    timed("an address", 1, &|| {
        let found = table.search_address(ip(77_777), None, search, second(1), anything);
        found.0.len()
    });
    timed("one hold of a lock", 0, &|| {
        let search = Search {
            slots: ENTRIES_PER_HOLD,
            ..search
        };
        table.search(middle, search, second(1), nothing).0.len()
    });
}
