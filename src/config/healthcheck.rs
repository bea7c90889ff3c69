//! `[[groups.N.healthchecks]]`: how a group's servers are checked.

use std::collections::BTreeMap;
use std::time::Duration;

use super::schema::{CheckHeader, FallAction, HealthCheck, HttpCheck, HttpMethod, UnixPath};
use super::section::Section;

/// Health checks of one group.
const MAX_CHECKS: usize = 64;

/// The checks of a group, in the order of the file; `unix`: one of its targets that is a Unix
/// socket, if any is.
pub(super) fn healthchecks(group: &Section<'_>, unix: Option<&UnixPath>) -> Vec<HealthCheck> {
    const EXPECTED: &str = "tables such as [[groups.0.healthchecks]]";
    let Some(entry) = group.get("healthchecks") else {
        return Vec::new();
    };
    let sections = entry.tables(EXPECTED);
    if sections.len() > MAX_CHECKS {
        entry.refuse_for(format!("at most {MAX_CHECKS} health checks"));
        return Vec::new();
    }
    let check = |section| healthcheck(section, unix);
    sections.iter().map(check).collect()
}

fn healthcheck(section: &Section<'_>, unix: Option<&UnixPath>) -> HealthCheck {
    section.refuse_unknown_keys();
    let interval = section.seconds_or("interval", 5_000);
    HealthCheck {
        fall: section.integer("fall").unwrap_or(3),
        rise: section.integer("rise").unwrap_or(5),
        fall_action: section.word("fall_action").unwrap_or(FallAction::Draining),
        interval,
        timeout: timeout(section, interval),
        port: port(section, unix),
        send_proxy: section
            .proxy_header("send_proxy")
            .map_or(CheckHeader::AsConnections, CheckHeader::Given),
        http: http(section),
    }
}

fn port(section: &Section<'_>, unix: Option<&UnixPath>) -> Option<u16> {
    let port = section.integer("port")?;
    if let (Some(path), Some(entry)) = (unix, section.get("port")) {
        entry.error(format!(
            "{path} in portmap has no ports; expected no port here, so that the socket itself is \
             checked"
        ));
    }
    Some(port)
}

fn timeout(section: &Section<'_>, interval: Duration) -> Duration {
    let default = interval / 2;
    let Some(entry) = section.get("timeout") else {
        return default;
    };
    let Some(timeout) = entry.seconds() else {
        return default;
    };
    if timeout > interval {
        let seconds = interval.as_secs_f64();
        entry.refuse_for(format!("at most the interval, {seconds} seconds"));
    }
    timeout
}

fn http(section: &Section<'_>) -> Option<HttpCheck> {
    let is_http = section
        .table
        .keys()
        .any(|key| key.get_ref().starts_with("http_"));
    if !is_http {
        return None;
    }
    Some(HttpCheck {
        target: target(section).unwrap_or_else(|| "/".to_owned()),
        method: section.word("http_method").unwrap_or(HttpMethod::Get),
        headers: headers(section),
        body: section
            .get("http_body")
            .and_then(|entry| entry.text().map(str::to_owned)),
        status: section.integer("http_status").unwrap_or(200),
    })
}

fn target(section: &Section<'_>) -> Option<String> {
    section.get("http_target")?.parsed(|text| {
        // pchar, "/" and "?" of RFC 3986, sections 3.3 and 3.4; a fragment is never sent.
        let good =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%/?".contains(&byte);
        (text.starts_with('/') && text.bytes().all(good)).then(|| text.to_owned())
    })
}

fn headers(section: &Section<'_>) -> BTreeMap<String, String> {
    const EXPECTED_NAME: &str = "a header's name: letters, digits and !#$%&'*+-.^_`|~";
    const EXPECTED_VALUE: &str = "a header's value: a string without control characters";
    let Some(entry) = section.get("http_headers") else {
        return BTreeMap::new();
    };
    let mut headers = BTreeMap::new();
    for (name, member) in entry.members("a table such as { Content-Type = \"text/plain\" }") {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(token) {
            member.error_at_key(format!("expected {EXPECTED_NAME}, in place of {name:?}"));
        }
        let Some(value) = member.text_for(EXPECTED_VALUE) else {
            continue;
        };
        if value.chars().any(|c| c.is_control() && c != '\t') {
            member.refuse_for(EXPECTED_VALUE);
        }
        headers.insert(name.to_owned(), value.to_owned());
    }
    headers
}
