//! From one program to the other on the same addresses, with a connection open all the while.

use super::old::{HAPROXY, Haproxy, NGINX, Nginx, wait_given_up, workers};
use super::*;
use crate::support::guide::changed;

/// The old one, whose process id this is, has been told to give up its ports.
fn assert_goes_on(stream: TcpStream, old: u32, ports: &[u16], after: &str) {
    wait_given_up(old, ports);
    let proxy = tcpffee(after);
    assert_spread(ports);
    assert_eq!(
        workers(old),
        2,
        "the new worker, and the old with its client"
    );
    client::exchange(&stream, b"through the old one").unwrap();
    let sticks = http::json(STATISTICS, "/api/v1/stick_table")["total"].clone();
    assert_eq!(sticks, 60, "all clients but the first come through tcpffee");
    drop(stream);
    eventually("the old worker ends", || workers(old) == 1);
    drop(proxy);
}

#[test]
fn haproxy_goes_on_with_what_is_open_while_tcpffee_has_its_ports() {
    in_guide(HAPROXY, || {
        let _servers = servers();
        let text = block("# Before: /etc/haproxy/haproxy.cfg");
        let old = Haproxy::start(&text, &PORTS);
        let (_, stream) = open(0, PORTS[0]);
        old.reload(&changed(&text, "    bind 10.77.0.1:5280-5282\n", ""));
        let after = "# After: /etc/tcpffee/tcpffee.toml, in place of stick on src";
        assert_goes_on(stream, old.pid(), &PORTS, after);
    });
}

#[test]
fn nginx_goes_on_with_what_is_open_while_tcpffee_has_its_ports() {
    in_guide(NGINX, || {
        let _servers = servers();
        let text = block("# Before: /etc/nginx/nginx.conf");
        let ports = &PORTS[..2];
        let old = Nginx::start(&text, ports);
        let (_, stream) = open(0, ports[0]);
        let mut fewer = text;
        for port in ports {
            let listener = format!(
                "    server {{\n        listen 10.77.0.1:{port};\n        proxy_pass licences_{port};\n    }}\n"
            );
            fewer = changed(&fewer, &listener, "");
        }
        old.reload(&fewer);
        let after = "# After: /etc/tcpffee/tcpffee.toml, in place of hash $remote_addr";
        assert_goes_on(stream, old.pid(), ports, after);
    });
}

#[test]
fn tcpffee_started_too_early_says_which_port_is_taken() {
    in_guide(HAPROXY, || {
        let text = block("# Before: /etc/haproxy/haproxy.cfg");
        let _old = Haproxy::start(&text, &PORTS);
        let after = block("# After: /etc/tcpffee/tcpffee.toml, in place of stick on src");
        let (code, text) = Proxy::builder_from_text(after).expect_failure();
        assert_eq!(code, 3, "{text}");
        assert!(text.contains("10.77.0.1:5280"), "{text}");
    });
}
