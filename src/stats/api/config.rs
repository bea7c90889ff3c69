//! `/api/v1/config`: the configuration in force.

use serde::Serialize;
use utoipa::ToSchema;

/// The configuration in force: every setting with the value that holds, default or not.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Configuration {
    /// Its generation: 1 at the start, one more for each that came into force.
    pub generation: u64,
    /// When it came into force.
    #[schema(format = DateTime)]
    pub loaded: String,
    /// The file that it was read from; null where it is built in.
    pub path: Option<String>,
    /// The listened ports, as the file writes them.
    pub ports: String,
    /// Settings, in the order of the reference: those of the whole, then those of each group, check
    /// and peer.
    pub settings: Vec<Setting>,
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Setting {
    /// Its key.
    #[schema(example = "groups.1.weight")]
    pub key: String,
    /// Its value, in words; what is secret is left out.
    pub value: String,
}
