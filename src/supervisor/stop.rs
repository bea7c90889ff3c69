//! The end in order: clients are let go, then what is known is saved.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::{Sticking, Supervisor};
use crate::control::{self, Reply};
use crate::counted::counted;
use crate::events::Event;
use crate::history::Kind;
use crate::proxy::End;
use crate::service::{EXTEND_EVERY, STEP_LIMIT};

/// Between looks whether everything has ended, while stopping.
const STOP_POLL: Duration = Duration::from_millis(20);
/// How long workers get to close what was cut.
const CUT_PATIENCE: Duration = Duration::from_secs(2);
/// The exit code of the process, and of `tcpffee stop`, when connections were cut.
pub const EXIT_CONNECTIONS_CUT: u8 = 5;

impl Supervisor {
    /// Ends in order: no new clients, `shutdown_grace` for open connections, the table saved. The
    /// exit code that tells how.
    pub(super) fn stop(self, reply: Option<Reply>, events: &Receiver<Event>) -> u8 {
        let grace = self.proxy.generation().config.shutdown_grace;
        self.proxy.stop_accepting();
        let open = counted(self.proxy.connections() as u64, "open connection");
        let text = format!(
            "stopping: up to {} s for {open}; a second signal ends at once",
            grace.as_secs_f64()
        );
        log::info!("{text}");
        self.service.stopping(&text);
        self.history.note(Kind::Process, false, &*text);
        let mut replies: Vec<Reply> = reply.into_iter().collect();
        for reply in &replies {
            reply.progress(text.clone());
        }
        let is_quiet = self.await_quiet(grace, events, &mut replies);
        // What follows is bounded step by step: this loop has ended.
        let _ended = self.pulse.excuse(Duration::MAX);
        let progress = self.service.extend(STEP_LIMIT);
        let before = self.proxy.view().ended(End::Shutdown);
        if !is_quiet {
            progress.step("stopping: cutting connections");
            self.proxy.cut_all(End::Shutdown);
            self.await_closed();
        }
        let cut = self.proxy.view().ended(End::Shutdown) - before;
        self.log_totals();
        progress.step("stopping: saving the states of health checks");
        let states_saved = self.health.stop();
        self.proxy.quit();
        progress.step(match &self.sticking {
            Sticking::Lone { .. } => "stopping: saving the stick table",
            Sticking::Agreed(_) => "stopping: leaving the cluster's leadership to others",
        });
        let table_saved = self.sticking.stop();
        drop(self.path_lock);
        drop(self.statistics);
        drop(progress);
        drop(self.watchdog);
        let mut text = match cut {
            0 => "stopped: every connection had ended".to_owned(),
            cut => format!("stopped: {} cut", counted(cut, "connection")),
        };
        log::info!("{text}");
        let mut exit = if cut == 0 { 0 } else { EXIT_CONNECTIONS_CUT };
        let failures = [
            table_saved.err().map(|error| error.to_string()),
            states_saved.err().map(|error| error.to_string()),
        ];
        for error in failures.into_iter().flatten() {
            log::error!("{error}");
            text = format!("{text}; {error}");
            exit = control::EXIT_FAILED;
        }
        self.service.status(&text);
        for reply in replies {
            reply.done_but(exit, text.clone(), Vec::new());
        }
        exit
    }

    /// Waits until nothing is open; false where the time was over, or a signal to stop came, first.
    /// Who asks to stop meanwhile is added to `replies`.
    fn await_quiet(
        &self,
        grace: Duration,
        events: &Receiver<Event>,
        replies: &mut Vec<Reply>,
    ) -> bool {
        let deadline = Instant::now() + grace;
        let mut next_word = Instant::now();
        while !self.proxy.is_quiet() {
            self.pulse.beat();
            let now = Instant::now();
            if now >= deadline {
                return false;
            }
            if now >= next_word {
                next_word = now + EXTEND_EVERY;
                self.say_how_stopping_stands(deadline - now);
            }
            match events.recv_timeout(STOP_POLL) {
                // Who asks by command waits with the first; only a signal is impatience.
                Ok(Event::Stop(Some(reply))) => replies.push(reply),
                Ok(Event::Stop(None)) => {
                    log::warn!("told to stop a second time: ending at once");
                    return false;
                }
                Ok(
                    Event::Reload(Some(reply))
                    | Event::ClusterForm { reply, .. }
                    | Event::Operator { reply, .. },
                ) => {
                    reply.failed("the process is stopping", Vec::new());
                }
                Ok(Event::Reload(None) | Event::NamesChanged) => {}
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(STOP_POLL),
            }
        }
        true
    }

    /// No longer than `shutdown_grace`, as the loop ends with it.
    fn say_how_stopping_stands(&self, left: Duration) {
        let left_s = left.as_secs_f64().ceil();
        let text = match self.proxy.connections() {
            0 => "stopping: no open connections, the listeners end".to_owned(),
            count => {
                let open = counted(count as u64, "open connection");
                format!("stopping: {open}, cut in {left_s} s unless they end before")
            }
        };
        self.service.goes_on(&text);
    }

    fn await_closed(&self) {
        let deadline = Instant::now() + CUT_PATIENCE;
        while self.proxy.connections() > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn log_totals(&self) {
        let view = self.proxy.view();
        let totals = view.totals();
        let ends: Vec<String> = End::ALL
            .iter()
            .zip(view.ends())
            .filter(|&(_, count)| count > 0)
            .map(|(end, count)| format!("{end}={count}"))
            .collect();
        log::info!(
            "{} connections served, {} bytes in, {} bytes out; {}",
            totals.accepted,
            totals.bytes_in,
            totals.bytes_out,
            if ends.is_empty() {
                "none ended".to_owned()
            } else {
                ends.join(" ")
            },
        );
        log::info!(
            "{} accept pauses, {} late key slices, {} failed connects, {} moves to another group, \
             {} turns at the bound on held bytes",
            totals.accept_pauses,
            totals.slice_timeouts,
            totals.connect_failures,
            totals.moves,
            totals.buffer_pressure,
        );
    }
}
