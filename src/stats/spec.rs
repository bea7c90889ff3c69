//! The OpenAPI document, from the types that answer and the functions that have them answer.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use utoipa::openapi::response::Response;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, OpenApi};

use super::answer::PROBLEM;
use super::api;
use super::routes::answers;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "tcpffee",
        description = "What a tcpffee node knows about itself, read-only. Field names are part of \
                       the program's interface: none is renamed or taken away within v1. Times are \
                       seconds as fractions, moments are RFC 3339 in UTC, sizes are bytes; errors \
                       are problem documents (RFC 9457).",
    ),
    paths(
        answers::overview,
        answers::groups,
        answers::group,
        answers::stick_table,
        answers::stick,
        answers::healthchecks,
        answers::raft,
        answers::peers,
        answers::configuration,
        answers::events,
        answers::health,
        answers::metrics,
        answers::specification,
    ),
    components(schemas(api::Problem)),
    tags(
        (name = "node", description = "The node as a whole"),
        (name = "groups", description = "Server groups and their health checks"),
        (name = "stick table", description = "Which key belongs to which group"),
        (name = "cluster", description = "The cluster's nodes"),
    ),
)]
struct Document;

/// The document as JSON.
pub fn document() -> &'static [u8] {
    static JSON: OnceLock<Vec<u8>> = OnceLock::new();
    JSON.get_or_init(|| {
        let json = Document::openapi().to_json();
        json.expect("the document is plain data").into_bytes()
    })
}

/// What any request may be refused with.
pub enum Refused {}

impl IntoResponses for Refused {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            (
                "400",
                "The request is malformed, or a parameter is unknown or out of range",
            ),
            ("405", "Another method than GET and HEAD"),
            ("413", "The request has a body"),
            ("414", "The request line is too long"),
            ("421", "The Host header names another server"),
            ("431", "The head of the request is too large"),
        ])
    }
}

/// What any request but the one for health may be refused with when the house is full.
pub enum Busy {}

impl IntoResponses for Busy {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[(
            "503",
            "Too many requests wait already, or the answer takes too long to be made",
        )])
    }
}

fn problems(problems: &[(&str, &str)]) -> BTreeMap<String, RefOr<Response>> {
    let problem = |&(status, description): &(&str, &str)| {
        let schema = Ref::from_schema_name("Problem");
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let response = ResponseBuilder::new().description(description);
        let response = response.content(PROBLEM, content).build();
        (status.to_owned(), RefOr::T(response))
    };
    problems.iter().map(problem).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::stats::routes::ROUTES;

    #[test]
    fn every_path_is_documented_and_nothing_else() {
        let document: serde_json::Value = serde_json::from_slice(super::document()).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        let paths = document["paths"].as_object().unwrap();
        let documented: BTreeSet<&str> = paths.keys().map(String::as_str).collect();
        let routed: BTreeSet<&str> = ROUTES.iter().map(|route| route.path).collect();
        assert_eq!(documented, routed);
        for (path, item) in paths {
            assert!(item["get"]["summary"].is_string(), "{path} has no summary");
        }
    }
}
