//! What identifies a check: the same definition is the same check, in a reload, after a restart,
//! and on another node.

use std::fmt::{self, Write};

use sha2::{Digest, Sha256};

use crate::config::{CheckHeader, HealthCheck, HttpCheck};

/// A check of a group, by the hash of its definition. Shown as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckId(pub u64);

impl CheckId {
    /// The id of a definition: every key of it counts, filled-in defaults included.
    pub fn of(check: &HealthCheck) -> CheckId {
        let HealthCheck {
            fall,
            rise,
            fall_action,
            interval,
            timeout,
            port: _,
            send_proxy: _,
            http: _,
        } = check;
        let mut text = probe_text(check);
        put(&mut text, "fall", fall);
        put(&mut text, "rise", rise);
        put(&mut text, "fall_action", format_args!("{fall_action:?}"));
        put(&mut text, "interval_ns", interval.as_nanos());
        put(&mut text, "timeout_ns", timeout.as_nanos());
        CheckId(hash(&text))
    }
}

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What is asked of a target, apart from how often and with what consequence. Two definitions
/// with the same one ask the same question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeId(u64);

impl ProbeId {
    /// The question of a definition.
    pub fn of(check: &HealthCheck) -> ProbeId {
        ProbeId(hash(&probe_text(check)))
    }
}

/// What logs call a check: `TCP`, `HTTP GET /health`.
pub fn title(check: &HealthCheck) -> String {
    match &check.http {
        None => "TCP".to_owned(),
        Some(http) => format!("HTTP {} {}", http.method.as_str(), http.target),
    }
}

fn probe_text(check: &HealthCheck) -> String {
    let mut text = String::new();
    put(&mut text, "port", format_args!("{:?}", check.port));
    // What the group says of its connections is not the check's.
    if let CheckHeader::Given(header) = check.send_proxy {
        put(&mut text, "send_proxy", format_args!("{header:?}"));
    }
    if let Some(http) = &check.http {
        let HttpCheck {
            target,
            method,
            headers,
            body,
            status,
        } = http;
        put(&mut text, "http_target", target);
        put(&mut text, "http_method", method.as_str());
        for (name, value) in headers {
            put(&mut text, "http_header", format_args!("{name}: {value}"));
        }
        if let Some(body) = body {
            put(&mut text, "http_body", body);
        }
        put(&mut text, "http_status", status);
    }
    text
}

/// One line for each key, its length in front, so that no two definitions have one text.
fn put(text: &mut String, key: &str, value: impl fmt::Display) {
    let value = value.to_string();
    writeln!(text, "{key} {} {value}", value.len()).expect("a String takes everything");
}

fn hash(text: &str) -> u64 {
    let digest = Sha256::digest(text.as_bytes());
    let first = digest.first_chunk().expect("a SHA-256 has 32 bytes");
    u64::from_be_bytes(*first)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::config::{FallAction, HttpMethod};

    fn tcp() -> HealthCheck {
        HealthCheck {
            fall: 3,
            rise: 5,
            fall_action: FallAction::Draining,
            interval: Duration::from_secs(5),
            timeout: Duration::from_millis(2_500),
            port: None,
            send_proxy: CheckHeader::AsConnections,
            http: None,
        }
    }

    fn http() -> HealthCheck {
        let http = HttpCheck {
            target: "/health".to_owned(),
            method: HttpMethod::Get,
            headers: BTreeMap::from([("A".to_owned(), "b".to_owned())]),
            body: None,
            status: 200,
        };
        HealthCheck {
            http: Some(http),
            ..tcp()
        }
    }

    #[test]
    fn the_hash_is_the_same_in_every_build() {
        // State files and peers of other versions know checks by these numbers.
        assert_eq!(CheckId::of(&tcp()).to_string(), "5f119204204fc0f9");
        assert_eq!(CheckId::of(&http()).to_string(), "88fa1d99adb114c8");
    }

    #[test]
    fn every_key_is_part_of_the_definition_and_only_some_of_the_question() {
        type Edit = fn(&mut HealthCheck);
        let question: [Edit; 6] = [
            |check| check.port = Some(80),
            |check| check.http.as_mut().unwrap().target.push('x'),
            |check| check.http.as_mut().unwrap().method = HttpMethod::Post,
            |check| check.http.as_mut().unwrap().headers.clear(),
            |check| check.http.as_mut().unwrap().body = Some(String::new()),
            |check| check.http.as_mut().unwrap().status = 204,
        ];
        let thresholds: [Edit; 5] = [
            |check| check.fall = 4,
            |check| check.rise = 4,
            |check| check.fall_action = FallAction::Up,
            |check| check.interval += Duration::from_millis(1),
            |check| check.timeout += Duration::from_millis(1),
        ];
        for (edits, asks_another) in [(&question[..], true), (&thresholds[..], false)] {
            for edit in edits {
                let mut edited = http();
                edit(&mut edited);
                assert_ne!(CheckId::of(&edited), CheckId::of(&http()), "{edited:?}");
                let is_another = ProbeId::of(&edited) != ProbeId::of(&http());
                assert_eq!(is_another, asks_another, "{edited:?}");
            }
        }
    }

    #[test]
    fn a_header_of_the_checks_own_is_another_question_and_the_groups_is_not() {
        use crate::config::ProxyHeader::{V1, V2};
        let with = |send_proxy, port| HealthCheck {
            send_proxy,
            port,
            ..tcp()
        };
        let as_group = with(CheckHeader::AsConnections, None);
        let given = [None, Some(V1), Some(V2)].map(|header| with(CheckHeader::Given(header), None));
        for (at, one) in given.iter().enumerate() {
            assert_ne!(ProbeId::of(one), ProbeId::of(&as_group));
            for other in &given[..at] {
                assert_ne!(CheckId::of(one), CheckId::of(other));
            }
        }
        assert_eq!(as_group.header(Some(V2)), Some(V2));
        assert_eq!(
            with(CheckHeader::AsConnections, Some(80)).header(Some(V2)),
            None
        );
        assert_eq!(
            with(CheckHeader::Given(Some(V1)), Some(80)).header(None),
            Some(V1)
        );
        assert_eq!(with(CheckHeader::Given(None), None).header(Some(V2)), None);
    }
}
