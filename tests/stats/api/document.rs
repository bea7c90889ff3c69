//! Answers against the OpenAPI document.

use std::process::Command;

use serde_json::Value;

use crate::api::{PORT, keys, scene};
use crate::support::http::{self, Answer};
use crate::support::{Proxy, client, eventually, long, scaled};

/// The schema of an answer, with the components that it refers to.
fn schema(document: &Value, path: &str, answer: &Answer) -> Option<Value> {
    let content_type = answer.header("content-type");
    let response = &document["paths"][path]["get"]["responses"][answer.status.to_string()];
    let mut schema = response["content"].get(content_type)?["schema"].clone();
    schema
        .as_object_mut()?
        .insert("components".to_owned(), document["components"].clone());
    Some(schema)
}

#[test]
fn every_documented_path_answers_as_the_document_says() {
    let (fleet, _ward, settings) = scene();
    let mut proxy = Proxy::start(&settings);
    let server = proxy.statistics();
    for client in 0..5 {
        fleet.served_by(client, PORT);
    }
    let (_, _open) = client::greet(fleet.block.client(9), fleet.listener(PORT)).unwrap();
    proxy.reload(&settings.clone().set("workers", 7));
    eventually("a check was made", || {
        let checks = http::json(server, "/api/v1/healthchecks");
        !checks[0]["targets"][0]["last_result"].is_null()
    });
    let document = http::json(server, "/spec/v1/");
    let paths = keys(&document["paths"]);
    for path in &paths {
        let concrete = path
            .replace("{id}", "1")
            .replace("{key}", &fleet.block.client(9).to_string());
        for (target, status) in [
            (concrete.clone(), 200),
            (format!("{concrete}?nonsense=1"), 400),
            (
                path.replace("{id}", "77").replace("{key}", "192.0.2.1"),
                404,
            ),
        ] {
            if status == 404 && target == *path {
                continue;
            }
            let answer = http::get(server, &target);
            assert_eq!(answer.status, status, "{target}");
            let schema = schema(&document, path, &answer);
            let schema = schema.unwrap_or_else(|| panic!("{target}: {status} is not documented"));
            let validator = jsonschema::validator_for(&schema).unwrap();
            let value = match answer.header("content-type").starts_with("text/") {
                true => Value::String(answer.text()),
                false => answer.json(),
            };
            let errors: Vec<String> = validator
                .iter_errors(&value)
                .map(|error| error.to_string())
                .collect();
            assert!(errors.is_empty(), "{target}: {errors:?} in {value}");
        }
    }
    // Nothing that is answered is left out of the document.
    let overview = http::json(server, "/api/v1/");
    let documented = keys(&document["components"]["schemas"]["Overview"]["properties"]);
    assert_eq!(keys(&overview), documented);
}

/// Where `.ci/packages` installs it.
const SCHEMATHESIS: &str = "target/schemathesis/bin/schemathesis";

#[test]
fn schemathesis_finds_nothing() {
    let program = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(SCHEMATHESIS);
    if !program.is_file() {
        let missing = format!("{} is missing: .ci/packages installs it", program.display());
        assert!(
            std::env::var_os("TESTS_NEED_PROGRAMS").is_none(),
            "{missing}"
        );
        println!("SKIPPED: {missing}");
        eprintln!("SKIPPED: {missing}");
        return;
    }
    let (fleet, _ward, settings) = scene();
    let proxy = Proxy::start(&settings);
    for client in 0..5 {
        fleet.served_by(client, PORT);
    }
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("timeout");
    command
        .args(["--kill-after=5", scaled("120", "900")])
        .arg(&program)
        .args(["run", &format!("http://{}/spec/v1/", proxy.statistics())])
        .args([
            "--checks",
            "all",
            "--max-examples",
            "10",
            "--no-color",
            "--max-time",
            scaled("60", "600"),
        ])
        // Everyday runs ask the same each time, and are done before their time is over; the others
        // also follow links for as long as they may.
        .args([
            "--phases",
            scaled(
                "examples,coverage,fuzzing",
                "examples,coverage,fuzzing,stateful",
            ),
        ])
        .args(match long() {
            true => &[][..],
            false => &["--seed", "1"],
        })
        // Addresses and keys have more rules than a schema can say.
        .args(["--exclude-checks", "positive_data_acceptance"])
        .current_dir(directory.path());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    println!("{text}");
}
