//! `/api/v1/stick_table`: which key belongs to which group.

use serde::Serialize;
use utoipa::ToSchema;

/// A page of the stick table.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct StickPage {
    /// Entries, at most as many as asked for. A page may hold fewer, or none, although more follow.
    pub entries: Vec<Stick>,
    /// Entries of the whole table.
    pub total: u64,
    /// What `after` is to be for the next page; null at the end.
    pub next: Option<String>,
}

/// One entry of the stick table.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Stick {
    /// The key: the address, and behind a slash the slice where it has one.
    #[schema(example = "192.0.2.77/LOGIN\\x00")]
    pub key: String,
    /// The client's address, or its network where `key_ipv6_prefix` cuts it.
    pub ip: String,
    /// The slice of the client's first message; null where the key is the address alone.
    pub slice: Option<String>,
    /// The group that it belongs to.
    pub group: u32,
    /// Until it expires; null while a connection holds it, 0 where it has expired and is not swept
    /// yet.
    pub expires_in_seconds: Option<f64>,
    /// Established connections.
    pub connections: u32,
    /// Whether no connection got through to the group yet.
    pub provisional: bool,
}
