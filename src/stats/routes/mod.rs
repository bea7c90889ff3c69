//! The paths, and who answers each.
//!
//! Methods and `Host` are the front's business: what comes here is a GET, or a HEAD whose body is
//! left out on the way back.

pub mod answers; // one function for each path

use super::Sources;
use super::answer::Answer;
use super::query::{self, Plus};
use super::ui;

/// What is asked of a path.
pub struct Request<'a> {
    /// Whom to ask.
    pub sources: &'a Sources,
    /// The last part of the path where it is a parameter, decoded; empty elsewhere.
    pub parameter: &'a str,
    /// What stands behind the question mark.
    pub query: &'a str,
}

/// Answers, or says why not.
type Handler = fn(&Request<'_>) -> Result<Answer, Answer>;

/// A path. One that ends in `{name}` has a parameter there; a key may hold slashes.
pub struct Route {
    /// As the OpenAPI document has it.
    pub path: &'static str,
    handler: Handler,
}

const fn route(path: &'static str, handler: Handler) -> Route {
    Route { path, handler }
}

/// Every path of the API; the rest is what browsers get.
pub static ROUTES: &[Route] = &[
    route("/api/v1/", answers::overview),
    route("/api/v1/groups", answers::groups),
    route("/api/v1/groups/{id}", answers::group),
    route("/api/v1/stick_table", answers::stick_table),
    route("/api/v1/stick_table/{key}", answers::stick),
    route("/api/v1/healthchecks", answers::healthchecks),
    route("/api/v1/raft", answers::raft),
    route("/api/v1/peers", answers::peers),
    route("/api/v1/config", answers::configuration),
    route("/api/v1/events", answers::events),
    route("/api/v1/health", answers::health),
    route("/metrics", answers::metrics),
    route("/spec/v1/", answers::specification),
];

/// Answers a target: a path and what stands behind its question mark.
pub fn answer(target: &str, sources: &Sources) -> Answer {
    try_answer(target, sources).unwrap_or_else(|refusal| refusal)
}

fn try_answer(target: &str, sources: &Sources) -> Result<Answer, Answer> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    for route in ROUTES {
        if let Some(parameter) = matched(route.path, path) {
            let parameter = query::decoded(parameter, Plus::IsPlus)?;
            return (route.handler)(&Request {
                sources,
                parameter: &parameter,
                query,
            });
        }
    }
    if let Some(asset) = ui::asset(path) {
        let answer = Answer::ok(asset.content_type, asset.body)
            .with_header("Content-Security-Policy", asset.csp)
            .with_header("Referrer-Policy", "no-referrer");
        return Ok(answer);
    }
    if let Some(right) = with_other_end(path) {
        let query = target.strip_prefix(path).unwrap_or_default();
        return Ok(Answer::moved(format!("{right}{query}")));
    }
    let detail = format!(
        "there is nothing at {}; /api/v1/ names what there is",
        query::shown(path)
    );
    Err(Answer::problem(404, detail))
}

/// The parameter of a path that is as `pattern` has it; empty where that has none.
fn matched<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    let Some(at) = pattern.find('{') else {
        return (pattern == path).then_some("");
    };
    let parameter = path.strip_prefix(&pattern[..at])?;
    let takes_slashes = pattern.ends_with("{key}");
    let is_one = !parameter.is_empty() && (takes_slashes || !parameter.contains('/'));
    is_one.then_some(parameter)
}

/// The path that differs by a slash at its end, where there is something.
fn with_other_end(path: &str) -> Option<String> {
    let other = match path.strip_suffix('/') {
        Some(without) => without.to_owned(),
        None => format!("{path}/"),
    };
    let is_there = ROUTES
        .iter()
        .any(|route| matched(route.path, &other).is_some());
    // Not where a slash belongs to a key.
    let is_there = is_there || ui::asset(&other).is_some();
    is_there.then_some(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart() {
        let found = |path: &str| -> Option<(&str, String)> {
            ROUTES.iter().find_map(|route| {
                let parameter = matched(route.path, path)?.to_owned();
                Some((route.path, parameter))
            })
        };
        for (path, expected) in [
            ("/api/v1/", Some(("/api/v1/", ""))),
            ("/api/v1/groups", Some(("/api/v1/groups", ""))),
            ("/api/v1/groups/", None),
            ("/api/v1/groups/7", Some(("/api/v1/groups/{id}", "7"))),
            ("/api/v1/groups/7/", None),
            ("/api/v1/groups/7/8", None),
            ("/api/v1/stick_table/", None),
            (
                "/api/v1/stick_table/::1/a/",
                Some(("/api/v1/stick_table/{key}", "::1/a/")),
            ),
            ("/API/v1/", None),
            ("//api/v1/", None),
        ] {
            let expected = expected.map(|(path, parameter)| (path, parameter.to_owned()));
            assert_eq!(found(path), expected, "{path}");
        }
    }

    #[test]
    fn every_path_has_its_example_in_the_documentation() {
        let page = include_str!("../../../docs/STATISTICS.md");
        let headings: Vec<&str> = page
            .lines()
            .filter(|line| line.starts_with("## "))
            .collect();
        for route in ROUTES {
            let quoted = format!("`{}`", route.path);
            let found = headings.iter().any(|heading| heading.contains(&quoted));
            assert!(found, "{quoted} has no section");
        }
    }

    #[test]
    fn a_slash_more_or_less_is_put_right_and_leads_nowhere_else() {
        for (path, expected) in [
            ("/api/v1", Some("/api/v1/")),
            ("/spec/v1", Some("/spec/v1/")),
            ("/ui/v1", Some("/ui/v1/")),
            ("/api/v1/groups/", Some("/api/v1/groups")),
            ("/api/v1/groups/7/", Some("/api/v1/groups/7")),
            ("/api/v1/stick_table/", Some("/api/v1/stick_table")),
            ("//evil.example/", None),
            ("//", Some("/")),
            ("/nothing", None),
        ] {
            assert_eq!(with_other_end(path).as_deref(), expected, "{path}");
        }
    }
}
