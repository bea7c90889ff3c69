//! `tcpffee cluster form`, over the Raft groups of this process.

use tcpffee_raft::forming::{Ask, Operator, Report};
use tcpffee_raft::ids::{ClusterId, NodeId};

use crate::control::Reply;

/// One Raft group of this process.
pub struct RaftGroup<'a> {
    /// What humans call it: `stick table`, `health checks`.
    pub name: &'static str,
    /// What forms its cluster.
    pub operator: &'a mut dyn Operator,
    /// The hosts of its peers, for humans who do not know them by their MAC addresses.
    pub hosts: Vec<(NodeId, String)>,
}

/// Says what forming a cluster by hand would do in each of the Raft groups and what would be
/// lost; does it where `yes` says so. A node without any runs alone.
pub fn form(groups: &mut [RaftGroup<'_>], yes: bool, reply: Reply) {
    if groups.is_empty() {
        let text = "this node runs alone, so there is no cluster to form";
        reply.failed(text, Vec::new());
        return;
    }
    let mut lines = Vec::new();
    let (mut possible, mut ordered, mut silent) = (0, 0, 0);
    for group in groups {
        let report = group.ask(yes);
        let (heading, particulars) = match report {
            Report::Possible(plan) => {
                possible += 1;
                ("would be formed here", plan.lines())
            }
            Report::Ordered(plan) => {
                ordered += 1;
                ("is being formed here", plan.lines())
            }
            Report::Refused(plan) => ("is not to be formed here", plan.lines()),
            Report::Silent(reason) => {
                silent += 1;
                ("gave no answer", vec![reason])
            }
        };
        lines.push(format!("{}: {heading}", group.name));
        lines.extend(particulars.iter().map(|line| group.with_hosts(line)));
    }
    match (ordered, possible) {
        (0, 0) => {
            log::info!("`cluster form`: there is nothing to form here");
            reply.failed("there is nothing to form here", lines);
        }
        (0, _) => {
            let text = "nothing is changed yet; `tcpffee cluster form --yes` would do this";
            reply.done(text, lines);
        }
        (_, _) => {
            let text = "a new cluster is being formed; the log tells how it goes on";
            log::warn!("a new cluster is being formed by order of `cluster form --yes`");
            for line in &lines {
                log::warn!("  {line}");
            }
            if silent > 0 {
                let text = "only part of it is being formed: give the order again once all answer";
                reply.failed(text, lines);
            } else {
                reply.done(text, lines);
            }
        }
    }
}

impl RaftGroup<'_> {
    fn ask(&mut self, yes: bool) -> Report {
        if !yes {
            return self.operator.operate(Ask::Plan);
        }
        match ClusterId::draw() {
            Ok(cluster) => self.operator.operate(Ask::Form(cluster)),
            Err(error) => Report::Silent(format!(
                "the system gives no random bytes for a cluster id: {error}"
            )),
        }
    }

    /// A line with hosts beside the ids of nodes, indented below its group.
    fn with_hosts(&self, line: &str) -> String {
        let mut line = format!("  {line}");
        for (id, host) in &self.hosts {
            let id = id.to_string();
            line = line.replace(&id, &format!("{host} [{id}]"));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use tcpffee_raft::forming::{Effect, Facts, Form, Forming, Found, Holding, Message, Start};
    use tcpffee_raft::ids::{Incarnation, NodeTime, StoreId};
    use tcpffee_raft::membership::Statement;

    use super::*;
    use crate::control::{Answer, Kind};

    fn life(number: u64) -> Incarnation {
        Incarnation {
            store: StoreId(number.into()),
            start: 1,
            boot: number,
        }
    }

    fn three_peers() -> Statement {
        Statement {
            peers: [1, 2, 3].map(NodeId).to_vec(),
            version: 1,
        }
    }

    /// Node 1 of three, connected with node 2, which is as empty as itself; node 3 is missing.
    fn two_of_three() -> Forming {
        let start = Start {
            id: NodeId(1),
            life: life(1),
            statement: three_peers(),
            found: Found::Blank { seed: None },
            draw: ClusterId(1),
        };
        let mut forming = Forming::new(start, NodeTime(0));
        forming.peer_up(NodeId(2), life(2));
        let facts = Facts {
            statement: three_peers(),
            holding: Holding::Blank,
        };
        let to = life(1);
        forming.receive(NodeId(2), life(2), Message::Facts { to, facts });
        forming.effects();
        forming
    }

    fn group<'a>(name: &'static str, operator: &'a mut dyn Operator) -> RaftGroup<'a> {
        let hosts = vec![(NodeId(2), "proxy-b.example".to_owned())];
        RaftGroup {
            name,
            operator,
            hosts,
        }
    }

    fn answer(groups: &mut [RaftGroup<'_>], yes: bool) -> Answer {
        let (reply, answers) = Reply::new();
        form(groups, yes, reply);
        answers.try_recv().unwrap()
    }

    fn persisted(forming: &mut Forming) -> Option<Form> {
        forming
            .effects()
            .into_iter()
            .find_map(|effect| match effect {
                Effect::Persist(form) => Some(form),
                _ => None,
            })
    }

    #[test]
    fn a_lone_node_has_nothing_to_form() {
        for yes in [false, true] {
            let answer = answer(&mut [], yes);
            assert_eq!((answer.kind, answer.exit), (Kind::Failed, 1));
            assert!(answer.text.contains("runs alone"), "{}", answer.text);
        }
    }

    #[test]
    fn without_yes_the_plan_is_told_and_nothing_changes() {
        let (mut sticks, mut health) = (two_of_three(), two_of_three());
        let before = sticks.clone();
        let mut groups = [
            group("stick table", &mut sticks),
            group("health checks", &mut health),
        ];
        let answer = answer(&mut groups, false);
        assert_eq!((answer.kind, answer.exit), (Kind::Done, 0));
        assert!(answer.text.contains("--yes"), "{}", answer.text);
        assert_eq!(answer.lines[0], "stick table: would be formed here");
        let text = answer.lines.join("\n");
        for part in [
            "health checks: would be formed here",
            "  node proxy-b.example [00:00:00:00:00:02]: empty",
            "  node 00:00:00:00:00:03: no answer",
            "  lost: whatever 00:00:00:00:00:03 holds",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert_eq!(sticks, before);
    }

    #[test]
    fn with_yes_each_group_forms_a_cluster_of_its_own() {
        let (mut sticks, mut health) = (two_of_three(), two_of_three());
        let mut groups = [
            group("stick table", &mut sticks),
            group("health checks", &mut health),
        ];
        let answer = answer(&mut groups, true);
        assert_eq!((answer.kind, answer.exit), (Kind::Done, 0));
        assert!(answer.lines[0].contains("is being formed here"));
        let (sticks, health) = (persisted(&mut sticks), persisted(&mut health));
        let (sticks, health) = (sticks.unwrap(), health.unwrap());
        assert_ne!(sticks.cluster, health.cluster);
        assert_eq!(sticks.membership.voters().count(), 2);
    }

    #[test]
    fn where_nothing_can_be_done_the_reasons_are_told() {
        let mut sticks = two_of_three();
        let mut groups = [group("stick table", &mut sticks)];
        answer(&mut groups, true);
        // It is under way already.
        let answer = answer(&mut groups, true);
        assert_eq!((answer.kind, answer.exit), (Kind::Failed, 1));
        let text = answer.lines.join("\n");
        assert!(
            text.contains("stick table: is not to be formed here"),
            "{text}"
        );
        assert!(text.contains("being formed by itself"), "{text}");
    }

    struct Gone;

    impl Operator for Gone {
        fn operate(&mut self, _: Ask) -> Report {
            Report::Silent("its disk has failed".to_owned())
        }
    }

    #[test]
    fn an_order_that_one_group_did_not_take_has_not_succeeded() {
        let (mut sticks, mut gone) = (two_of_three(), Gone);
        let mut groups = [
            group("stick table", &mut sticks),
            group("health checks", &mut gone),
        ];
        let answer = answer(&mut groups, true);
        assert_eq!((answer.kind, answer.exit), (Kind::Failed, 1));
        assert_eq!(answer.lines[0], "stick table: is being formed here");
        assert!(answer.text.contains("again"), "{}", answer.text);
    }

    #[test]
    fn a_group_that_gives_no_answer_is_told() {
        let answer = answer(&mut [group("stick table", &mut Gone)], true);
        assert_eq!(answer.kind, Kind::Failed);
        assert_eq!(answer.lines[0], "stick table: gave no answer");
        assert!(answer.lines[1].contains("disk has failed"));
    }
}
