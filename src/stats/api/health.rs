//! `/api/v1/health`: whether this node may get traffic.

use serde::Serialize;
use utoipa::ToSchema;

/// Whether this node may get traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Health {
    /// `ok` with HTTP 200, `unhealthy` with HTTP 503.
    pub status: HealthStatus,
    /// Why it may not; empty where it may.
    pub reasons: Vec<String>,
    /// What an operator should look at, though the node may get traffic.
    pub warnings: Vec<String>,
}

/// Whether a node may get traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// It may.
    Ok,
    /// It may not.
    Unhealthy,
}
