//! What the outside asks of the running process, by signal or by control socket.

use crate::control::Reply;
use crate::operator::Order;

/// Requests that wait for the supervisor; who would put one in beyond that waits.
pub const QUEUE_EVENTS: usize = 64;

/// One request to the supervisor.
#[derive(Debug)]
pub enum Event {
    /// Read the configuration anew and apply it: SIGUSR1, SIGHUP, `tcpffee reload`.
    Reload(Option<Reply>),
    /// A host name has another address: targets are to follow it.
    NamesChanged,
    /// End in order; a second one ends at once: SIGTERM, SIGINT, `tcpffee stop`.
    Stop(Option<Reply>),
    /// Form a cluster where none forms by itself, or say how: `tcpffee cluster form`.
    ClusterForm {
        /// Do it; say only how otherwise.
        yes: bool,
        /// Who asks.
        reply: Reply,
    },
    /// Do what an operator orders: `tcpffee drain`, `disable`, `enable`, `sticks remove`.
    Operator {
        /// What.
        order: Order,
        /// Who asks.
        reply: Reply,
    },
}
