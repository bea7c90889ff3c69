//! What operators order by command: `tcpffee drain`, `disable`, `enable` and `sticks remove`.
//!
//! A group's status that an operator sets is held beside the one that the file states
//! ([`OperatorWord`](crate::groups::OperatorWord)), and goes the way of one that a health check
//! sets: one line in the log, `on_disabled` and `drain_timeout` applied. The next successful reload
//! forgets it.

use log::Level;

use crate::config::{self, GroupId};
use crate::groups::{Group, Groups, Status, operators_reason};
use crate::proxy::{Generation, Proxy};
use crate::stick::{EntryView, Key};

/// Groups that an answer lists at most.
const MAX_LISTED: usize = 20;

/// What an operator orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// A group is to have this status; `Up` takes back what the file and operators said.
    SetStatus {
        /// The group's id, or its name.
        group: String,
        /// The status.
        status: Status,
    },
    /// An entry of the stick table is to go.
    RemoveStick {
        /// Its key, as the table is shown.
        key: String,
    },
}

/// As the command line has it.
impl std::fmt::Display for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Order::SetStatus { group, status } => {
                let word = match status {
                    Status::Up => "enable",
                    Status::Draining => "drain",
                    Status::Disabled => "disable",
                };
                write!(f, "{word} {group}")
            }
            Order::RemoveStick { key } => write!(f, "sticks remove {key}"),
        }
    }
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What was and what is, in one sentence.
    pub text: String,
    /// What else the operator should know.
    pub lines: Vec<String>,
}

/// Sets a group's status, until the next reload. `settle` waits a little until it has taken effect
/// wherever others have a say.
///
/// # Errors
/// When it is not clear which group is meant.
pub fn set_status(
    proxy: &Proxy,
    wanted: &str,
    asked: Status,
    settle: impl FnOnce(),
) -> Result<Done, String> {
    let generation = proxy.generation();
    let group = find(&generation.groups, wanted)?;
    // Where the file does not keep the group out, there is nothing to be said against it.
    let word = match asked {
        Status::Up if group.configured() == Status::Up => None,
        asked => Some(asked),
    };
    let before = group.status();
    let is_news = group.operator.get() != word;
    if is_news {
        group.operator.set(word);
        let cause = operators_reason(asked);
        proxy.statuses().review(group.id, cause, Level::Info);
        settle();
    }
    let text = told(group, before, is_news);
    let lines = remarks(&generation, group, asked);
    Ok(Done { text, lines })
}

/// The group of this id or name.
///
/// # Errors
/// When there is none, or more than one.
pub fn find<'g>(groups: &'g Groups, wanted: &str) -> Result<&'g Group, String> {
    let id = wanted.parse().ok().map(GroupId);
    if let Some(group) = id.and_then(|id| groups.get(id)) {
        return Ok(group);
    }
    let named = |group: &&Group| group.name.as_deref() == Some(wanted);
    let found: Vec<&Group> = groups.iter().filter(named).collect();
    match found[..] {
        [group] => Ok(group),
        [] => Err(format!(
            "there is no group {wanted:?}; groups are {}",
            listed(groups.iter())
        )),
        _ => Err(format!(
            "more than one group is called {wanted:?}: {}; give the id of the one that is meant",
            listed(found.into_iter())
        )),
    }
}

/// `0 (alder), 1 (birch)`.
fn listed<'g>(groups: impl ExactSizeIterator<Item = &'g Group>) -> String {
    let left_out = groups.len().saturating_sub(MAX_LISTED);
    let mut names: Vec<String> = groups
        .take(MAX_LISTED)
        .map(|group| match &group.name {
            Some(name) => format!("{} ({name})", group.id),
            None => group.id.to_string(),
        })
        .collect();
    if left_out > 0 {
        names.push(format!("and {left_out} more"));
    }
    names.join(", ")
}

/// What was, and what is.
fn told(group: &Group, before: Status, is_news: bool) -> String {
    let (title, now, reason) = (group.title(), group.status(), group.reason());
    let why = match &*reason {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    match is_news {
        false => format!("nothing has changed: {title} is {now}{why}"),
        true if before == now => format!("{title} stays {now}{why}"),
        true => format!("{title}: {before} -> {now}"),
    }
}

/// What the operator should know besides.
fn remarks(generation: &Generation, group: &Group, asked: Status) -> Vec<String> {
    let mut lines = Vec::new();
    let (found, why) = group.health.with_reason();
    if found > group.stated() {
        lines.push(format!(
            "warning: a health check keeps it {found} all the same ({why}); it becomes {} when \
             the check passes",
            group.stated()
        ));
    }
    if group.stated() > asked {
        lines.push(format!(
            "warning: the configuration keeps it {}; `tcpffee enable {}` takes that back",
            group.stated(),
            group.id
        ));
    }
    if group.operator.get().is_some() {
        lines.push("this is kept until the next reload or restart".to_owned());
    }
    if asked != Status::Up
        && let Some(warning) = without_takers(generation)
    {
        log::warn!("{warning}");
        lines.push(format!("warning: {warning}"));
    }
    lines
}

/// What to say where there are ports on which no group takes new keys.
fn without_takers(generation: &Generation) -> Option<String> {
    let all = &generation.config.ports;
    let ports = generation.groups.unserved(all);
    match ports.len() {
        0 => None,
        count if count == all.len() => Some(
            "no group takes new keys any more: clients without a valid stick are refused"
                .to_owned(),
        ),
        _ => Some(format!(
            "no group takes new keys on ports {} any more: clients without a valid stick are \
             refused there",
            config::show_ports(ports)
        )),
    }
}

/// What a reload makes void: one line for each group of which an operator has said something.
pub fn words(groups: &Groups) -> Vec<String> {
    let said = groups.iter().filter_map(|group| {
        let said = group.operator.get()?;
        let title = group.title();
        Some(format!("{title} is no longer {}", operators_reason(said)))
    });
    said.collect()
}

/// Forgets what operators have said, where a reload changes nothing else.
pub fn forget_words(proxy: &Proxy) {
    for group in proxy.generation().groups.iter() {
        if let Some(said) = group.operator.get() {
            group.operator.set(None);
            let cause = format!("no longer {}: a reload", operators_reason(said));
            proxy.statuses().review(group.id, &cause, Level::Info);
        }
    }
}

/// Takes an entry out of the stick table.
///
/// # Errors
/// When the text is no key, the table has no such entry, or it cannot be removed.
pub fn remove_stick(
    generation: &Generation,
    text: &str,
    remove: impl FnOnce(Key) -> Result<Option<EntryView>, String>,
) -> Result<Done, String> {
    let key = Key::parse(text).map_err(|error| error.to_string())?;
    let key = key.cut_to(generation.config.key_ipv6_prefix);
    let shown = (key.as_ref().to_string(), key.ip);
    let Some(removed) = remove(key)? else {
        return Err(format!(
            "no stick entry has the key {}; `tcpffee sticks --ip {}` shows those of its address",
            shown.0, shown.1
        ));
    };
    let text = removal(&removed, generation);
    log::info!("{text}");
    let stay = match removed.connections {
        0 => Vec::new(),
        1 => vec!["1 open connection stays where it is".to_owned()],
        count => vec![format!("{count} open connections stay where they are")],
    };
    Ok(Done { text, lines: stay })
}

fn removal(removed: &EntryView, generation: &Generation) -> String {
    let group = match generation.groups.get(removed.group) {
        Some(group) => group.title(),
        None => format!("group {}, which is not configured any more", removed.group),
    };
    format!(
        "{} is removed from the stick table; it belonged to {group}",
        removed.key.as_ref()
    )
}
