//! Messages as bytes.

use std::sync::Arc;

use ::bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::codec::MAX_NUMBER;

fn holding() -> impl Strategy<Value = Holding> {
    prop_oneof![
        Just(Holding::Blank),
        any::<u64>().prop_map(|entries| Holding::Seed { entries }),
        any::<u128>().prop_map(|id| Holding::Taking(ClusterId(id))),
        (
            any::<u128>(),
            0..=MAX_NUMBER,
            0..=MAX_NUMBER,
            any::<Option<u64>>()
        )
            .prop_map(|(cluster, index, term, leader)| Holding::Log(LogFacts {
                leader: leader.map(NodeId),
                ..log(cluster, index, term)
            })),
    ]
}

fn facts() -> impl Strategy<Value = Message> {
    let peers = prop::collection::vec(any::<u64>().prop_map(NodeId), 0..64);
    (peers, any::<u16>(), holding(), any::<u64>()).prop_map(|(peers, version, holding, start)| {
        Message::Facts {
            to: Incarnation { start, ..life(3) },
            facts: Facts {
                statement: Statement { peers, version },
                holding,
            },
        }
    })
}

proptest! {
    #[test]
    fn what_is_stated_arrives_as_it_was(message in facts()) {
        prop_assert_eq!(Message::decode(message.encode()), Ok(message));
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..2000), tag in 0_u8..4) {
        let mut framed = vec![1, tag];
        framed.extend(&bytes);
        let _ = Message::decode(Bytes::from(bytes));
        let _ = Message::decode(Bytes::from(framed));
    }

    #[test]
    fn a_message_cut_short_is_an_error(message in facts(), at in any::<prop::sample::Index>()) {
        let bytes = message.encode();
        prop_assert!(Message::decode(bytes.slice(..at.index(bytes.len()))).is_err());
    }
}

#[test]
fn the_largest_form_fits_into_a_message() {
    let peers: Vec<u64> = (1..=64).collect();
    let mut nodes: Vec<Forming> = peers.iter().map(|&id| blank(id, &peers)).collect();
    let effects = mingle(&mut nodes);
    let Some(Effect::Persist(form)) = effects.into_iter().next() else {
        panic!("no form");
    };
    let message = Message::Form(form);
    let bytes = message.encode();
    assert!(bytes.len() <= MAX_MESSAGE_BYTES, "{}", bytes.len());
    assert_eq!(Message::decode(bytes), Ok(message));
}

#[test]
fn other_versions_and_kinds_are_refused() {
    let good = Message::Form(Form {
        cluster: ClusterId(1),
        membership: Arc::default(),
        beginning: Beginning::Empty,
    });
    let bytes = good.encode();
    for at in 0..2 {
        let mut other = bytes.to_vec();
        other[at] = 9;
        assert!(Message::decode(Bytes::from(other)).is_err());
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert!(Message::decode(Bytes::from(longer)).is_err());
    assert!(Message::decode(Bytes::from(vec![1; MAX_MESSAGE_BYTES + 1])).is_err());
}
