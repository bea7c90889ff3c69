//! tcpffee(8) against the program: commands, options, variables, exit codes, ends of connections and
//! lines of the log.

use std::collections::BTreeSet;
use std::path::Path;

use clap::{Arg, Command, CommandFactory};
use tcpffee::cli::{Arguments, Exit};
use tcpffee::config::environment::VARIABLES;
use tcpffee::proxy::End;

use super::mdoc::{Item, items, macro_of, text, words};
use super::program_page;

fn command_line() -> Command {
    let mut command = Arguments::command();
    command.build();
    command
}

/// A command as the page has it: its words with what it must be given, and its options.
type Form = (String, Vec<String>);

/// The commands below one, each with its path, but for clap's own `help`.
fn forms(command: &Command, path: &str) -> Vec<Form> {
    let mut all = Vec::new();
    for task in command.get_subcommands() {
        if task.get_name() == "help" {
            continue;
        }
        let path = format!("{path} {}", task.get_name())
            .trim_start()
            .to_owned();
        // One that is only there for those below it is no command by itself.
        if !task.is_subcommand_required_set() {
            all.push((format!("{path}{}", positional(task)), options(task)));
        }
        all.extend(forms(task, &path));
    }
    all
}

fn positional(command: &Command) -> String {
    let names = command.get_positionals().map(value);
    names.map(|name| format!(" {name}")).collect()
}

fn options(command: &Command) -> Vec<String> {
    let own = command.get_opts().chain(flags(command));
    let own = own.filter(|arg| !arg.is_global_set() && !arg.is_positional());
    let mut options: Vec<String> = own.map(long).collect();
    options.sort();
    options
}

fn flags(command: &Command) -> impl Iterator<Item = &Arg> {
    let flags = command
        .get_arguments()
        .filter(|arg| !arg.is_positional() && !arg.get_action().takes_values());
    flags.filter(|arg| !["help", "version"].contains(&arg.get_id().as_str()))
}

/// `--limit n`
fn long(arg: &Arg) -> String {
    let name = arg.get_long().expect("every option has a long name");
    match arg.get_action().takes_values() {
        true => format!("--{name} {}", value(arg)),
        false => format!("--{name}"),
    }
}

fn value(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    names.join(" ").to_lowercase()
}

fn heads(items: &[Item]) -> Vec<&str> {
    items.iter().map(|item| item.head.as_str()).collect()
}

