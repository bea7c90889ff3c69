//! What must hold for any bytes that come out of the log or out of a snapshot: for the fuzz target,
//! and for a property test that runs with every other test.

mod made; // what can be said, from bytes of any kind
mod replicas; // the same log, the same state
#[cfg(test)]
mod tests;

use tcpffee_raft::wire::exercise::Source;

use super::codec::{
    Malformed, decode_answer, decode_command, decode_state, encode_answer, encode_command,
    encode_state,
};
use super::command::{MAX_CHECKS, MAX_CHECKS_OF_NODE, MAX_NODES};
use made::Made;

/// By the first byte: reads the rest as a command, an answer and a state; makes them from it, writes
/// them and reads them whole and damaged; says more than there may be; or has several replicas
/// apply a log that it says.
///
/// # Panics
/// Where a promise of the log's language, of the state or of its snapshots is broken.
pub fn log(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind % 8 {
        0 => read(bytes),
        1 => said(bytes),
        2 => beyond(bytes),
        3 => {
            let mut made = Made::new(bytes);
            let state = made.source.slice(usize::MAX);
            replicas::restored_in_place_of_another(state, made);
        }
        _ => replicas::one_log(bytes),
    }
}

/// What the bytes mean, no others do.
fn read(bytes: &[u8]) {
    if let Ok(command) = decode_command(bytes) {
        assert_eq!(encode_command(&command), bytes);
    }
    if let Ok(answer) = decode_answer(bytes) {
        assert_eq!(encode_answer(answer), bytes);
    }
    if let Ok(agreed) = decode_state(bytes) {
        assert_eq!(encode_state(&agreed), bytes);
    }
}

/// What can be said is read as it was written; no part of it is anything, and nothing follows it.
fn said(bytes: &[u8]) {
    let mut made = Made::new(bytes);
    let (cut, damage) = (made.source.short(), made.damage());
    let command = made.command();
    let written = encode_command(&command);
    assert_eq!(decode_command(&written), Ok(command));
    only_whole(&written, cut, |bytes| decode_command(bytes).err());
    read(&damage.done_to(&written));

    let answer = made.answer();
    let written = encode_answer(answer);
    assert_eq!(decode_answer(&written), Ok(answer));
    only_whole(&written, cut, |bytes| decode_answer(bytes).err());
    read(&damage.done_to(&written));
}

fn only_whole(written: &[u8], cut: u16, error: impl Fn(&[u8]) -> Option<Malformed>) {
    let cut = usize::from(cut) % written.len();
    assert_eq!(error(&written[..cut]), Some(Malformed::Truncated));
    let longer = [written, &[0]].concat();
    assert_eq!(error(&longer), Some(Malformed::Trailing(1)));
}

/// More of something than there may be is refused for that, before anything is believed of it.
fn beyond(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let (which, more) = (source.byte(), u32::from(source.short()) + 1);
    let zeros = |count: usize| vec![0; 4 * count];
    let (before, most) = match which % 8 {
        0 => ([&[1], &[1; 16][..]].concat(), MAX_CHECKS),
        1 => ([&[2], &[1; 16][..]].concat(), MAX_CHECKS),
        2 => (vec![3], MAX_NODES),
        // Of members, of those alive, of those that have said something.
        3..=5 => (zeros(usize::from(which % 8) - 3), MAX_NODES),
        // Of what one node has said; of verdicts.
        6 => (
            [&zeros(2)[..], &[1, 0, 0, 0][..], &[1; 17]].concat(),
            MAX_CHECKS_OF_NODE,
        ),
        _ => (zeros(3), MAX_NODES * MAX_CHECKS_OF_NODE),
    };
    let count = most as u32 + more;
    let said = [
        &before[..],
        &count.to_le_bytes()[..],
        source.slice(usize::MAX),
    ]
    .concat();
    let error = match which % 8 {
        0..=2 => decode_command(&said).err(),
        _ => decode_state(&[&[1, 0], &[1; 8][..], &said[..]].concat()).err(),
    };
    assert_eq!(error, Some(Malformed::TooMany(count)));
}
