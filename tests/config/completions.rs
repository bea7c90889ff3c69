//! The shells' completions, written from the definition of the command line.
//!
//! The files are rewritten with `UPDATE_DOCS=1 cargo test --test config completions`.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory;
use clap_complete::Shell;
use tcpffee::cli::Arguments;

const FILES: [(Shell, &str); 3] = [
    (Shell::Bash, "tcpffee.bash"),
    (Shell::Zsh, "_tcpffee"),
    (Shell::Fish, "tcpffee.fish"),
];

fn path(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("packaging/completions").join(name)
}

#[test]
fn the_completions_are_those_of_the_command_line() {
    for (shell, name) in FILES {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut Arguments::command(), "tcpffee", &mut text);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path(name), &text).expect("the file can be written");
        }
        let written = std::fs::read(path(name)).unwrap_or_default();
        assert!(
            written == text,
            "packaging/completions/{name} differs from the command line; run UPDATE_DOCS=1 cargo \
             test --test config completions"
        );
    }
}

/// What bash offers for the last of these words.
fn bash_offers(words: &[&str]) -> Vec<String> {
    let script = r#"
        source "$1"; shift
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _tcpffee tcpffee "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}" 2>/dev/null
        printf '%s\n' "${COMPREPLY[@]}""#;
    let output = Command::new("bash")
        .args(["-c", script, "bash"])
        .arg(path("tcpffee.bash"))
        .args(words)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("bash is there");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(str::to_owned).collect()
}

#[test]
fn bash_offers_commands_options_and_files() {
    assert_eq!(bash_offers(&["tcpffee", "dr"]), ["drain"]);
    assert_eq!(bash_offers(&["tcpffee", "status", "--w"]), ["--watch"]);
    assert_eq!(bash_offers(&["tcpffee", "cluster", "fo"]), ["form"]);
    assert_eq!(
        bash_offers(&["tcpffee", "check", "--config", "tcpffee.to"]),
        ["tcpffee.toml"]
    );
    let all = bash_offers(&["tcpffee", ""]);
    for task in Arguments::command().get_subcommands() {
        assert!(all.iter().any(|word| word == task.get_name()), "{all:?}");
    }
}

/// A group's name is no file's.
#[test]
fn bash_offers_no_files_where_none_are_taken() {
    assert_eq!(
        bash_offers(&["tcpffee", "sticks", "--group", "tcpffee.to"]),
        ["tcpffee.to"]
    );
}