#[test]
fn every_command_and_its_options_are_described_and_no_others() {
    let mut found: Vec<Form> = items(&program_page().section("COMMANDS"))
        .iter()
        .map(|item| {
            let options = items(&item.body);
            let mut options: Vec<String> = heads(&options).iter().map(|&it| it.into()).collect();
            options.sort();
            (item.head.clone(), options)
        })
        .collect();
    let mut expected = forms(&command_line(), "");
    expected.push(("help [command]".to_owned(), Vec::new()));
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn the_synopsis_has_every_command_with_its_options() {
    let mut found: Vec<Form> = Vec::new();
    for line in program_page().section("SYNOPSIS") {
        let (name, rest) = macro_of(&line).expect("the synopsis is made of macros");
        match name {
            "Nm" => found.push((String::new(), Vec::new())),
            "Op" if rest.starts_with("Fl c") => assert_eq!(words(rest), "-c path"),
            "Op" if rest.starts_with("Cm") => found.last_mut().expect("after Nm").0 += &words(rest),
            "Op" => found.last_mut().expect("after Nm").1.push(words(rest)),
            "Cm" => found.last_mut().expect("after Nm").0 += &words(rest),
            _ => {
                let form = &mut found.last_mut().expect("after Nm").0;
                *form = format!("{form} {}", words(rest));
            }
        }
    }
    let mut found: Vec<Form> = found.into_iter().flat_map(alternatives).collect();
    let mut expected = forms(&command_line(), "");
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

/// `drain | enable group` is two commands.
fn alternatives((form, mut options): Form) -> Vec<Form> {
    options.sort();
    let Some((first, last)) = form.rsplit_once(" | ") else {
        return vec![(form, options)];
    };
    let (last, arguments) = last.split_once(' ').unwrap_or((last, ""));
    let names = first.split(" | ").chain([last]);
    let whole = |name: &str| format!("{name} {arguments}").trim_end().to_owned();
    names.map(|name| (whole(name), options.clone())).collect()
}

#[test]
fn the_options_of_every_command_are_described() {
    let described = items(&program_page().section("OPTIONS"));
    let expected: Vec<String> = command_line()
        .get_arguments()
        .map(|arg| {
            let short = arg.get_short().expect("these have a letter, too");
            let value = match arg.get_action().takes_values() {
                true => format!(" {}", value(arg)),
                false => String::new(),
            };
            let name = arg.get_long().expect("every option has a long name");
            format!("-{short}{value}, --{name}{value}")
        })
        .collect();
    assert_eq!(heads(&described), expected);
}

#[test]
fn every_variable_is_described_with_its_values_and_default() {
    let described = items(&program_page().section("ENVIRONMENT"));
    let names: Vec<&str> = VARIABLES.iter().map(|variable| variable.name).collect();
    assert_eq!(heads(&described), names);
    for (item, variable) in described.iter().zip(VARIABLES) {
        let rows: Vec<(String, String)> = items(&item.body)
            .iter()
            .map(|row| (row.head.clone(), text(&row.body)))
            .collect();
        let row = |name: &str, words: &str| (name.to_owned(), words.replace('`', ""));
        let expected = [
            row("Takes", variable.values),
            row("Default", variable.default),
        ];
        assert_eq!(rows, expected, "{}", variable.name);
    }
}

#[test]
fn every_exit_code_is_described() {
    let described = items(&program_page().section("EXIT STATUS"));
    let codes = Exit::ALL.iter().map(|exit| (*exit as u8).to_string());
    let expected: Vec<String> = codes.chain(["101".to_owned()]).collect();
    assert_eq!(heads(&described), expected);
}

#[test]
fn every_end_of_a_connection_is_described() {
    let described = items(&program_page().section("Lines of connections"));
    let expected: BTreeSet<&str> = End::ALL.iter().map(|end| end.as_str()).collect();
    assert_eq!(described.len(), expected.len());
    assert_eq!(BTreeSet::from_iter(heads(&described)), expected);
    assert!(described.iter().all(|item| !text(&item.body).is_empty()));
}

/// The program's source in one piece, with strings that go over several lines joined.
fn source() -> String {
    fn read(directory: &Path, into: &mut String) {
        let entries = std::fs::read_dir(directory).expect("the source can be listed");
        for entry in entries {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() {
                read(&path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                *into += &std::fs::read_to_string(&path).expect("source is text");
            }
        }
    }
    let mut text = String::new();
    read(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut text,
    );
    let mut joined = String::new();
    for (at, piece) in text.split("\\\n").enumerate() {
        joined += if at == 0 { piece } else { piece.trim_start() };
    }
    joined
}

/// What a line of the page quotes, without the words in capitals that stand for others.
fn fragments(quoted: &str) -> Vec<String> {
    let stands_for = |word: &str| {
        let letters = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        !letters.is_empty() && letters.chars().all(|c| c.is_ascii_uppercase())
    };
    let mut fragments = vec![String::new()];
    for word in quoted.split(' ') {
        match (stands_for(word), fragments.last_mut()) {
            (false, Some(last)) => *last = format!("{last} {word}").trim_start().to_owned(),
            _ => fragments.push(String::new()),
        }
    }
    // What joins two parts of a line belongs to neither.
    for fragment in &mut fragments {
        *fragment = fragment.trim_matches([':', ';', ',']).to_owned();
    }
    fragments.retain(|fragment| fragment.len() > 3);
    fragments
}

#[test]
fn what_the_page_quotes_is_what_the_program_says() {
    let source = source();
    let sections = [
        "Why it does not start",
        "When it runs",
        "What the health says",
    ];
    for section in sections {
        let quoted = items(&program_page().section(section));
        assert!(quoted.len() > 3, "{section}");
        for item in quoted {
            let fragments = fragments(&item.head);
            assert!(!fragments.is_empty(), "{}", item.head);
            for fragment in fragments {
                assert!(source.contains(&fragment), "nothing says {fragment:?}");
            }
        }
    }
}
