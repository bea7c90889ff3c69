//! As much of mdoc as the pages use: sections, lists with their items, literal displays, and the
//! words of a macro line as a reader sees them.

use std::path::Path;

/// Macros that may stand within another one's line.
const CALLABLE: &[&str] = &[
    "Ar", "Cm", "Dv", "Ev", "Fl", "Ic", "Ns", "Op", "Pa", "Ql", "Sy",
];

/// A page's source.
#[derive(Debug)]
pub struct Page {
    lines: Vec<String>,
}

/// An item of a list: what stands at its head, and all lines up to the next item.
#[derive(Clone, Debug)]
pub struct Item {
    /// As a reader sees it.
    pub head: String,
    /// Lists within it included.
    pub body: Vec<String>,
}

impl Page {
    /// One of the pages in `man/`.
    pub fn read(name: &str) -> Page {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man").join(name);
        let source = std::fs::read_to_string(&path);
        Page::parse(&source.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    /// A page's source without its comments.
    pub fn parse(source: &str) -> Page {
        let lines = source.lines().filter(|line| !line.starts_with(".\\\""));
        Page {
            lines: lines.map(str::to_owned).collect(),
        }
    }

    /// The lines of a section, or of a subsection, up to the next one.
    pub fn section(&self, title: &str) -> Vec<String> {
        let is_title = |line: &str| {
            let name = line
                .strip_prefix(".Sh ")
                .or_else(|| line.strip_prefix(".Ss "));
            name == Some(title)
        };
        let begin = self.lines.iter().position(|line| is_title(line));
        let begin = begin.unwrap_or_else(|| panic!("the page has a section {title}"));
        let ends = |line: &&String| !line.starts_with(".Sh ") && !line.starts_with(".Ss ");
        let lines = self.lines[begin + 1..].iter().take_while(ends);
        lines.cloned().collect()
    }

    /// All lines.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// What the lines of one macro say.
    pub fn macros(&self, name: &str) -> Vec<String> {
        let lines = self.lines.iter().filter_map(|line| macro_of(line));
        let lines = lines.filter(|(found, _)| *found == name);
        lines.map(|(_, rest)| words(rest)).collect()
    }

    /// The literal displays: what a reader copies.
    pub fn displays(&self) -> Vec<String> {
        let mut displays = Vec::new();
        let mut open: Option<String> = None;
        for line in &self.lines {
            match (macro_of(line), &mut open) {
                (Some(("Bd", rest)), _) => {
                    assert!(rest.starts_with("-literal"), "{line}");
                    open = Some(String::new());
                }
                (Some(("Ed", _)), Some(_)) => displays.extend(open.take()),
                (_, Some(text)) => {
                    text.push_str(&plain(line));
                    text.push('\n');
                }
                _ => {}
            }
        }
        displays
    }

    /// The displays that are whole configurations.
    pub fn configurations(&self) -> Vec<String> {
        let mut displays = self.displays();
        displays.retain(|text| text.starts_with("# /etc/tcpffee/tcpffee.toml\n"));
        displays
    }
}

/// The items of the outermost lists among these lines.
pub fn items(lines: &[String]) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let mut depth = 0;
    for line in lines {
        match macro_of(line) {
            Some(("It", head)) if depth == 1 => {
                let head = words(head);
                let body = Vec::new();
                items.push(Item { head, body });
                continue;
            }
            Some(("Bl", _)) => depth += 1,
            Some(("El", _)) => depth -= 1,
            _ => {}
        }
        if depth > 0
            && let Some(item) = items.last_mut()
        {
            item.body.push(line.clone());
        }
    }
    items
}

/// The text of lines as a reader sees it, in one line.
pub fn text(lines: &[String]) -> String {
    let mut text = String::new();
    for line in lines {
        let said = match macro_of(line) {
            Some(("Bl" | "El" | "Pp" | "Bd" | "Ed", _)) => continue,
            Some((name, rest)) => words(&format!("{name} {rest}")),
            None => plain(line),
        };
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&said);
    }
    text
}

/// A macro line's name and arguments.
pub fn macro_of(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix('.')?;
    Some(line.split_once(' ').unwrap_or((line, "")))
}

/// A text without its escapes.
pub fn plain(text: &str) -> String {
    let pairs = [
        ("\\%", ""),
        ("\\(aq", "'"),
        ("\\(ga", "`"),
        ("\\(ti", "~"),
        ("\\(ha", "^"),
        ("\\(dq", "\""),
        ("\\-", "-"),
        ("\\e", "\\"),
    ];
    let mut text = text.to_owned();
    for (escape, meaning) in pairs {
        text = text.replace(escape, meaning);
    }
    text
}

/// The words of a macro line as a reader sees them: `Fl -limit Ar n` is `--limit n`.
pub fn words(line: &str) -> String {
    let mut shown = String::new();
    let mut attached = true; // to what stands before it
    let mut brackets = 0;
    let mut is_option = false;
    for (token, is_quoted) in tokens(line) {
        match token.as_str() {
            name if !is_quoted && CALLABLE.contains(&name) => {
                is_option = name == "Fl";
                match name {
                    "Ns" => attached = true,
                    "Op" => {
                        push(&mut shown, "[", attached);
                        brackets += 1;
                        attached = true;
                    }
                    _ => {}
                }
            }
            "," | "." | ":" | ";" if !is_quoted => {
                shown.push_str(&token);
                attached = false;
            }
            word => {
                let word = plain(word);
                let word = if is_option { format!("-{word}") } else { word };
                push(&mut shown, &word, attached);
                attached = false;
                is_option = false;
            }
        }
    }
    shown.push_str(&"]".repeat(brackets));
    shown
}

fn push(shown: &mut String, word: &str, attached: bool) {
    if !attached {
        shown.push(' ');
    }
    shown.push_str(word);
}

/// The arguments of a macro line, and whether they stood in quotes.
fn tokens(line: &str) -> Vec<(String, bool)> {
    let mut tokens = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (token, is_quoted, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (token, after) = quoted.split_once('"').unwrap_or((quoted, ""));
                (token, true, after)
            }
            None => {
                let (token, after) = rest.split_once(' ').unwrap_or((rest, ""));
                (token, false, after)
            }
        };
        tokens.push((token.to_owned(), is_quoted));
        rest = after.trim_start();
    }
    tokens
}

#[test]
fn words_are_those_that_a_reader_sees() {
    assert_eq!(
        words("Fl c Ar path , Fl -config Ar path"),
        "-c path, --config path"
    );
    assert_eq!(
        words("Op Fl -ip Ar address Ns Op / Ns Ar bits"),
        "[--ip address[/bits]]"
    );
    assert_eq!(words("Ic sticks remove Ar key"), "sticks remove key");
    assert_eq!(words("Sy \"a \\- b: Ar\""), "a - b: Ar");
}

#[test]
fn lists_within_items_stay_with_them() {
    let source = ".Bl -tag\n.It Ic a\none\n.Bl -tag\n.It b\ntwo\n.El\n.It c\nthree\n.El";
    let lines: Vec<String> = source.lines().map(str::to_owned).collect();
    let outer = items(&lines);
    let heads: Vec<&str> = outer.iter().map(|item| item.head.as_str()).collect();
    assert_eq!(heads, ["a", "c"]);
    assert_eq!(items(&outer[0].body)[0].head, "b");
    assert_eq!(text(&outer[1].body), "three");
}
