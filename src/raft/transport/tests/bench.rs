//! What proposals cost. Prints; asserts nothing but that they arrive.
//!
//! `cargo test -p tcpffee-raft --release -- --ignored --nocapture what_proposals_cost`

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::net::{Net, propose};
use crate::ids::NodeId;
use crate::transport::Received;
use crate::wire::proposal::{Answer, Outcome};
use crate::wire::tests::talk;

const PROPOSALS: u64 = 500_000;

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
#[ignore = "a measurement"]
fn what_proposals_cost() {
    for (name, keys) in [("clear", &[][..]), ("encrypted", &[talk::SECRET])] {
        for batch in [50, 500] {
            let mut net = Net::connected(2, |config| config.secrets = talk::secrets(keys));
            let (start, cpu) = (Instant::now(), thread_time());
            let (mut sent, mut answered) = (0, 0);
            while answered < PROPOSALS {
                if sent < PROPOSALS {
                    let run = (sent..sent + batch).map(|id| propose(id, &[7; 64]));
                    let run = run.collect();
                    let proposed = net.node(1).transport.propose(NodeId(2), run);
                    proposed.expect("there is room");
                    sent += batch;
                }
                net.turn();
                for one in std::mem::take(&mut net.node(2).received) {
                    if let Received::Propose {
                        connection,
                        proposals,
                        ..
                    } = one
                    {
                        let answers = proposals.into_iter().map(|one| Answer {
                            id: one.id,
                            outcome: Outcome::Applied(one.command.body.slice(..8)),
                        });
                        let sent = net.node(2).transport.answer(connection, answers.collect());
                        sent.expect("there is room");
                    }
                }
                for one in std::mem::take(&mut net.node(1).received) {
                    if let Received::Answers { answers, .. } = one {
                        answered += answers.len() as u64;
                    }
                }
            }
            let cpu = thread_time() - cpu;
            println!(
                "{name}, {batch} a turn: {:?} and {} ns CPU for each proposal of 64 bytes and its \
                 answer, both nodes and the kernel included; 50,000 per second are {:.1} % of a core",
                start.elapsed(),
                cpu.as_nanos() as u64 / PROPOSALS,
                cpu.as_secs_f64() / PROPOSALS as f64 * 50_000.0 * 100.0,
            );
        }
    }
}
