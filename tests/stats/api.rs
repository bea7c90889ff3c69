//! Statistics over HTTP: every path, every field, pages while entries come and go.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

mod document;
mod groups;
mod node;
mod protocol;
mod sticks;

use std::collections::BTreeSet;

use crate::support;
use serde_json::Value;
use support::health::http as http_check;
use support::{Fleet, Settings, Ward};

const PORT: u16 = 5280;

/// Three groups: 0 with a health check, 1 with a name, 2 drained.
fn scene() -> (Fleet, Ward, Settings) {
    let fleet = Fleet::new(3);
    let ward = Ward::start(fleet.block.backend(0));
    let settings = fleet.settings.clone();
    let settings = settings
        .check(
            0,
            &http_check("interval = 0.1\ntimeout = 0.1\nfall = 2\nrise = 2"),
        )
        .group_set(1, "name", "birch")
        .group_set(1, "weight", 3)
        .group_set(2, "drain", true);
    (fleet, ward, settings)
}

fn list(value: &Value) -> &[Value] {
    value
        .as_array()
        .unwrap_or_else(|| panic!("no array: {value}"))
}

fn keys(value: &Value) -> BTreeSet<String> {
    let names = value
        .as_object()
        .unwrap_or_else(|| panic!("no object: {value}"))
        .keys();
    names.cloned().collect()
}
