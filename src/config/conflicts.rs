//! Sockets of one configuration that cannot be open at the same time.

use std::net::{IpAddr, SocketAddr};

use super::findings::Span;
use super::listening::{BindAddr, Ports};
use super::problem::Fault;
use super::section::Section;

/// A socket that one key of the file names.
pub(super) struct NamedSocket {
    pub name: &'static str,
    pub address: SocketAddr,
    /// Where the file gives it; `None` for the default.
    pub given_at: Option<Span>,
}

/// Whether binding one address keeps the other from being bound on the same port. A wildcard
/// address covers its family, the one of IPv6 both families unless it is IPv6-only.
fn overlap(a: (IpAddr, V6Only), b: (IpAddr, V6Only)) -> bool {
    let (a_ip, b_ip) = (a.0.to_canonical(), b.0.to_canonical());
    a_ip == b_ip || covers(a_ip, a.1, b_ip) || covers(b_ip, b.1, a_ip)
}

type V6Only = bool;

fn covers(wildcard: IpAddr, v6_only: V6Only, other: IpAddr) -> bool {
    wildcard.is_unspecified()
        && (wildcard.is_ipv4() == other.is_ipv4() || (wildcard.is_ipv6() && !v6_only))
}

/// Reports every two sockets that collide.
pub(super) fn report<'s>(
    top: &Section<'_>,
    bind_addrs: &[BindAddr],
    ports: &Ports,
    sockets: impl Iterator<Item = &'s NamedSocket> + Clone,
) {
    let v6_only = bind_addrs.iter().any(|bind| bind.ip.is_ipv4());
    between_bind_addrs(top, bind_addrs, v6_only);
    for (at, socket) in sockets.clone().enumerate() {
        for earlier in sockets.clone().take(at) {
            between_sockets(top, earlier, socket);
        }
        for bind in bind_addrs {
            if overlap((bind.ip, v6_only), (socket.address.ip(), false)) {
                with_listener(top, bind, ports, socket);
            }
        }
    }
}

fn between_bind_addrs(top: &Section<'_>, bind_addrs: &[BindAddr], v6_only: V6Only) {
    for (at, bind) in bind_addrs.iter().enumerate() {
        for earlier in &bind_addrs[..at] {
            let Some(place) = &bind.place else {
                continue;
            };
            if overlap((earlier.ip, v6_only), (bind.ip, v6_only)) {
                let (one, other) = (bind.ip, earlier.ip);
                let sentence = format!(
                    "{one} and {other} collide, one covers the other; expected one of them"
                );
                let fault = Fault::Other(sentence);
                top.findings.error(place.span.clone(), &place.path, fault);
            }
        }
    }
}

fn between_sockets(top: &Section<'_>, earlier: &NamedSocket, socket: &NamedSocket) {
    let same_port = earlier.address.port() == socket.address.port();
    let ips = (earlier.address.ip(), socket.address.ip());
    if !same_port || !overlap((ips.0, false), (ips.1, false)) {
        return;
    }
    let (reported, other) = match socket.given_at {
        Some(_) => (socket, earlier),
        None => (earlier, socket),
    };
    let sentence = format!(
        "{} collides with {}",
        reported.address,
        describe(top, other)
    );
    let span = reported.given_at.clone().unwrap_or(0..0);
    top.findings
        .error(span, reported.name, Fault::Other(sentence));
}

fn with_listener(top: &Section<'_>, bind: &BindAddr, ports: &Ports, socket: &NamedSocket) {
    let Some(place) = ports.place(socket.address.port()) else {
        return;
    };
    let listener = SocketAddr::new(bind.ip, socket.address.port());
    let (span, key, sentence) = match &socket.given_at {
        Some(span) => {
            let (line, _) = top.findings.line_and_column(place.span.start);
            let sentence = format!(
                "{} collides with the listener {listener} ({}, line {line})",
                socket.address, place.path
            );
            (span.clone(), socket.name, sentence)
        }
        None => {
            let other = describe(top, socket);
            let sentence = format!("the listener {listener} collides with {other}");
            (place.span.clone(), place.path.as_str(), sentence)
        }
    };
    top.findings.error(span, key, Fault::Other(sentence));
}

fn describe(top: &Section<'_>, socket: &NamedSocket) -> String {
    let origin = match &socket.given_at {
        Some(span) => format!("line {}", top.findings.line_and_column(span.start).0),
        None => "its default".to_owned(),
    };
    format!("{} {} ({origin})", socket.name, socket.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collide(a: &str, a_v6_only: bool, b: &str, b_v6_only: bool) -> bool {
        let parse = |text: &str| text.parse().unwrap();
        overlap((parse(a), a_v6_only), (parse(b), b_v6_only))
    }

    #[test]
    fn a_wildcard_covers_its_family() {
        assert!(collide("0.0.0.0", false, "127.0.0.1", false));
        assert!(collide("127.0.0.1", false, "0.0.0.0", false));
        assert!(!collide("127.0.0.1", false, "127.0.0.2", false));
        assert!(!collide("0.0.0.0", false, "::1", false));
        assert!(collide("::ffff:127.0.0.1", false, "127.0.0.1", false));
    }

    #[test]
    fn the_ipv6_wildcard_covers_ipv4_unless_it_is_ipv6_only() {
        assert!(collide("::", false, "127.0.0.1", false));
        assert!(collide("::", false, "0.0.0.0", false));
        assert!(!collide("::", true, "0.0.0.0", true));
        assert!(collide("::", true, "::1", true));
    }
}
