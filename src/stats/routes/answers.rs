//! One function for each path: reads what is asked, and has it answered. What stands above each is
//! its entry in the OpenAPI document.

use serde::Serialize;

use super::Request;
use crate::stats::answer::{Answer, JSON};
use crate::stats::api;
use crate::stats::metrics;
use crate::stats::query::{Query, shown};
use crate::stats::sources::StickQuery;
use crate::stats::spec::{self, Busy, Refused};
use crate::stick::{AddressFilter, Cursor, Key};

/// Entries of a page, at most.
const MAX_LIMIT: usize = 1_000;
/// The largest number of an event: the largest that every reader of JSON keeps exact.
const MAX_NUMBER: u64 = (1 << 53) - 1;
/// Entries of a page where nothing is said.
const DEFAULT_LIMIT: usize = 100;

fn limit(query: &mut Query<'_>) -> Result<usize, Answer> {
    let limit = query.number("limit", 1..=MAX_LIMIT)?;
    Ok(limit.unwrap_or(DEFAULT_LIMIT))
}

/// The node as a whole
///
/// Version, uptime, what was counted, and where the rest is.
#[utoipa::path(get, path = "/api/v1/", tag = "node",
    responses((status = 200, description = "How it stands", body = api::Overview), Refused, Busy))]
pub fn overview(request: &Request<'_>) -> Result<Answer, Answer> {
    Query::parse(request.query)?.finish()?;
    Ok(Answer::json(&request.sources.overview()))
}

/// Server groups
///
/// An array, by id. Where more follow, the header `Link` names the next page (`rel="next"`).
#[utoipa::path(get, path = "/api/v1/groups", tag = "groups",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000,
            description = "Most groups of the page; 100 where nothing is said. A page of groups with very many targets is shorter."),
        ("after" = Option<u64>, Query, minimum = 0, maximum = 4294967295_u64,
            description = "Only groups with larger ids than this one"),
    ),
    responses(
        (status = 200, description = "A page of the groups", body = Vec<api::Group>,
            headers(("Link" = Option<String>, description = "The next page, where there is one"))),
        Refused, Busy))]
pub fn groups(request: &Request<'_>) -> Result<Answer, Answer> {
    let mut query = Query::parse(request.query)?;
    let (limit, after) = (limit(&mut query)?, query.number("after", 0..=u32::MAX)?);
    query.finish()?;
    let page = request.sources.groups_page(limit, after);
    Ok(page_of("/api/v1/groups", page, limit, |group| group.id))
}

/// A JSON array with a link to the page behind it, where there is one: from the group of the last
/// element on.
fn page_of<T: Serialize>(
    path: &str,
    (page, has_more): (Vec<T>, bool),
    limit: usize,
    group_of: impl Fn(&T) -> u32,
) -> Answer {
    let answer = Answer::json(&page);
    match page.last().filter(|_| has_more).map(group_of) {
        None => answer,
        Some(after) => {
            let link = format!("<{path}?limit={limit}&after={after}>; rel=\"next\"");
            answer.with_header("Link", link)
        }
    }
}

/// One server group
#[utoipa::path(get, path = "/api/v1/groups/{id}", tag = "groups",
    params(("id" = u64, Path, minimum = 0, maximum = 4294967295_u64, description = "N of `[groups.N]`")),
    responses(
        (status = 200, description = "The group", body = api::Group),
        (status = 404, description = "The configuration has no such group",
            body = api::Problem, content_type = "application/problem+json"),
        Refused, Busy))]
pub fn group(request: &Request<'_>) -> Result<Answer, Answer> {
    Query::parse(request.query)?.finish()?;
    let id = request.parameter;
    let is_plain = id.bytes().all(|byte| byte.is_ascii_digit());
    let found = id
        .parse()
        .ok()
        .filter(|_| is_plain)
        .and_then(|id| request.sources.group(id));
    match found {
        Some(group) => Ok(Answer::json(&group)),
        None => {
            let detail = format!("the configuration has no group {}", shown(id));
            Err(Answer::problem(404, detail))
        }
    }
}

/// The stick table
///
/// Which key belongs to which group, in pages: hand `next` of a page in as `after` for the one
/// behind it. An entry that is there throughout is listed once, while others come and go. With
/// `group` or `ip` a page looks at a bounded part of the table: it may be short, or empty, although
/// more follow.
#[utoipa::path(get, path = "/api/v1/stick_table", tag = "stick table",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000,
            description = "Most entries of the page; 100 where nothing is said. A page of long slices is shorter."),
        ("after" = Option<String>, Query, pattern = "^[0-9]{1,19}$",
            description = "`next` of the page before"),
        ("group" = Option<u64>, Query, minimum = 0, maximum = 4294967295_u64,
            description = "Only entries of this group"),
        ("ip" = Option<String>, Query, example = "192.0.2.77",
            description = "Only entries of this address, or of this network (`192.0.2.0/24`)"),
    ),
    responses((status = 200, description = "A page of the table", body = api::StickPage), Refused, Busy))]
pub fn stick_table(request: &Request<'_>) -> Result<Answer, Answer> {
    let mut query = Query::parse(request.query)?;
    let asked = StickQuery {
        limit: limit(&mut query)?,
        after: query.take("after", cursor)?,
        group: query.number("group", 0..=u32::MAX)?,
        address: query.take("ip", AddressFilter::parse)?,
    };
    query.finish()?;
    Ok(Answer::json(&request.sources.sticks(&asked)))
}

fn cursor(text: &str) -> Result<Cursor, String> {
    Cursor::parse(text).ok_or_else(|| "`next` of the page before".to_owned())
}

