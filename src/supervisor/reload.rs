//! A reload: the new file is put in force as a whole, or nothing changes and it is said why.

use std::sync::Arc;

use super::{Supervisor, answer, host_names, look_up_names};
use crate::config::{self, Change, Config};
use crate::control::Reply;
use crate::counted::counted;
use crate::history::Kind;
use crate::operator;
use crate::proxy;

impl Supervisor {
    /// Reads the file again, and says what came of it to everybody who wants to know.
    pub(super) fn reload(&mut self, reply: Option<Reply>) {
        self.service.reloading();
        let said = operator::words(&self.proxy.generation().groups);
        match self.try_reload() {
            Ok(mut changes) => {
                let number = self.proxy.generation().number;
                let summary = match changes.len() {
                    0 => "configuration read again: nothing has changed".to_owned(),
                    count => {
                        format!(
                            "configuration reloaded: {}, generation {number}",
                            counted(count as u64, "change")
                        )
                    }
                };
                self.sources.note_reload(Ok(&changes));
                changes.extend(said);
                log::info!("{summary}");
                self.note_reload(false, &summary, &changes);
                for change in &changes {
                    log::info!("  {change}");
                }
                // Before the answer: who has asked by `systemctl reload` finds the new status.
                self.service.ready(&summary);
                if let Some(reply) = reply {
                    reply.done(summary, changes);
                }
            }
            Err(reasons) => {
                // Names that only the refused file has are not looked up any more.
                self.names
                    .retain(&host_names(&self.proxy.generation().config));
                let summary = "reload refused; the running configuration stays as it is";
                log::error!("{summary}");
                self.sources.note_reload(Err(&reasons));
                self.note_reload(true, summary, &reasons);
                for reason in &reasons {
                    log::error!("  {reason}");
                }
                self.service
                    .ready(&format!("{summary}: {}", reasons.join("; ")));
                if let Some(reply) = reply {
                    reply.failed(summary, reasons);
                }
            }
        }
    }

    fn note_reload(&self, is_refused: bool, summary: &str, lines: &[String]) {
        let text = match lines {
            [] => summary.to_owned(),
            lines => format!("{summary}: {}", lines.join("; ")),
        };
        self.history.note(Kind::Reload, is_refused, text);
    }

    /// Reads and applies the file; the lines say what changed, or all that speaks against it.
    fn try_reload(&mut self) -> Result<Vec<String>, Vec<String>> {
        let Some(path) = &self.config_path else {
            return Err(vec![
                "the configuration is built in; there is no file to read".to_owned(),
            ]);
        };
        let loaded = config::read(path, &self.environment)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        // The environment's warnings were told at the start.
        for warning in &loaded.warnings {
            if !self.environment.warnings.contains(warning) {
                log::warn!("{warning}");
            }
        }
        let new = loaded.config;
        let changes = config::diff(&self.proxy.generation().config, &new);
        if !changes.needs_restart.is_empty() {
            let say = |change| format!("{change}: needs a restart");
            return Err(changes.needs_restart.iter().map(say).collect());
        }
        let changed = changes.changed.iter();
        let lines: Vec<String> = changed.map(|change| told(change, &new)).collect();
        self.sticking.check(&self.proxy.generation().config, &new)?;
        if lines.is_empty() {
            operator::forget_words(&self.proxy);
            // The secret's file may say something else.
            self.sticking.adopt(&new);
            return Ok(lines);
        }
        look_up_names(&self.names, &new);
        let names = Arc::clone(&self.names);
        let in_force = new.clone();
        let used = host_names(&new);
        let change = self.health.change_to(&new);
        let checks = proxy::Health {
            of: &|id| change.plan().status(id),
            descriptors: change.descriptors(),
        };
        self.proxy
            .reload(new, checks, &|host| answer(&names, host))
            .map_err(|error| vec![error.to_string()])?;
        change.adopt();
        self.sticking.adopt(&in_force);
        self.names.retain(&used);
        Ok(lines)
    }
}

/// A change in words, with what it means to a node of a cluster.
fn told(change: &Change, config: &Config) -> String {
    match change.key == "accept_proxy_from" && !config.peers.is_empty() {
        true => format!(
            "{change}; it must be the same on all nodes: until more than half of them have it, this \
             one serves nobody"
        ),
        false => change.to_string(),
    }
}
