//! From nginx: `hash $remote_addr`.

use super::old::{NGINX, Nginx};
use super::*;
use crate::support::guide::changed;

const BEFORE: &str = "# Before: /etc/nginx/nginx.conf";
const AFTER: &str = "# After: /etc/tcpffee/tcpffee.toml, in place of hash $remote_addr";
const TWO_PORTS: &[u16] = &[5280, 5281];
const MANY: u32 = 60;

#[test]
fn a_client_of_nginx_has_one_server_on_both_ports_and_so_it_has_here() {
    in_guide(NGINX, || {
        let _servers = servers();
        let old = Nginx::start(&block(BEFORE), TWO_PORTS);
        assert_spread(TWO_PORTS);
        drop(old);
        let _proxy = tcpffee(AFTER);
        assert_spread(TWO_PORTS);
    });
}

#[test]
fn clients_of_a_server_that_is_gone_are_served_by_another_with_nginx_and_here() {
    in_guide(NGINX, || {
        let mut servers = servers();
        let old = Nginx::start(&block(BEFORE), TWO_PORTS);
        assert_leaves(&mut servers, TWO_PORTS);
        drop(old);
        servers[0] = server("alder");
        let _proxy = tcpffee(AFTER);
        assert_leaves_for_good(&mut servers, TWO_PORTS);
    });
}

#[test]
fn another_server_moves_most_clients_of_nginx_and_none_of_ours() {
    in_guide(NGINX, || {
        let _servers = servers();
        let _fourth = server("dogwood");
        let old = Nginx::start(&block(BEFORE), TWO_PORTS);
        let before = servers_of(MANY, TWO_PORTS);
        drop(old);
        let mut text = block(BEFORE);
        for port in TWO_PORTS {
            let line = |host: u8| {
                format!("        server 10.77.0.{host}:{port} max_fails=1 fail_timeout=10s;\n")
            };
            text = changed(&text, &line(102), &(line(102) + &line(103)));
        }
        let old = Nginx::start(&text, TWO_PORTS);
        let after = servers_of(MANY, TWO_PORTS);
        let moved = before.iter().zip(&after).filter(|(was, is)| was != is);
        let moved = moved.count();
        println!("nginx: {moved} of {MANY} clients have another server");
        assert!(moved > MANY as usize / 2, "{moved} of {MANY}");
        drop(old);

        let mut proxy = tcpffee(AFTER);
        let before = servers_of(MANY, TWO_PORTS);
        let text = block(AFTER) + "\n[groups.3]\nname = \"dogwood\"\nportmap = \"10.77.0.103\"\n";
        proxy.write_config(&text);
        let answer = proxy.subcommand(&["reload"]);
        assert_eq!(answer.code, 0, "{}", answer.text);
        assert_eq!(servers_of(MANY, TWO_PORTS), before);
        let mut newcomers = NEWCOMERS..NEWCOMERS + MANY;
        assert!(newcomers.any(|client| server_of(client, TWO_PORTS) == "dogwood"));
    });
}

#[test]
fn a_consistent_hash_of_nginx_sends_clients_to_two_servers_on_two_ports() {
    in_guide(NGINX, || {
        let _servers = servers();
        let consistent = "hash $remote_addr consistent;";
        let text = changed(&block(BEFORE), "hash $remote_addr;", consistent);
        let _old = Nginx::start(&text, TWO_PORTS);
        let split = (0..MANY).filter(|client| ask(*client, 5280) != ask(*client, 5281));
        let split = split.count();
        println!("nginx, consistent: {split} of {MANY} clients have two servers");
        assert!(split > 0);
    });
}

#[test]
fn clients_of_nginx_go_back_to_a_server_that_is_back() {
    in_guide(NGINX, || {
        let mut servers = servers();
        let text = changed(&block(BEFORE), "fail_timeout=10s", "fail_timeout=1s");
        let _old = Nginx::start(&text, TWO_PORTS);
        let before = servers_of(CLIENTS, TWO_PORTS);
        assert_ne!(assert_leaves(&mut servers, TWO_PORTS), before);
        servers[0] = server("alder");
        let ask_all = |port: u16| -> Vec<Option<String>> {
            (0..CLIENTS).map(|client| ask(client, port)).collect()
        };
        let expected: Vec<Option<String>> = before.into_iter().map(Some).collect();
        for port in TWO_PORTS {
            eventually("all clients are back", || ask_all(*port) == expected);
        }
    });
}

#[test]
fn one_port_that_is_gone_splits_clients_of_nginx_and_none_here() {
    in_guide(NGINX, || {
        let _servers = ["birch", "cedar"].map(server);
        let _half = Backend::echo("alder", place("alder"), &[5281]);
        let old = Nginx::start(&block(BEFORE), TWO_PORTS);
        let split = (0..MANY).filter(|client| ask(*client, 5280) != ask(*client, 5281));
        assert!(split.count() > 0);
        drop(old);
        let proxy = tcpffee(AFTER);
        proxy.log.wait("alder is out", |line| {
            line.contains("(alder): Up -> Disabled")
        });
        let names = servers_of(MANY, TWO_PORTS);
        assert!(names.iter().all(|name| name != "alder"), "{names:?}");
    });
}
