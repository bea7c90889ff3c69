//! What the fuzz targets drive, in every test run: bytes without and with some sense in them.

use proptest::collection::vec;
use proptest::prelude::*;

use super::strategies;
use super::talk::{SECRET, accepting, dialling, local, secrets, talk};
use crate::ids::Term;
use crate::wire::frame::{Kind, put_frame};
use crate::wire::{Purpose, exercise, message, proposal};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn bytes_of_any_kind_are_no_harm_as_frames(bytes in vec(any::<u8>(), 0..400)) {
        exercise::frames(&bytes);
    }

    #[test]
    fn what_can_be_said_is_read_as_it_was_written_and_does_no_harm_with_a_byte_changed(
        bytes in vec(any::<u8>(), 0..400),
    ) {
        exercise::frames(&[&[exercise::BUILT, 0], &bytes[..]].concat());
    }

    #[test]
    fn a_frame_with_a_few_changed_bytes_does_no_harm(
        message in strategies::message(),
        proposals in vec(strategies::propose(), 1..4),
        answers in vec(strategies::answer(), 1..4),
        hello in strategies::hello(),
        reason in strategies::reason(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut messages = vec![1, 50];
        message::put(&mut messages, Term(3), &message).expect("it fits");
        let mut proposed = vec![2, 255];
        proposal::put_proposals(&mut proposed, &proposals).expect("they fit");
        let mut answered = vec![3, 0];
        proposal::put_answers(&mut answered, &answers).expect("they fit");
        let mut introduced = vec![0, 7];
        put_frame(&mut introduced, Kind::Hello, |out| hello.put(out)).expect("it fits");
        put_frame(&mut introduced, Kind::Refused, |out| reason.put(out)).expect("it fits");
        for mut bytes in [messages, proposed, answered, introduced] {
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            exercise::frames(&bytes);
        }
    }
}

proptest! {
    // Few: a key pair takes milliseconds where nothing is optimised.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn bytes_of_any_kind_are_no_harm_within_noise(
        setting: u8,
        piece: u8,
        bytes in vec(any::<u8>(), 0..400),
    ) {
        exercise::sealed(&[&[setting, piece], &bytes[..]].concat());
        exercise::sealed(&[&[1, piece], &bytes[..]].concat());
    }

    #[test]
    fn bytes_of_any_kind_are_no_harm_as_a_handshake(bytes in vec(any::<u8>(), 0..400)) {
        exercise::handshake(&bytes);
        let preamble = [&bytes[..bytes.len().min(2)], b"TCPFRF\x01\x01", &bytes].concat();
        exercise::handshake(&preamble);
    }

    #[test]
    fn who_fits_is_taken_and_nobody_with_a_byte_changed_under_a_secret(
        bytes in vec(any::<u8>(), 0..60),
    ) {
        exercise::handshake(&[&[exercise::BUILT, 0], &bytes[..]].concat());
    }

    #[test]
    fn a_handshake_with_a_few_changed_bytes_never_opens_under_a_secret(
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
        encrypted: bool,
    ) {
        let node = |id| {
            let mut local = local(id);
            if encrypted {
                local.secrets = secrets(&[SECRET]);
            }
            local
        };
        let mut a = dialling(node(1), 2, Purpose::Logs);
        let mut b = accepting(node(2), Purpose::Logs);
        let mut bytes = a.say();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        b.hear(&bytes, usize::MAX);
        talk(&mut a, &mut b, usize::MAX);
        if encrypted {
            prop_assert!(!a.open || !b.open);
        }
        let wrapped = [&[u8::from(encrypted), 20][..], &bytes].concat();
        exercise::handshake(&wrapped);
    }
}
