//! What a configuration file may say, and what is said of one that is wrong.

use std::path::Path;
use std::time::Duration;

use tcpffee::config::{
    self, Config, Environment, FallAction, GroupId, HttpMethod, KeyType, Loaded, MacAddress,
    Problems,
};

/// The keys and values of the original project's example, in an order and with remarks of its own.
const ORIGINAL: &str = r#"
# Where clients come in.
bind_addr = "0.0.0.0"
ports = [ 5280, 5281, 5282 ]
expiration = 10 # seconds

# Everything else this process listens on, for itself only.
stats_bind_socket = "127.0.0.1:2340"
raft_healthchecks_logs_bind_socket="127.0.0.1:2341"
raft_stick_table_logs_bind_socket="127.0.0.1:2342"
raft_healthchecks_proposals_bind_socket="127.0.0.1:2343"
raft_stick_table_proposals_bind_socket="127.0.0.1:2344"

[groups.0] # one host, the ports as they are
portmap = "127.0.0.1"
drain = false
disabled = false

[groups.1]
portmap = "172.31.100.20"

[[groups.1.healthchecks]] # connects
fall = 3
fall_action = "Draining"
rise = 5
interval = 5
timeout = 1

[[groups.1.healthchecks]] # asks
interval = 5
fall_action = "Disabled"
http_target = "/health"
#http_headers = { Content-Type = "text/plain" }
http_method = "POST"
http_body = "Hello, World!"
http_status = 201

[groups.2] # a target for each port
[groups.2.portmap]
5280 = "172.31.100.198:5280"
5281 = "172.31.100.20:3487"
5282 = "172.31.100.3:5282"

[[ peers ]]
host = "hostname.domain"
mac_address = "00:00:00:00:00::01"

[[ peers ]]
host = "hostname.domain"
mac_address = "00:00:00:00:00::02"
"#;

const SMALLEST: &str = "ports = [5280]\nexpiration = 10\n[groups.0]\nportmap = \"127.0.0.11\"\n";

fn load(text: &str) -> Result<Loaded, Problems> {
    config::load(text, Path::new("tcpffee.toml"), &Environment::default())
}

fn good(text: &str) -> Config {
    load(text)
        .unwrap_or_else(|problems| panic!("{problems}\n--- in\n{text}"))
        .config
}

fn lines(problems: &[config::Problem]) -> Vec<String> {
    problems.iter().map(|problem| problem.to_string()).collect()
}

fn errors(text: &str) -> Vec<String> {
    let problems = load(text).expect_err(text);
    assert!(problems.error_count() > 0);
    lines(&problems.0)
}

fn warnings(text: &str) -> Vec<String> {
    lines(
        &load(text)
            .unwrap_or_else(|problems| panic!("{problems}"))
            .warnings,
    )
}

#[track_caller]
fn assert_only(found: &[String], expected: &str) {
    assert_eq!(found, [expected], "found {found:#?}");
}

