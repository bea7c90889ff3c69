//! `/api/v1/events`: what happened lately.

use serde::Serialize;
use utoipa::ToSchema;

/// What happened lately, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Events {
    /// The events, newest first.
    pub events: Vec<Event>,
    /// Older ones that were dropped since the start: the newest 256 are kept.
    pub dropped: u64,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Event {
    /// Counts all events since the start, from 1.
    pub number: u64,
    /// When it happened.
    #[schema(format = DateTime)]
    pub time: String,
    /// What kind it is of.
    pub kind: EventKind,
    /// Whether it needs attention.
    pub is_warning: bool,
    /// In words.
    pub text: String,
}

/// What kind an event is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A group's status is another one.
    Status,
    /// A configuration was read again.
    Reload,
    /// An operator's command.
    Operator,
    /// The process: started, stopping, something it cannot do.
    Process,
    /// The cluster: elections, nodes coming and going.
    Cluster,
}
