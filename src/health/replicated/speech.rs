//! What the log is still to be told by this node.
//!
//! Nothing is kept of what was told: what the log has of the node is compared with what the node
//! sees. So whatever becomes of a proposal, of its leader or of the node's session, what is missing is
//! found missing and told again.

use std::collections::BTreeMap;

use tcpffee_raft::ids::NodeId;

use crate::health::streak::State;

use super::agreed::{Agreed, CheckKey};
use super::command::{Command, MAX_CHECKS};

/// What `node`, with this process and these observations, has to say; none where the log has it all,
/// or where the node is no member.
pub(super) fn due(
    agreed: &Agreed,
    node: NodeId,
    boot: u64,
    own: &BTreeMap<CheckKey, State>,
) -> Option<Command> {
    if !agreed.members.contains(&node) {
        return None;
    }
    let said = agreed.said.get(&node);
    let Some(said) = said.filter(|said| said.boot == boot && said.in_session) else {
        let checks = own.iter().map(|(key, state)| (*key, *state));
        return Some(Command::Declare {
            from: node,
            boot,
            checks: checks.take(MAX_CHECKS).collect(),
        });
    };
    let gone = said.checks.keys().filter(|key| !own.contains_key(key));
    let gone = gone.map(|key| (*key, None));
    let seen = own.iter().map(|(key, state)| (*key, Some(*state)));
    let news = seen.filter(|(key, state)| said.checks.get(key) != state.as_ref());
    let changes: Vec<_> = gone.chain(news).take(MAX_CHECKS).collect();
    (!changes.is_empty()).then_some(Command::Observe {
        from: node,
        boot,
        changes,
    })
}
