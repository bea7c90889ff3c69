use proptest::prelude::*;

use super::*;
use crate::config::GroupId;
use crate::groups::Status;
use crate::stick::{ClientIp, Key};

fn ips() -> impl Strategy<Value = ClientIp> {
    let v4 = any::<[u8; 4]>().prop_map(|octets| ClientIp::new(octets.into(), 128));
    prop_oneof![v4, any::<[u8; 16]>().prop_map(ClientIp::from_octets)]
}

fn keys() -> impl Strategy<Value = Key> {
    let slice = prop::option::of(prop::collection::vec(any::<u8>(), 0..40));
    (ips(), slice).prop_map(|(ip, slice)| Key {
        ip,
        slice: slice.map(Vec::into),
    })
}

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..300, any::<u64>()]
}

fn indexes() -> impl Strategy<Value = Index> {
    numbers().prop_map(Index)
}

fn group_ids() -> impl Strategy<Value = GroupId> {
    any::<u32>().prop_map(GroupId)
}

fn statuses() -> impl Strategy<Value = Status> {
    prop::sample::select(vec![Status::Up, Status::Draining, Status::Disabled])
}

fn statements() -> impl Strategy<Value = Statement> {
    let full = prop::sample::select(vec![Full::Refuse, Full::Evict]);
    let groups =
        prop::collection::btree_map(group_ids(), (statuses(), any::<u32>(), any::<bool>()), 0..5);
    (numbers(), numbers(), full, groups).prop_map(|(expiration_ms, max_entries, full, groups)| {
        let groups = groups
            .into_iter()
            .map(|(id, (status, weight, backup))| StatedGroup {
                id,
                status,
                weight,
                backup,
            })
            .collect();
        Statement {
            expiration_ms,
            max_entries,
            full,
            groups,
        }
    })
}

fn verdicts() -> impl Strategy<Value = Verdict> {
    (group_ids(), statuses(), "\\PC{0,20}").prop_map(|(group, status, reason)| Verdict {
        group,
        status,
        reason,
    })
}

fn ops() -> impl Strategy<Value = Op> {
    let named = || (keys(), indexes());
    let active = || (keys(), indexes(), numbers().prop_map(LogTime));
    prop_oneof![
        (keys(), prop::option::of(group_ids())).prop_map(|(key, group)| Op::Assign {
            client: Wanted::Key(key),
            group
        }),
        (ips(), prop::option::of(group_ids())).prop_map(|(ip, group)| Op::Assign {
            client: Wanted::LatestOf(ip),
            group
        }),
        (keys(), indexes(), group_ids()).prop_map(|(key, version, to)| Op::Move {
            key,
            version,
            to
        }),
        named().prop_map(|(key, version)| Op::GiveUp { key, version }),
        named().prop_map(|(key, version)| Op::Hold { key, version }),
        active().prop_map(|(key, version, activity)| Op::Renew {
            key,
            version,
            activity
        }),
        active().prop_map(|(key, version, activity)| Op::Release {
            key,
            version,
            activity
        }),
        keys().prop_map(|key| Op::Remove { key }),
        statements().prop_map(Op::State),
        (numbers(), numbers()).prop_map(|(node, boot)| Op::EndSession {
            node: NodeId(node),
            boot
        }),
        numbers().prop_map(|node| Op::Absent { node: NodeId(node) }),
        prop::collection::vec(verdicts(), 0..4).prop_map(Op::Verdicts),
        indexes().prop_map(Op::Passed),
    ]
}

fn batches() -> impl Strategy<Value = Batch> {
    let ops = prop::collection::vec(ops(), 0..12);
    (numbers(), numbers(), ops).prop_map(|(from, boot, ops)| Batch {
        from: NodeId(from),
        boot,
        ops,
    })
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    let slice = prop::option::of(prop::collection::vec(any::<u8>(), 0..20));
    let given = (slice, group_ids(), indexes(), numbers(), any::<[bool; 2]>());
    prop_oneof![
        Just(Outcome::Done),
        Just(Outcome::Stale),
        Just(Outcome::NotUp),
        Just(Outcome::Full),
        Just(Outcome::Fenced),
        given.prop_map(|(slice, group, version, expires, [created, provisional])| {
            Outcome::Entry(Given {
                slice: slice.map(Vec::into),
                group,
                version,
                expires: LogTime(expires),
                created,
                provisional,
            })
        }),
    ]
}

