//! Which `Host` a request may name, against DNS rebinding.
//!
//! A page in a browser may send requests to whatever its own name resolves to, and read the
//! answers: a name that its owner turns to 127.0.0.1 would let any web site read the stick table.
//! So a request has to name this server by something that no stranger's name is: an address, a
//! name without a dot (`localhost`, a name in /etc/hosts, a container's name), or this host's own
//! name.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether `host`, with or without a port, may be meant for this host, which is called `own_name`.
pub fn is_own(host: &str, own_name: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() => ("localhost", port),
            _ => return false,
        },
        None => match host.find(':') {
            Some(at) => host.split_at(at),
            None => (host, ""),
        },
    };
    is_port(port)
        && (name.parse::<Ipv4Addr>().is_ok()
            || is_label(name)
            || name.eq_ignore_ascii_case(own_name))
}

fn is_port(text: &str) -> bool {
    let digits = text.strip_prefix(':');
    text.is_empty() || digits.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A name without a dot.
fn is_label(name: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !name.is_empty() && name.bytes().all(is_fit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_names_are_refused() {
        for (host, expected) in [
            ("127.0.0.1", true),
            ("127.0.0.1:2340", true),
            ("[::1]", true),
            ("[2001:db8::7]:2340", true),
            ("localhost", true),
            ("LOCALHOST:2340", true),
            ("proxy-1:2340", true),
            ("proxy-1.example.com:2340", true),
            ("Proxy-1.Example.Com", true),
            ("proxy-1.example.net", false),
            ("evil.example", false),
            ("127.0.0.1.evil.example:2340", false),
            ("localhost.evil.example", false),
            ("localhost.", false),
            ("", false),
            (":2340", false),
            ("127.0.0.1:", true),
            ("127.0.0.1:x", false),
            ("[::1", false),
            ("[::1]x", false),
            ("[evil.example]", false),
            ("::1", false),
            ("127.0.0.1@evil.example", false),
        ] {
            assert_eq!(is_own(host, "proxy-1.example.com"), expected, "{host:?}");
        }
    }
}
