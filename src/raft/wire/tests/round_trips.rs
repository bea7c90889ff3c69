//! Whatever is written is read as the same.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::strategies;
use crate::codec::MAX_NUMBER;
use crate::ids::Term;
use crate::wire::frame::{Allowed, Frame, FrameReader, HEAD_BYTES, Kind};
use crate::wire::hello::Hello;
use crate::wire::proposal::{self, BATCH_BYTES, Propose};
use crate::wire::reason::Reason;
use crate::wire::{message, proposal::Answer};

/// The one frame that the bytes are.
fn only_frame(bytes: &[u8], allowed: Allowed) -> Frame {
    let mut reader = FrameReader::new(allowed);
    reader.feed(bytes);
    let frame = reader.next_frame().expect("a frame").expect("a whole one");
    assert_eq!(reader.held_bytes(), 0, "nothing is left");
    frame
}

#[test]
fn a_text_that_is_longer_once_it_can_be_shown_is_cut_to_its_bound_and_read_again_as_the_same() {
    for byte in [0xff, 0x07] {
        let mut bytes = 64_u16.to_le_bytes().to_vec();
        bytes.extend([byte; 64]);
        let text = proposal::get_text(&mut bytes.into(), 64).expect("it is within its bound");
        assert_eq!(text, "\u{fffd}".repeat(64 / 3));
        let mut again = Vec::new();
        proposal::put_text(&mut again, &text, 64);
        assert_eq!(proposal::get_text(&mut again.into(), 64), Ok(text));
    }
}

proptest! {
    #[test]
    fn every_message_is_read_as_it_was_written(
        message in strategies::message(),
    ) {
        let term = Term(MAX_NUMBER);
        let mut bytes = Vec::new();
        message::put(&mut bytes, term, &message).expect("it fits");
        let frame = only_frame(&bytes, Allowed::Messages);
        prop_assert_eq!(frame.kind, message::kind_of(&message));
        prop_assert_eq!(message::get(frame.kind, frame.body), Ok((term, message)));
    }

    #[test]
    fn a_message_that_is_cut_short_or_has_more_behind_it_is_none(
        message in strategies::message(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = Vec::new();
        message::put(&mut bytes, Term(1), &message).expect("it fits");
        let body = Bytes::from(bytes).slice(HEAD_BYTES..);
        let kind = message::kind_of(&message);
        // A piece of a snapshot reaches to the end of its frame, whatever that is.
        if kind != Kind::SnapshotChunk {
            let cut = body.slice(..cut.index(body.len()));
            prop_assert!(message::get(kind, cut).is_err());
            let more: Vec<u8> = body.iter().copied().chain([0]).collect();
            prop_assert!(message::get(kind, more.into()).is_err());
        }
    }

    #[test]
    fn the_size_that_queues_count_is_not_below_half_of_the_true_one(
        message in strategies::message(),
    ) {
        let mut bytes = Vec::new();
        message::put(&mut bytes, Term(1), &message).expect("it fits");
        prop_assert!(message::size_bytes(&message) * 2 >= bytes.len());
    }

    #[test]
    fn proposals_are_read_as_they_were_written(
        proposals in vec(strategies::propose(), 0..20),
    ) {
        let mut bytes = Vec::new();
        proposal::put_proposals(&mut bytes, &proposals).expect("they fit");
        let size: usize = proposals.iter().map(Propose::size_bytes).sum();
        prop_assert_eq!(bytes.len(), HEAD_BYTES + 4 + size);
        let frame = only_frame(&bytes, Allowed::Proposals);
        prop_assert_eq!(proposal::get_proposals(frame.body), Ok(proposals));
    }

    #[test]
    fn answers_are_read_as_they_were_written(answers in vec(strategies::answer(), 0..20)) {
        let mut bytes = Vec::new();
        proposal::put_answers(&mut bytes, &answers).expect("they fit");
        let size: usize = answers.iter().map(Answer::size_bytes).sum();
        prop_assert!(bytes.len() <= HEAD_BYTES + 4 + size);
        let frame = only_frame(&bytes, Allowed::Answers);
        prop_assert_eq!(proposal::get_answers(frame.body), Ok(answers));
    }

    #[test]
    fn a_batch_is_split_without_loss_and_in_order(
        sizes in vec(0..BATCH_BYTES * 3 / 2, 0..20),
    ) {
        let runs = proposal::split(sizes.clone(), |size| *size);
        for (bytes, run) in &runs {
            prop_assert_eq!(*bytes, run.iter().sum::<usize>());
            prop_assert!(*bytes <= BATCH_BYTES || run.len() == 1);
            prop_assert!(!run.is_empty());
        }
        let again: Vec<usize> = runs.into_iter().flat_map(|(_, run)| run).collect();
        prop_assert_eq!(again, sizes);
    }

    #[test]
    fn introductions_are_read_as_they_were_written(hello in strategies::hello()) {
        let mut bytes = Vec::new();
        hello.put(&mut bytes);
        prop_assert!(bytes.len() <= Kind::Hello.max_body_bytes());
        prop_assert_eq!(Hello::get(bytes.into()), Ok(hello));
    }

    #[test]
    fn reasons_are_read_as_they_were_written(reason in strategies::reason()) {
        let mut bytes = Vec::new();
        reason.put(&mut bytes);
        prop_assert!(bytes.len() <= Kind::Refused.max_body_bytes());
        prop_assert_eq!(Reason::get(&mut bytes.into()), Ok(reason));
    }
}
