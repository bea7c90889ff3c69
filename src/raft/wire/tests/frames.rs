//! Bounds of frames.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::wire::frame::{
    Allowed, Frame, FrameError, FrameReader, HEAD_BYTES, Kind, MAX_BODY_BYTES, put_frame,
};

fn head(length: u32, version: u8, kind: u8) -> Vec<u8> {
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend([version, kind]);
    bytes
}

fn first(bytes: &[u8], allowed: Allowed) -> Result<Option<Frame>, FrameError> {
    let mut reader = FrameReader::new(allowed);
    reader.feed(bytes);
    reader.next_frame()
}

#[test]
fn a_length_beyond_the_bound_of_its_kind_is_refused_by_the_head_alone() {
    for &kind in Kind::ALL {
        let allowed = match kind {
            Kind::Hello | Kind::Welcome | Kind::Refused => Allowed::Handshake,
            Kind::Propose => Allowed::Proposals,
            Kind::Answer => Allowed::Answers,
            _ => Allowed::Messages,
        };
        let most = kind.max_body_bytes() as u32 + 2;
        let held = first(&head(most, 1, kind as u8), allowed);
        assert!(held.is_ok(), "{kind:?} of its greatest length: {held:?}");
        let error = first(&head(most + 1, 1, kind as u8), allowed);
        assert!(
            matches!(error, Err(FrameError::TooLong { .. })),
            "{kind:?}: {error:?}"
        );
        assert!(first(&head(u32::MAX, 1, kind as u8), allowed).is_err());
    }
}

#[test]
fn a_frame_that_is_too_short_or_unknown_or_of_another_version_is_refused() {
    assert_eq!(
        first(&head(1, 1, 25), Allowed::Messages),
        Err(FrameError::TooShort(1))
    );
    assert_eq!(
        first(&head(2, 2, 25), Allowed::Messages),
        Err(FrameError::Version(2))
    );
    assert_eq!(
        first(&head(2, 1, 99), Allowed::Messages),
        Err(FrameError::UnknownKind(99))
    );
}

#[test]
fn each_kind_may_come_at_one_stage_only() {
    let stages = [
        Allowed::Handshake,
        Allowed::Messages,
        Allowed::Proposals,
        Allowed::Answers,
        Allowed::Nothing,
    ];
    for &kind in Kind::ALL {
        let may_come = stages.map(|stage| first(&head(2, 1, kind as u8), stage).is_ok());
        assert_eq!(may_come.iter().filter(|may| **may).count(), 1, "{kind:?}");
        assert!(!may_come[4], "{kind:?} where nothing may come");
    }
}

#[test]
fn nothing_longer_than_its_bound_is_ever_written() {
    let mut out = vec![7];
    let error = put_frame(&mut out, Kind::Append, |out| {
        out.resize(1 + HEAD_BYTES + MAX_BODY_BYTES + 1, 0);
    });
    assert!(matches!(error, Err(FrameError::TooLong { .. })));
    assert_eq!(out, [7], "what was there before is as it was");
}

#[test]
fn a_stated_length_takes_no_memory_before_its_bytes_arrive() {
    let mut reader = FrameReader::new(Allowed::Messages);
    reader.feed(&head(MAX_BODY_BYTES as u32, 1, Kind::Append as u8));
    assert_eq!(reader.next_frame(), Ok(None));
    assert!(reader.capacity_bytes() < 1024);
}

#[test]
fn a_large_frame_leaves_no_memory_behind() {
    let mut bytes = Vec::new();
    let put = put_frame(&mut bytes, Kind::Append, |out| {
        out.resize(MAX_BODY_BYTES, 0);
    });
    put.expect("it fits");
    let mut reader = FrameReader::new(Allowed::Messages);
    reader.feed(&bytes);
    assert!(reader.next_frame().expect("a frame").is_some());
    assert_eq!(reader.capacity_bytes(), 0);
}

proptest! {
    #[test]
    fn frames_are_the_same_in_whatever_pieces_they_arrive(
        bodies in vec(vec(any::<u8>(), 0..300), 1..10),
        pieces in vec(1_usize..200, 1..50),
    ) {
        let mut bytes = Vec::new();
        for body in &bodies {
            let put = put_frame(&mut bytes, Kind::Forming, |out| out.extend(body));
            put.expect("it fits");
        }
        let mut reader = FrameReader::new(Allowed::Messages);
        let mut read = Vec::new();
        let mut rest = &bytes[..];
        for piece in pieces.iter().cycle() {
            let (now, later) = rest.split_at((*piece).min(rest.len()));
            reader.feed(now);
            while let Some(frame) = reader.next_frame().expect("frames") {
                read.push(frame.body.to_vec());
            }
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(read, bodies);
        prop_assert_eq!(reader.held_bytes(), 0);
    }
}
