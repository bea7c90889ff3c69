//! What a leader sends of its log: entries as they come, news of commits with them, and again what
//! was lost.

use crate::entry::Entry;
use crate::ids::{NodeId, Position};
use crate::message::{self, Message};
use crate::progress::{Flow, Progress};

use super::mutation::{self, Mutation};
use super::{Core, State};

impl Core {
    /// Sends what waits to every member whose life counts.
    pub(super) fn send_appends(&mut self) {
        let (now, commit) = (self.now, self.commit);
        let State::Leader(leading) = &mut self.state else {
            return;
        };
        leading.news_due = leading.news_due.filter(|due| now < *due);
        let ids: Vec<NodeId> = leading.progress.keys().copied().collect();
        for id in ids {
            while let Some(append) = self.next_append(id) {
                self.post(id, self.term, append);
            }
        }
        if let State::Leader(leading) = &mut self.state {
            let told = |progress: &Progress| progress.commit_told >= commit;
            leading.news_due = leading
                .news_due
                .filter(|_| !leading.progress.values().all(told));
        }
    }

    /// A commit is news to the others. What is proposed next tells them of it; where nothing is,
    /// they need not hear of it before whoever waits for its answer.
    pub(super) fn commit_is_news(&mut self) {
        let due = self.now.plus(self.settings.commit_news_ms);
        if let State::Leader(leading) = &mut self.state {
            leading.news_due.get_or_insert(due);
        }
    }

    /// The next append to a member; none where nothing waits or its window is full.
    fn next_append(&mut self, id: NodeId) -> Option<Message> {
        let (last, commit, now) = (self.log.last().index, self.commit, self.now);
        let settings = self.settings;
        let State::Leader(leading) = &self.state else {
            return None;
        };
        let news_waits = leading.news_due.is_some();
        let progress = leading.progress.get(&id)?;
        progress.life?;
        if !progress.has_room(settings.max_inflight_messages, settings.max_inflight_bytes) {
            return None;
        }
        let next = progress.next;
        let idle = next > last && (progress.commit_told >= commit || news_waits);
        if idle && matches!(progress.flow, Flow::Replicate { .. }) {
            return None;
        }
        let index = next.previous();
        let Some(term) = self.log.term_at(index) else {
            self.begin_shipping(id);
            return None;
        };
        let mut entries = self.log.slice(next, last, settings.max_append_bytes);
        entries.truncate(message::most_in_one_append(&entries));
        let bytes = entries.iter().map(Entry::size_bytes).sum();
        let end = entries.last().map_or(index, |entry| entry.index);
        let progress = self.progress_of(id)?;
        progress.commit_told = commit;
        progress.sent(end, bytes, now);
        Some(Message::Append {
            previous: Position { term, index },
            commit,
            entries,
        })
    }

    /// Begins anew where answers have not come for long: messages may be lost.
    pub(super) fn retry_stalled(&mut self) {
        let (now, last) = (self.now, self.log.last().index);
        let patience = self.settings.election_min_ms;
        let State::Leader(leading) = &mut self.state else {
            return;
        };
        if mutation::is(Mutation::RepeatsNothing) {
            return;
        }
        for progress in leading.progress.values_mut() {
            let stalled = now.since(progress.advanced) >= patience;
            match &progress.flow {
                Flow::Replicate { inflight }
                    if stalled && !inflight.is_empty() && progress.matched < last =>
                {
                    progress.probe(now);
                }
                Flow::Probe { waiting: true } if stalled => progress.probe_again(),
                _ => {}
            }
        }
        self.retry_shipping();
    }

    /// The connection to a member was lost, and what was on its way may be.
    pub fn unreachable(&mut self, peer: NodeId) {
        let now = self.now;
        if let Some(progress) = self.progress_of(peer)
            && matches!(progress.flow, Flow::Replicate { .. })
        {
            progress.probe(now);
        }
    }

    /// There is a connection to a member again: what waits for an answer is sent once more.
    pub fn reachable(&mut self, peer: NodeId) {
        if let Some(progress) = self.progress_of(peer) {
            progress.probe_again();
        }
    }
}
