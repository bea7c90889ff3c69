//! What workers count, and what readers find.

use super::*;

#[test]
fn what_workers_count_is_summed_by_port() {
    let traffic = Traffic::new();
    for worker in 0..2 {
        let mut cells = WorkerCells::new(worker);
        for (port, accepted) in [(80, 3), (443, 1)] {
            let cell = cells.port(&traffic, port);
            cell.accepted.add(accepted);
            assert!(std::ptr::eq(cell, cells.port(&traffic, port)));
        }
        cells.port(&traffic, 80).closed.add(1);
    }
    let of = |connections, accepted| PortTraffic {
        connections,
        accepted,
    };
    let expected = BTreeMap::from([(80, of(4, 6)), (443, of(2, 2))]);
    assert_eq!(traffic.ports(), expected);
}

#[test]
fn what_workers_count_is_summed_by_group() {
    let traffic = Traffic::new();
    for worker in 0..2 {
        let mut cells = WorkerCells::new(worker);
        let cell = cells.group(&traffic, GroupId(7));
        cell.connections.add(2);
        cell.bytes_in.add(10);
        cell.bytes_out.add(20);
        cell.ended(End::ClientReset).add(1);
        let took = Duration::from_millis(2);
        cell.connect_time.note(CONNECT_BOUNDS_US, took);
        let took = Duration::from_secs(100_000);
        cell.session_time.note(SESSION_BOUNDS_US, took);
    }
    let group = traffic.group(GroupId(7));
    assert_eq!((group.connections_total, group.bytes_in), (4, 20));
    assert_eq!((group.bytes_out, group.ended(End::ClientReset)), (40, 2));
    assert_eq!(group.ended.iter().sum::<u64>(), 2);
    let within = |seconds, histogram: &Histogram| {
        let mut bounds = histogram.cumulative();
        bounds
            .find(|(bound, _)| *bound == seconds)
            .map(|(_, count)| count)
    };
    assert_eq!(within(0.001, &group.connect_time), Some(0));
    assert_eq!(within(0.0025, &group.connect_time), Some(2));
    assert_eq!(within(86_400.0, &group.session_time), Some(0));
    assert_eq!(group.session_time.count(), 2);
    assert_eq!(traffic.group(GroupId(8)), GroupTraffic::default());
    let mut bytes_in = 0;
    traffic.each_group_cell(|cell| bytes_in += cell.bytes_in.get());
    assert_eq!(bytes_in, 20);
}

#[test]
fn a_worker_finds_a_new_cell_while_all_others_are_read() {
    let traffic = Traffic::new();
    let mut cells = WorkerCells::new(0);
    cells.group(&traffic, GroupId(1)).bytes_in.add(1);
    let mut seen = 0;
    traffic.each_group_cell(|cell| {
        // Were the lock held meanwhile, this would wait for ever.
        cells.group(&traffic, GroupId(2)).bytes_in.add(1);
        seen += cell.bytes_in.get();
    });
    assert_eq!(seen, 1, "the one that there was");
    traffic.each_group_cell(|cell| seen += cell.bytes_in.get());
    assert_eq!(seen, 3);
}

#[test]
fn ports_and_groups_beyond_the_bound_are_counted_together() {
    let traffic = Traffic::new();
    let mut cells = WorkerCells::new(0);
    let beyond = 10;
    for number in 1..=(MAX_PORTS + beyond) as u16 {
        cells.port(&traffic, number).accepted.add(1);
        cells
            .group(&traffic, GroupId(number.into()))
            .connections
            .add(1);
    }
    let ports = traffic.ports();
    assert_eq!(ports.len(), MAX_PORTS + 1);
    assert_eq!(ports[&OTHER_PORT].accepted, beyond as u64);
    let beyond_all = traffic.groups_but(|_| true);
    assert_eq!(beyond_all.connections_total, beyond as u64);
    let but_one = traffic.groups_but(|id| id != GroupId(1));
    assert_eq!(but_one.connections_total, beyond as u64 + 1);
    assert_eq!(traffic.group(GroupId(5_000)), GroupTraffic::default());
    assert!(std::ptr::eq(
        cells.port(&traffic, 1),
        cells.port(&traffic, 1)
    ));
    assert_eq!(
        traffic.ports()[&1].accepted,
        1,
        "found again after the worker forgot it"
    );
}
