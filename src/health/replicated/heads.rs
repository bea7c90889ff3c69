//! Which nodes the leader counts as alive.

use std::collections::BTreeSet;
use std::time::Duration;

use tcpffee_raft::ids::NodeId;

use super::agreed::Agreed;

/// A node that was not heard for so long has no vote.
pub(super) const MAX_SILENCE: Duration = Duration::from_secs(3);

/// The members that are alive as `leader` sees it, which has led for so long; `silent_ms` has the
/// others with the milliseconds since they were last heard. Whoever this leader has not heard yet is
/// what it was, until it has led long enough to tell.
pub(super) fn alive(
    agreed: &Agreed,
    leader: NodeId,
    led_for: Duration,
    silent_ms: impl IntoIterator<Item = (NodeId, Option<u64>)>,
) -> BTreeSet<NodeId> {
    let is_alive = |node: NodeId, silent_ms: Option<u64>| match silent_ms {
        Some(silent_ms) => Duration::from_millis(silent_ms) < MAX_SILENCE,
        None => led_for < MAX_SILENCE && agreed.alive.contains(&node),
    };
    let others = silent_ms
        .into_iter()
        .filter(|(node, silent_ms)| is_alive(*node, *silent_ms))
        .map(|(node, _)| node);
    let alive: BTreeSet<NodeId> = others.chain([leader]).collect();
    // A member that is not in the log yet, or no more, would be left out there as well.
    alive.intersection(&agreed.members).copied().collect()
}
