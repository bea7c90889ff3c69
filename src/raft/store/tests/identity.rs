use super::*;
use crate::ids::ClusterId;

#[test]
fn a_blank_disk_becomes_a_blank_store_that_stays_itself() {
    let disk = MemoryDisk::new();
    let (store, identity, recovered) = open(&disk).unwrap();
    assert!(recovered.is_blank());
    assert_eq!(
        (identity.node, identity.store, identity.start),
        (NODE, FRESH, 0)
    );
    drop(store);
    disk.crash(&mut random(1));
    let (_, identity, recovered) = Store::open(disk, folder(), NODE, small(), StoreId(99)).unwrap();
    assert!(recovered.is_blank());
    assert_eq!(identity.store, FRESH, "another id is for another store");
}

#[test]
fn each_life_counts_and_no_crash_counts_back() {
    let disk = MemoryDisk::new();
    for life in 1..=20 {
        let (mut store, identity, _) = open(&disk).unwrap();
        assert_eq!(identity.start, life - 1);
        assert_eq!(store.identity.begin_life().unwrap().start, life);
        assert_eq!(store.identity.get().incarnation(7).start, life);
        drop(store);
        disk.crash(&mut random(life));
    }
}

#[test]
fn a_crash_at_any_moment_of_the_first_start_leaves_a_store_that_opens() {
    for operations in 0..60 {
        let disk = MemoryDisk::new();
        disk.fail_after(operations, memory::Fault::Broken);
        let opened = open(&disk);
        let begun = opened.and_then(|(mut store, _, _)| store.identity.begin_life());
        disk.heal();
        disk.crash(&mut random(operations));
        let (_, identity, recovered) = open(&disk).unwrap();
        assert!(recovered.is_blank());
        match begun {
            Ok(begun) => assert_eq!(identity, begun),
            Err(_) => assert!(identity.start <= 1),
        }
    }
}

#[test]
fn a_store_joins_one_cluster_for_good() {
    let disk = MemoryDisk::new();
    let (mut store, identity, _) = open(&disk).unwrap();
    assert_eq!(identity.cluster, None);
    let cluster = Some(ClusterId(5));
    assert_eq!(store.identity.join(ClusterId(5)).unwrap().cluster, cluster);
    drop(store);
    disk.crash(&mut random(3));
    let (mut store, identity, _) = open(&disk).unwrap();
    assert_eq!(identity.cluster, cluster);
    store.identity.join(ClusterId(5)).unwrap();
    let error = store.identity.join(ClusterId(6)).unwrap_err();
    assert!(matches!(error, StoreError::OtherCluster { .. }), "{error}");
}

#[test]
fn an_open_store_is_not_opened_again_until_its_last_part_is_dropped() {
    let disk = MemoryDisk::new();
    let (store, _, _) = open(&disk).unwrap();
    let Store {
        identity,
        log,
        snapshots,
    } = store;
    drop(identity);
    for part in [Box::new(log) as Box<dyn std::any::Any>, Box::new(snapshots)] {
        let error = open(&disk).err().unwrap();
        assert!(
            matches!(&error, StoreError::Locked { folder: at } if at == folder()),
            "{error}"
        );
        assert!(matches!(
            set_aside(&disk, folder()),
            Err(StoreError::Locked { .. })
        ));
        drop(part);
    }
    open(&disk).unwrap();
}

#[test]
fn another_nodes_store_is_refused() {
    let disk = MemoryDisk::new();
    drop(open(&disk).unwrap());
    let other = NodeId(0x0200_0000_0002);
    let error = Store::open(disk, folder(), other, small(), FRESH)
        .err()
        .unwrap();
    let said = error.to_string();
    assert!(matches!(error, StoreError::ForeignNode { .. }));
    assert!(
        said.contains("02:00:00:00:00:01") && said.contains("02:00:00:00:00:02"),
        "{said}"
    );
}

#[test]
fn a_damaged_missing_or_newer_identity_is_refused() {
    let disk = MemoryDisk::new();
    drop(open(&disk).unwrap());
    let path = in_store("identity");
    let bytes = disk.contents(&path).unwrap();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 4;
        disk.plant(&path, &damaged).unwrap();
        assert!(open(&disk).is_err(), "damage at {at} was overlooked");
        disk.plant(&path, &bytes[..at]).unwrap();
        assert!(open(&disk).is_err(), "cut at {at} was overlooked");
    }
    let mut newer = bytes.clone();
    newer[8] = 3;
    disk.plant(&path, &newer).unwrap();
    let error = open(&disk).err().unwrap();
    assert!(
        matches!(error, StoreError::ForeignVersion { found: 3, .. }),
        "{error}"
    );
    disk.remove(&path).unwrap();
    let error = open(&disk).err().unwrap();
    assert!(
        matches!(&error, StoreError::Missing { path: named } if *named == path),
        "{error}"
    );
    disk.plant(&path, &bytes).unwrap();
    open(&disk).unwrap();
}

#[test]
fn a_store_set_aside_makes_room_for_a_blank_one_and_is_kept() {
    let disk = MemoryDisk::new();
    for (number, id) in [(1, 77), (2, 78)] {
        let (mut store, identity, recovered) =
            Store::open(disk.clone(), folder(), NODE, small(), StoreId(id)).unwrap();
        assert!(recovered.is_blank());
        assert_eq!((identity.store, identity.start), (StoreId(id), 0));
        store.identity.begin_life().unwrap();
        store
            .log
            .append(&[write(None, vec![entry(1, 1, 10)])])
            .unwrap();
        store.log.sync().unwrap();
        drop(store);
        let aside = set_aside(&disk, folder()).unwrap();
        assert_eq!(aside, folder().join(format!("set-aside-{number}")));
        disk.crash(&mut random(number));
        assert!(disk.contents(&aside.join("identity")).is_ok());
    }
}
