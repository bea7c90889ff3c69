//! Why a connection ended: one list for log, counters and API.

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum End {
    /// Both directions ended in order, the client's first.
    ClientFinished,
    /// Both directions ended in order, the target's first.
    TargetFinished,
    /// The client reset the connection.
    ClientReset,
    /// The target reset the connection.
    TargetReset,
    /// The client answered no keep-alive, or took nothing for twice `tcp_keepalive`.
    ClientLost,
    /// The target answered no keep-alive, or took nothing for twice `tcp_keepalive`.
    TargetLost,
    /// The client left before its target was connected.
    ClientLeft,
    /// A client of `accept_proxy_from` began with something else than a valid header.
    ProxyHeaderInvalid,
    /// A client of `accept_proxy_from` had not sent its whole header in time.
    ProxyHeaderTimeout,
    /// The target refused, or was unreachable.
    ConnectFailed,
    /// The target did not answer within `connect_timeout`.
    ConnectTimeout,
    /// Every source port towards the target was in use.
    NoPort,
    /// This host had no descriptor or memory for the connection to the target.
    LocalError,
    /// No group was Up with a target for the port.
    NoGroup,
    /// The key's group had no target for the port.
    NoTarget,
    /// The group is transparent, and its target cannot see the client's address.
    NotTransparent,
    /// The stick table was full.
    TableFull,
    /// The stick table did not answer in time.
    Unanswered,
    /// No leader of the cluster answered, and `no_quorum` is `refuse`.
    NoQuorum,
    /// The cluster does not take this node.
    Barred,
    /// The entry changed again and again while its connection was being made.
    Unsettled,
    /// The client's address is among `deny`, or not among `allow`.
    Denied,
    /// The client had `max_connections_per_client` already.
    ClientConnections,
    /// The client made more than `max_new_connections_per_second_per_client`.
    ClientRate,
    /// The group had no place for it within `queue_timeout`.
    GroupFull,
    /// The group had no place for it, and as many waited for one as may.
    QueueFull,
    /// `idle_timeout` passed without a byte.
    IdleTimeout,
    /// `half_closed_timeout` passed without a byte.
    HalfClosedTimeout,
    /// The group became Disabled and its `on_disabled` is `reset`.
    GroupDisabled,
    /// The group's `drain_timeout` passed.
    DrainTimeout,
    /// `shutdown_grace` passed.
    Shutdown,
}

impl End {
    /// Every reason, in the order of their counters.
    pub const ALL: [End; 31] = [
        End::ClientFinished,
        End::TargetFinished,
        End::ClientReset,
        End::TargetReset,
        End::ClientLost,
        End::TargetLost,
        End::ClientLeft,
        End::ProxyHeaderInvalid,
        End::ProxyHeaderTimeout,
        End::ConnectFailed,
        End::ConnectTimeout,
        End::NoPort,
        End::LocalError,
        End::NoGroup,
        End::NoTarget,
        End::NotTransparent,
        End::TableFull,
        End::Unanswered,
        End::NoQuorum,
        End::Barred,
        End::Unsettled,
        End::Denied,
        End::ClientConnections,
        End::ClientRate,
        End::GroupFull,
        End::QueueFull,
        End::IdleTimeout,
        End::HalfClosedTimeout,
        End::GroupDisabled,
        End::DrainTimeout,
        End::Shutdown,
    ];

    /// The word for it in logs, metrics and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            End::ClientFinished => "client_finished",
            End::TargetFinished => "target_finished",
            End::ClientReset => "client_reset",
            End::TargetReset => "target_reset",
            End::ClientLost => "client_lost",
            End::TargetLost => "target_lost",
            End::ClientLeft => "client_left",
            End::ProxyHeaderInvalid => "proxy_header_invalid",
            End::ProxyHeaderTimeout => "proxy_header_timeout",
            End::ConnectFailed => "connect_failed",
            End::ConnectTimeout => "connect_timeout",
            End::NoPort => "no_port",
            End::LocalError => "local_error",
            End::NoGroup => "no_group",
            End::NoTarget => "no_target",
            End::NotTransparent => "not_transparent",
            End::TableFull => "table_full",
            End::Unanswered => "unanswered",
            End::NoQuorum => "no_quorum",
            End::Barred => "barred",
            End::Unsettled => "unsettled",
            End::Denied => "denied",
            End::ClientConnections => "client_connections",
            End::ClientRate => "client_rate",
            End::GroupFull => "group_full",
            End::QueueFull => "queue_full",
            End::IdleTimeout => "idle_timeout",
            End::HalfClosedTimeout => "half_closed_timeout",
            End::GroupDisabled => "group_disabled",
            End::DrainTimeout => "drain_timeout",
            End::Shutdown => "shutdown",
        }
    }
}

impl End {
    /// The reason in a sentence's words.
    pub fn explanation(self) -> &'static str {
        match self {
            End::ClientFinished => "both directions ended in order, the client's first",
            End::TargetFinished => "both directions ended in order, the target's first",
            End::ClientReset => "the client reset the connection",
            End::TargetReset => "the target reset the connection",
            End::ClientLost => "the client no longer answered (tcp_keepalive)",
            End::TargetLost => "the target no longer answered (tcp_keepalive)",
            End::ClientLeft => "the client left before its target was connected",
            End::ProxyHeaderInvalid => "it has no valid PROXY protocol header (accept_proxy_from)",
            End::ProxyHeaderTimeout => {
                "its PROXY protocol header was not whole within 5 s (accept_proxy_from)"
            }
            End::ConnectFailed => "its group's target refused or could not be reached",
            End::ConnectTimeout => "its group's target did not answer within connect_timeout",
            End::NoPort => "every source port towards its group's target is in use (bind_source)",
            End::LocalError => "this host had no descriptor or memory for it",
            End::NoGroup => "no group is Up with a target for the port",
            End::NoTarget => "its group has no target for the port here",
            End::NotTransparent => {
                "no connection can come from its address to its group's target (transparent)"
            }
            End::TableFull => "the stick table is full (stick_table_max_entries)",
            End::Unanswered => "the stick table did not answer in time",
            End::NoQuorum => "no leader of the cluster answers (no_quorum)",
            End::Barred => "the cluster does not take this node, see /api/v1/health",
            End::Unsettled => "its stick entry changed again and again",
            End::Denied => "its address is not to be served",
            End::ClientConnections => {
                "its client has as many connections as it may (max_connections_per_client)"
            }
            End::ClientRate => {
                "its client connects faster than it may \
                 (max_new_connections_per_second_per_client)"
            }
            End::GroupFull => {
                "its group had no place for it within queue_timeout (groups.N.max_connections)"
            }
            End::QueueFull => "its group is full, and so is its queue (groups.N.max_connections)",
            End::IdleTimeout => "idle_timeout passed without a byte",
            End::HalfClosedTimeout => "half_closed_timeout passed without a byte",
            End::GroupDisabled => "its group became Disabled (on_disabled)",
            End::DrainTimeout => "its group's drain_timeout passed",
            End::Shutdown => "shutdown_grace passed",
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