#[test]
fn the_original_example_loads_as_it_stands() {
    let Loaded { config, warnings } = load(ORIGINAL).unwrap_or_else(|p| panic!("{p}"));
    assert_eq!(config.ports, [5280, 5281, 5282]);
    assert_eq!(config.expiration, Duration::from_secs(10));
    assert_eq!(config.stats_bind_socket.port(), 2340);
    assert_eq!(config.raft_sockets.stick_table_proposals.port(), 2344);

    let ids: Vec<GroupId> = config.groups.iter().map(|group| group.id).collect();
    assert_eq!(ids, [GroupId(0), GroupId(1), GroupId(2)]);
    assert_eq!(
        config.groups[0].targets[&5282].to_string(),
        "127.0.0.1:5282"
    );
    assert_eq!(
        config.groups[2].targets[&5281].to_string(),
        "172.31.100.20:3487"
    );

    let [tcp, http] = config.groups[1].healthchecks.as_slice() else {
        panic!("expected two checks: {:?}", config.groups[1].healthchecks);
    };
    assert_eq!((tcp.fall, tcp.rise), (3, 5));
    assert_eq!(tcp.timeout, Duration::from_secs(1));
    assert_eq!(tcp.http, None);
    assert_eq!(http.fall_action, FallAction::Disabled);
    assert_eq!(http.timeout, Duration::from_millis(2500));
    let http = http.http.as_ref().expect("http_ keys make an HTTP check");
    assert_eq!((http.method, http.status), (HttpMethod::Post, 201));
    assert_eq!(http.target, "/health");

    assert_eq!(config.peers[1].mac_address, MacAddress([0, 0, 0, 0, 0, 2]));
    let warnings = lines(&warnings);
    let has = |part: &str| warnings.iter().any(|warning| warning.contains(part));
    assert!(has("read as 00:00:00:00:00:01"), "{warnings:#?}");
    assert!(
        has("the cluster would not reach hostname.domain"),
        "{warnings:#?}"
    );
    assert!(
        !warnings.iter().any(|line| line.contains("health check")),
        "{warnings:#?}"
    );
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = good(SMALLEST);
    assert_eq!(
        config.bind_addrs,
        ["0.0.0.0".parse::<std::net::IpAddr>().unwrap()]
    );
    assert_eq!(config.connect_timeout, Duration::from_secs(5));
    assert_eq!(config.idle_timeout, None);
    assert_eq!(config.groups[0].weight, 1);
    assert_eq!(load(SMALLEST).unwrap().warnings, []);
}

#[test]
fn every_problem_of_a_file_is_reported_in_its_order() {
    let text = "\
ports = [5280, \"80-70\", 5280]
expiration = 0
wieght = 3
[groups.1]
  weight = 0
  drain = \"yes\"
[groups.x]
portmap = \"127.0.0.1\"
";
    let expected = [
        "tcpffee.toml:1:16: ports[1]: found \"80-70\", expected a port from 1 to 65535 or a range such as \"6000-6099\"",
        "tcpffee.toml:1:25: ports[2]: 5280 given before, in ports[0]; expected each port once",
        "tcpffee.toml:2:14: expiration: found 0, expected seconds as a number from 0.001 to 31536000",
        "tcpffee.toml:3:1: wieght: unknown key, did you mean \"groups.N.weight\"?",
        "tcpffee.toml:4:9: groups.1.portmap: not given, expected an IP address, a host name, or a table of ports",
        "tcpffee.toml:5:12: groups.1.weight: found 0, expected an integer from 1 to 1000000",
        "tcpffee.toml:6:11: groups.1.drain: found the string \"yes\", expected true or false",
        "tcpffee.toml:7:9: groups.x: expected a group's id, an integer from 0 to 4294967295, in place of \"x\"",
    ];
    assert_eq!(errors(text), expected);
}

#[test]
fn a_syntax_error_has_its_line_and_column() {
    let found = errors("ports = [5280]\nexpiration = = 10\n");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0].starts_with("tcpffee.toml:2:14: not TOML: "),
        "{found:#?}"
    );
    let found = errors("ports = [5280\nexpiration = 10\n[groups.0\n");
    let places: Vec<&str> = found
        .iter()
        .flat_map(|line| line.split(" not TOML").next())
        .collect();
    assert_eq!(
        places,
        ["tcpffee.toml:2:1:", "tcpffee.toml:3:1:"],
        "{found:#?}"
    );
    assert_only(
        &errors("ports = [1]\nports = [2]\n"),
        "tcpffee.toml:2:1: not TOML: duplicate key",
    );
}

#[test]
fn the_key_type_comes_from_the_environment() {
    let env = Environment {
        key_type: KeyType::IpWithFirstMessageSlice { start: 0, end: 8 },
        ..Environment::default()
    };
    let text = format!("first_message_ports = [5280]\n{SMALLEST}");
    let with = config::load(&text, Path::new("a.toml"), &env).unwrap();
    assert_eq!(lines(&with.warnings), [""; 0]);
    assert_eq!(with.config.first_message_ports, Some(vec![5280]));
    assert_only(
        &warnings(&text),
        "tcpffee.toml:1:23: warning: first_message_ports: without effect: TCPFFEE_KEY_TYPE is IP, \
         no slice of the first message is read",
    );
}
