//! What a node says about itself: asked on its own host, so cuts do not matter.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use super::network;
use super::plan::STATISTICS;
use crate::support::host::Host;
use crate::support::{client, http};

/// A stopped process takes connections and never answers.
const PATIENCE: Duration = Duration::from_secs(2);

/// How a node stands in one Raft group.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// `leader`, `follower`, `candidate` or `learner`.
    pub role: String,
    /// The newest term that it knows.
    pub term: u64,
    /// Whether it may answer from its own table.
    pub has_lease: bool,
    /// The voters' MAC addresses, sorted.
    pub voters: Vec<String>,
    /// Up to where it has applied.
    pub applied: u64,
    /// Where its log begins.
    pub first: u64,
}

/// A node's answer to a GET: status and JSON; none where it does not answer.
pub fn get(host: &Host, node: usize, path: &str) -> Option<(u16, Value)> {
    let server: SocketAddr = (network::address(node), STATISTICS).into();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    let answer = host.run(move || ask(server, &request)).ok()?;
    let body = serde_json::from_slice(&answer.body).ok()?;
    Some((answer.status, body))
}

fn ask(server: SocketAddr, request: &str) -> io::Result<http::Answer> {
    let mut stream = client::connect(server.ip(), server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    http::read_answer(&mut stream, false)
}

/// How a node stands in the Raft group of the stick table; none where it is in none.
pub fn stick_table(host: &Host, node: usize) -> Option<Standing> {
    let (_, raft) = get(host, node, "/api/v1/raft")?;
    let group = &raft["stick_table"];
    let members = group["members"].as_array()?.iter();
    let mut voters: Vec<String> = members
        .filter(|member| member["votes"] == true)
        .filter_map(|member| Some(member["node"].as_str()?.to_owned()))
        .collect();
    voters.sort();
    Some(Standing {
        role: group["role"].as_str()?.to_owned(),
        term: group["term"].as_u64()?,
        has_lease: group["has_lease"].as_bool()?,
        voters,
        applied: group["applied"].as_u64()?,
        first: group["first"].as_u64()?,
    })
}

/// How many keys a node has given a group without a leader, and how many of them gave way; none
/// where the API does not tell.
pub fn given_alone(host: &Host, node: usize) -> Option<(u64, u64)> {
    let (_, raft) = get(host, node, "/api/v1/raft")?;
    let counts = &raft["node"]["counts"];
    Some((counts["alone"].as_u64()?, counts["yielded"].as_u64()?))
}

/// `/api/v1/health`: whether it may get traffic, and the reasons why not.
pub fn health(host: &Host, node: usize) -> Option<(bool, Vec<String>)> {
    let (status, body) = get(host, node, "/api/v1/health")?;
    let reasons = body["reasons"].as_array()?.iter();
    let reasons = reasons.filter_map(|reason| Some(reason.as_str()?.to_owned()));
    Some((status == 200, reasons.collect()))
}

/// A group's status as the node has it: `Up`, `Draining`, `Disabled`.
pub fn group_status(host: &Host, node: usize, group: u32) -> Option<String> {
    let (_, body) = get(host, node, &format!("/api/v1/groups/{group}"))?;
    Some(body["status"].as_str()?.to_owned())
}
