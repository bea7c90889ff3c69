//! More than there may be is refused for that, before anything is believed of it.

use bytes::BufMut;
use tcpffee_raft::wire::exercise::Source;

use super::node::Node;
use crate::config::MAX_SLICE_END;
use crate::stick::replicated::codec::{CommandError, MAX_GROUPS, MAX_OPS, put_varint};
use crate::stick::replicated::command::{Answer, Batch, MAX_REASON_BYTES};
use crate::stick::replicated::snapshot::{
    FORMAT, MAX_HEADER_BYTES, MAX_PAGE_BYTES, put_first_header,
};

/// Says that more of something follows than there may be; what follows is what the bytes say.
pub(super) fn beyond(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let (which, more) = (source.byte(), u64::from(source.short()) + 1);
    let follows = source.slice(usize::MAX);
    let mut out = Vec::new();
    let most = match which % 9 {
        0 => {
            out.put_bytes(1, 16);
            MAX_OPS
        }
        1 => {
            out.put_u8(1);
            MAX_OPS
        }
        2 => {
            put_head(&mut out, &[7, 3, 10, 0, 0, 1]);
            MAX_SLICE_END
        }
        3 => {
            out.put_slice(&[1, 1, 5, 1, 1, 1, 1]);
            MAX_SLICE_END
        }
        4 => {
            put_head(&mut out, &[11]);
            MAX_GROUPS
        }
        5 => {
            put_head(&mut out, &[11, 1, 1, 2]);
            MAX_REASON_BYTES
        }
        6 => {
            put_head(&mut out, &[8, 1, 1, 0]);
            MAX_GROUPS
        }
        7 => return too_long(vec![FORMAT], MAX_HEADER_BYTES, more, follows),
        _ => {
            out.put_u8(FORMAT);
            put_first_header(&mut out);
            return too_long(out, MAX_PAGE_BYTES, more, follows);
        }
    };
    let said = most as u64 + more;
    put_varint(&mut out, said);
    out.put_slice(follows);
    let error = match which % 9 {
        1 | 3 => Answer::decode(&out).err(),
        _ => Batch::decode(&out).err(),
    };
    assert_eq!(error, Some(CommandError::TooLong(said)));
}

/// A batch that has one operation, as far as it goes.
fn put_head(out: &mut Vec<u8>, operation: &[u8]) {
    out.put_bytes(1, 17);
    out.put_slice(operation);
}

/// A part of a snapshot that is longer than it may be.
fn too_long(mut snapshot: Vec<u8>, most: u32, more: u64, follows: &[u8]) {
    snapshot.put_u32_le(most.saturating_add(more as u32));
    snapshot.put_slice(follows);
    let error = Node::new().restore(&snapshot).err();
    let text = error.map(|error| error.to_string()).unwrap_or_default();
    assert!(text.contains("longer than any can be"), "{text:?}");
}
