//! Commands, answers and states as bytes: what was written is read, and nothing else.

use proptest::prelude::*;
use tcpffee_raft::ids::Index;

use super::random::{agreed, command};
use super::*;
use crate::health::replicated::codec::{
    decode_answer, decode_command, decode_state, encode_answer, encode_command, encode_state,
};
use crate::health::replicated::command::{Answer, MAX_CHECKS};

proptest! {
    #[test]
    fn a_command_is_read_as_it_was_written(command in command()) {
        let bytes = encode_command(&command);
        let read = decode_command(&bytes).expect("well-formed");
        prop_assert_eq!(encode_command(&read), bytes);
    }

    #[test]
    fn a_state_is_read_as_it_was_written(agreed in agreed()) {
        let bytes = encode_state(&agreed);
        prop_assert_eq!(decode_state(&bytes), Ok(agreed));
    }

    #[test]
    fn bytes_of_any_kind_are_an_error_or_the_only_ones_that_mean_it(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..4], 0..80),
    ) {
        if let Ok(command) = decode_command(&bytes) {
            prop_assert_eq!(&encode_command(&command)[..], &bytes[..]);
        }
        if let Ok(agreed) = decode_state(&bytes) {
            prop_assert_eq!(encode_state(&agreed), bytes.clone());
        }
        if let Ok(answer) = decode_answer(&bytes) {
            prop_assert_eq!(&encode_answer(answer)[..], &bytes[..]);
        }
    }

    #[test]
    fn a_state_or_command_that_is_cut_or_too_long_is_an_error(
        agreed in agreed(),
        command in command(),
        cut in any::<prop::sample::Index>(),
    ) {
        for mut bytes in [encode_state(&agreed), encode_command(&command).to_vec()] {
            let is_state = bytes.len() > 1 && bytes == encode_state(&agreed);
            let fails = |bytes: &[u8]| match is_state {
                true => decode_state(bytes).is_err(),
                false => decode_command(bytes).is_err(),
            };
            prop_assert!(fails(&bytes[..cut.index(bytes.len())]));
            bytes.push(0);
            prop_assert!(fails(&bytes));
        }
    }
}

#[test]
fn a_count_that_nothing_follows_is_an_error_before_anything_is_allocated() {
    let mut bytes = vec![1; 17];
    bytes.extend(u32::MAX.to_le_bytes());
    assert!(decode_command(&bytes).is_err());
    bytes.truncate(17);
    bytes.extend((MAX_CHECKS as u32).to_le_bytes());
    assert!(decode_command(&bytes).is_err());
}

#[test]
fn the_largest_command_fits_into_one_of_the_log() {
    let checks = (0..MAX_CHECKS as u64).map(|number| (check(number), Failing));
    let command = Command::Declare {
        from: NodeId(1),
        boot: 1,
        checks: checks.collect(),
    };
    let bytes = encode_command(&command);
    let most = tcpffee_raft::settings::Settings::default().max_command_bytes;
    assert!(bytes.len() <= most, "{} bytes", bytes.len());
    assert_eq!(decode_command(&bytes), Ok(command));
}

#[test]
fn answers_are_read_as_they_were_written() {
    for outcome in [
        Outcome::Done,
        Outcome::NoSession,
        Outcome::TooMany,
        Outcome::Malformed,
    ] {
        let index = Index(0x0102_0304_0506);
        let answer = Answer { index, outcome };
        assert_eq!(decode_answer(&encode_answer(answer)), Ok(answer));
    }
}