proptest! {
    #[test]
    fn a_batch_is_read_as_it_was_written_and_no_part_of_it_is_a_batch(batch in batches()) {
        let bytes = encode(&batch);
        prop_assert_eq!(Batch::decode(&bytes), Ok(batch.clone()));
        for length in 0..bytes.len() {
            prop_assert!(Batch::decode(&bytes[..length]).is_err(), "of {} bytes", length);
        }
        let longer = [&bytes[..], &[0]].concat();
        prop_assert_eq!(Batch::decode(&longer), Err(CommandError::Trailing(1)));
    }

    #[test]
    fn an_answer_is_read_as_it_was_written_and_no_part_of_it_is_one(
        index in indexes(),
        outcomes in prop::collection::vec(outcomes(), 0..12),
    ) {
        let answer = Answer { index, outcomes };
        let bytes = answer.encode();
        prop_assert_eq!(Answer::decode(&bytes), Ok(answer.clone()));
        for length in 0..bytes.len() {
            prop_assert!(Answer::decode(&bytes[..length]).is_err(), "of {} bytes", length);
        }
    }

    #[test]
    fn bytes_of_any_kind_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Batch::decode(&bytes);
        let _ = Answer::decode(&bytes);
        let _ = Batch::decode(&[&[0; 16], &bytes[..]].concat());
    }

    #[test]
    fn one_byte_changed_does_no_harm(batch in batches(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = encode(&batch).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = Batch::decode(&bytes);
    }
}

#[test]
fn more_operations_than_a_batch_may_have_are_refused() {
    let batch = |ops| Batch {
        from: NodeId(1),
        boot: 1,
        ops: vec![Op::Passed(Index(1)); ops],
    };
    assert!(Batch::decode(&encode(&batch(MAX_OPS))).is_ok());
    let beyond = Batch::decode(&encode(&batch(MAX_OPS + 1)));
    assert_eq!(beyond, Err(CommandError::TooLong(MAX_OPS as u64 + 1)));
}

#[test]
fn a_long_reason_is_cut_at_a_character() {
    let verdict = Verdict {
        group: GroupId(1),
        status: Status::Disabled,
        reason: "é".repeat(MAX_REASON_BYTES),
    };
    let mut out = Vec::new();
    put_verdicts(&mut out, &[verdict]);
    let read = get_verdicts(&mut Reader::new(&out)).unwrap();
    assert_eq!(read[0].reason, "é".repeat(MAX_REASON_BYTES / 2));
}

#[test]
fn a_slice_longer_than_a_key_has_is_refused() {
    let key = |bytes| Key {
        ip: ClientIp::from_octets([7; 16]),
        slice: Some(vec![0; bytes].into()),
    };
    let read = |bytes| {
        let mut out = Vec::new();
        put_key(&mut out, key(bytes).as_ref());
        Reader::new(&out).key()
    };
    assert_eq!(read(4096), Ok(key(4096)));
    assert_eq!(read(4097), Err(CommandError::TooLong(4097)));
}

#[test]
fn groups_stated_twice_or_out_of_order_are_refused() {
    let group = |id| StatedGroup {
        id: GroupId(id),
        status: Status::Up,
        weight: 1,
        backup: false,
    };
    for ids in [[1, 1], [2, 1]] {
        let mut out = Vec::new();
        let statement = Statement {
            groups: ids.map(group).to_vec(),
            ..Statement::default()
        };
        put_statement(&mut out, &statement);
        let read = get_statement(&mut Reader::new(&out));
        assert_eq!(read, Err(CommandError::Disorder));
    }
}
