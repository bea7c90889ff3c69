//! Files that nobody means to write: garbage, pieces of files, files made to hurt.

use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tcpffee::config::{self, Environment, Loaded, Place, Problems};

const EXAMPLE: &str = include_str!("../../tcpffee.toml");

fn load(text: &str) -> Result<Loaded, Problems> {
    config::load(text, Path::new("a.toml"), &Environment::default())
}

/// Success, or problems that can be shown and of which every one has its place.
fn assert_answered(text: &str) {
    let Err(problems) = load(text) else {
        return;
    };
    assert!(problems.error_count() > 0);
    let lines = text.lines().count().max(1);
    for problem in problems.iter() {
        let shown = problem.to_string();
        assert!(shown.starts_with("a.toml:"), "{shown}");
        assert!(!shown.contains('\n'), "{shown}");
        match &problem.place {
            Place::Position { line, column, .. } => {
                assert!((1..=lines + 1).contains(line), "{shown}");
                assert!(*column >= 1, "{shown}");
            }
            Place::File(_) => {}
            Place::Environment => panic!("{shown}"),
        }
    }
}

/// What a test on a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(180);

#[test]
fn the_example_cut_anywhere_is_answered() {
    for at in (0..EXAMPLE.len()).filter(|at| EXAMPLE.is_char_boundary(*at)) {
        assert_answered(&EXAMPLE[..at]);
    }
}

#[test]
fn the_example_with_a_byte_missing_is_answered() {
    for at in 0..EXAMPLE.len() - 1 {
        if EXAMPLE.is_char_boundary(at) && EXAMPLE.is_char_boundary(at + 1) {
            assert_answered(&format!("{}{}", &EXAMPLE[..at], &EXAMPLE[at + 1..]));
        }
    }
}

#[test]
fn deep_nesting_is_answered() {
    let deep = 200_000;
    for text in [
        format!("a = {}1{}", "[".repeat(deep), "]".repeat(deep)),
        format!("a = {}1{}", "{a=".repeat(deep), "}".repeat(deep)),
        format!("a{} = 1", ".a".repeat(deep)),
        format!("[a{}]", ".a".repeat(deep)),
        format!("[[a{}]]", ".a".repeat(deep)),
        format!("a = {{ a{} = 1 }}", ".a".repeat(deep)),
        "[".repeat(deep),
        "[a]\n".repeat(deep / 10),
    ] {
        assert_answered(&text);
    }
}

#[test]
fn large_files_are_answered_soon() {
    let start = Instant::now();
    let full = config::MAX_FILE_BYTES as usize;
    let numbered = |line: &dyn Fn(usize) -> String| {
        let mut text = String::new();
        for at in 0.. {
            let line = line(at);
            if text.len() + line.len() > full {
                return text;
            }
            text += &line;
        }
        text
    };
    for text in [
        numbered(&|at| format!("unknown_{at} = 1\n")),
        numbered(&|at| format!("[groups.{at}]\nportmap = \"127.0.0.1\"\n")),
        numbered(&|_| "\"".to_owned()),
        format!("ports = [{}]", "1,".repeat(full / 2 - 10)),
        format!("ports = [{}]", "\"1-65535\",".repeat(100)),
    ] {
        assert_answered(&text);
    }
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
}

/// Pieces that a configuration is made of, to be put together wrongly.
const PIECES: &[&str] = &[
    "ports",
    "bind_addr",
    "expiration",
    "groups",
    "portmap",
    "peers",
    "healthchecks",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "\n",
    "\"",
    "'",
    "#",
    "0",
    "1",
    "-1",
    "1e400",
    "nan",
    "5280",
    "65536",
    "\"6000-6099\"",
    "\"127.0.0.1\"",
    "\"::\"",
    "true",
    "[groups.0]\n",
    "[[groups.0.healthchecks]]\n",
    "[[peers]]\n",
    "weight = 1\n",
    "ports = [1]\n",
    "expiration = 1\n",
    "portmap = \"::1\"\n",
    "\u{feff}",
    "\0",
    "é",
    "\r",
];

proptest! {
    #[test]
    fn any_text_is_answered(text in any::<String>()) {
        assert_answered(&text);
    }

    #[test]
    fn any_pieces_are_answered(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)
    ) {
        assert_answered(&pieces.concat());
        assert_answered(&pieces.join(" "));
    }

    #[test]
    fn any_value_of_any_key_is_answered(
        at in any::<prop::sample::Index>(),
        value in prop::sample::select(vec![
            "0", "-1", "1.5", "nan", "inf", "-inf", "1e300", "true", "\"\"", "\"x\"", "[]", "{}",
            "99999999999999999999999999999999999999999", "[1]", "[[1]]", "{a=1}", "1979-05-27",
            "\"\\u0000\"", "[\"::\", 1, 2.5, [], {}]", "0xff", "{ 5280 = 1, x = \"y\" }",
        ])
    ) {
        let settings: Vec<usize> = EXAMPLE
            .lines()
            .enumerate()
            .filter(|(_, line)| line.contains(" = ") && !line.starts_with("# "))
            .map(|(number, _)| number)
            .collect();
        let chosen = settings[at.index(settings.len())];
        let changed: Vec<String> = EXAMPLE
            .lines()
            .enumerate()
            .map(|(number, line)| {
                let line = line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line);
                match line.split_once(" = ") {
                    Some((name, _)) if number == chosen => format!("{name} = {value}"),
                    _ => line.to_owned(),
                }
            })
            .collect();
        assert_answered(&changed.join("\n"));
    }
}

#[test]
fn only_a_smaller_readable_text_file_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.toml");
    let read = || {
        let problems = config::read(&path, &Environment::default()).expect_err("a bad file");
        problems.to_string()
    };
    let begin = format!("{}: error: ", path.display());
    let assert_says = |part: &str| {
        let said = read();
        assert!(said.starts_with(&begin), "{said}");
        assert!(said.contains(part), "{said}");
    };

    assert_says("there is no such file");
    std::fs::write(&path, "").unwrap();
    assert_says("is empty");
    std::fs::write(&path, " \n\t\n").unwrap();
    assert_says("is empty");
    std::fs::write(&path, b"ports = [1]\nname = \"\xff\"\n").unwrap();
    assert_says("is not UTF-8 text: invalid byte in line 2");
    std::fs::write(&path, "#".repeat(10 << 20)).unwrap();
    assert_says("is larger than 4 MiB");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert_says("is a directory");
    std::fs::remove_dir(&path).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    assert_says("is a pipe");

    let endless = config::read(Path::new("/dev/zero"), &Environment::default());
    assert!(
        endless
            .expect_err("an endless file")
            .to_string()
            .contains("larger than 4 MiB")
    );
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_read() {
    let text = format!("\u{feff}{}", EXAMPLE.replace('\n', "\r\n"));
    assert!(load(&text).is_ok(), "{:?}", load(&text));
}