/// One entry of the stick table
#[utoipa::path(get, path = "/api/v1/stick_table/{key}", tag = "stick table",
    params(("key" = String, Path, example = "192.0.2.77",
        description = "The key as `Stick.key` has it, percent-encoded: an address, or an address, a slash and a slice")),
    responses(
        (status = 200, description = "The entry", body = api::Stick),
        (status = 404, description = "The key has no entry",
            body = api::Problem, content_type = "application/problem+json"),
        Refused, Busy))]
pub fn stick(request: &Request<'_>) -> Result<Answer, Answer> {
    Query::parse(request.query)?.finish()?;
    let key = Key::parse(request.parameter);
    let key = key.map_err(|error| Answer::problem(400, error.to_string()))?;
    match request.sources.stick(key) {
        Some(stick) => Ok(Answer::json(&stick)),
        None => {
            let detail = format!("{} has no entry", shown(request.parameter));
            Err(Answer::problem(404, detail))
        }
    }
}

/// Health checks
///
/// An array, by group and id, of the checks of so many groups. Where more follow, the header `Link`
/// names the next page (`rel="next"`).
#[utoipa::path(get, path = "/api/v1/healthchecks", tag = "groups",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000,
            description = "Most groups whose checks the page has; 100 where nothing is said. A page of checks with very many targets is shorter."),
        ("after" = Option<u64>, Query, minimum = 0, maximum = 4294967295_u64,
            description = "Only checks of groups with larger ids than this one"),
    ),
    responses(
        (status = 200, description = "A page of the checks", body = Vec<api::Check>,
            headers(("Link" = Option<String>, description = "The next page, where there is one"))),
        Refused, Busy))]
pub fn healthchecks(request: &Request<'_>) -> Result<Answer, Answer> {
    let mut query = Query::parse(request.query)?;
    let (limit, after) = (limit(&mut query)?, query.number("after", 0..=u32::MAX)?);
    query.finish()?;
    let page = request.sources.checks_page(limit, after);
    Ok(page_of("/api/v1/healthchecks", page, limit, |check| {
        check.group
    }))
}

/// The Raft groups of this node
#[utoipa::path(get, path = "/api/v1/raft", tag = "cluster",
    responses((status = 200, description = "How they stand; null for a lone node", body = api::Raft), Refused, Busy))]
pub fn raft(request: &Request<'_>) -> Result<Answer, Answer> {
    Query::parse(request.query)?.finish()?;
    Ok(Answer::json(&request.sources.raft()))
}

/// The nodes of the cluster
///
/// Those of the configuration and those that belong to the cluster, by id, with their progress in
/// both Raft groups.
#[utoipa::path(get, path = "/api/v1/peers", tag = "cluster",
    responses((status = 200, description = "How they stand; none for a lone node", body = api::Peers), Refused, Busy))]
pub fn peers(request: &Request<'_>) -> Result<Answer, Answer> {
    Query::parse(request.query)?.finish()?;
    Ok(Answer::json(&request.sources.peers()))
}

/// The configuration in force
///
/// Every setting with the value that holds, default or not; what is secret is left out.
#[utoipa::path(get, path = "/api/v1/config", tag = "node",
    responses((status = 200, description = "The settings", body = api::Configuration), Refused, Busy))]
pub fn configuration(request: &Request<'_>) -> Result<Answer, Answer> {
    Query::parse(request.query)?.finish()?;
    Ok(Answer::json(&request.sources.configuration()))
}

/// What happened lately
///
/// Changes of status, reloads, operators' commands, newest first.
#[utoipa::path(get, path = "/api/v1/events", tag = "node",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000,
            description = "Most events; 100 where nothing is said"),
        ("before" = Option<u64>, Query, minimum = 0, maximum = 9007199254740991_u64,
            description = "Only events with smaller numbers than this one"),
    ),
    responses((status = 200, description = "The events", body = api::Events), Refused, Busy))]
pub fn events(request: &Request<'_>) -> Result<Answer, Answer> {
    let mut query = Query::parse(request.query)?;
    let (limit, before) = (limit(&mut query)?, query.number("before", 0..=MAX_NUMBER)?);
    query.finish()?;
    Ok(Answer::json(&request.sources.events(limit, before)))
}

/// Whether this node may get traffic
///
/// For whoever sends traffic here: keepalived, BGP speakers, load balancers, Kubernetes.
#[utoipa::path(get, path = "/api/v1/health", tag = "node",
    responses(
        (status = 200, description = "It may", body = api::Health),
        (status = 503, description = "It may not; as a problem: too many requests wait already, or the answer takes too long to be made",
            content((api::Health = "application/json"), (api::Problem = "application/problem+json"))),
        Refused))]
pub fn health(request: &Request<'_>) -> Result<Answer, Answer> {
    Query::parse(request.query)?.finish()?;
    let health = request.sources.health();
    let status = match health.status {
        api::HealthStatus::Ok => 200,
        api::HealthStatus::Unhealthy => 503,
    };
    Ok(Answer::json(&health).with_status(status))
}

/// Metrics for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "node",
    responses(
        (status = 200, description = "Prometheus' text format 0.0.4", body = String,
            content_type = "text/plain; version=0.0.4; charset=utf-8"),
        Refused, Busy))]
pub fn metrics(request: &Request<'_>) -> Result<Answer, Answer> {
    Query::parse(request.query)?.finish()?;
    let text = request.sources.metrics();
    Ok(Answer::ok(metrics::CONTENT_TYPE, text.into_bytes()))
}

/// This document
#[utoipa::path(get, path = "/spec/v1/", tag = "node",
    responses((status = 200, description = "OpenAPI 3.1", body = Object), Refused, Busy))]
pub fn specification(request: &Request<'_>) -> Result<Answer, Answer> {
    Query::parse(request.query)?.finish()?;
    Ok(Answer::ok(JSON, spec::document()))
}
