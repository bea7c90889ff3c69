//! What happens when, and what does not.

use super::*;

fn states(nodes: &[Forming]) -> Vec<State> {
    nodes.iter().map(Forming::state).collect()
}

fn text(node: &Forming) -> String {
    node.state().to_string()
}

/// The form that the lowest of these blank nodes draws up.
fn drawn_up(peers: &[u64]) -> Form {
    let mut nodes: Vec<Forming> = peers.iter().map(|&id| blank(id, peers)).collect();
    let effects = mingle(&mut nodes);
    let persisted = effects.into_iter().find_map(|effect| match effect {
        Effect::Persist(form) => Some(form),
        _ => None,
    });
    persisted.unwrap()
}

#[test]
fn all_blank_nodes_form_one_cluster_of_voters() {
    let mut nodes: Vec<Forming> = (1..=3).map(|id| blank(id, &[1, 2, 3])).collect();
    let effects = mingle(&mut nodes);
    let member = State::Member {
        cluster: ClusterId(0xc001),
        lacking: Vec::new(),
    };
    assert_eq!(states(&nodes), vec![member; 3]);
    let forms: Vec<&Form> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Persist(form) => Some(form),
            _ => None,
        })
        .collect();
    assert_eq!(forms.len(), 3);
    assert!(forms.iter().all(|form| *form == forms[0]));
    assert_eq!(forms[0].beginning, Beginning::Empty);
    assert_eq!(forms[0].membership.voters().count(), 3);
    for (id, member) in &forms[0].membership.members {
        assert_eq!(member.life.unwrap().incarnation, life(id.0));
        assert_eq!(member.statement, Some(list(&[1, 2, 3])));
    }
    let begun = effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Begin(_)));
    assert_eq!(begun.count(), 3);
}

#[test]
fn a_node_that_is_its_only_peer_forms_a_cluster_by_itself() {
    let mut nodes = [blank(1, &[1])];
    settle(&mut nodes);
    assert_eq!(cluster_of(&nodes[0]), Some(ClusterId(0xc001)));
}

#[test]
fn a_peer_that_is_not_there_is_waited_for() {
    let mut nodes = vec![blank(1, &[1, 2, 3]), blank(2, &[1, 2, 3])];
    mingle(&mut nodes);
    for node in &nodes {
        assert_eq!(
            text(node),
            format!("no cluster yet: waiting for peer {}", n(3))
        );
        assert!(!node.state().needs_operator());
    }
    nodes.push(blank(3, &[1, 2, 3]));
    mingle(&mut nodes);
    assert!(nodes.iter().all(|node| cluster_of(node).is_some()));
}

#[test]
fn lists_that_differ_keep_a_cluster_from_forming_until_a_reload_makes_them_equal() {
    let mut nodes = vec![
        blank(1, &[1, 2, 3]),
        blank(2, &[1, 2, 3]),
        blank(3, &[2, 3, 4]),
    ];
    mingle(&mut nodes);
    assert!(nodes.iter().all(|node| cluster_of(node).is_none()));
    let text = text(&nodes[1]);
    let other = format!(
        "peer {} states another list of peers, with {}, without {}",
        n(3),
        n(4),
        n(1)
    );
    assert!(text.contains(&other), "{text}");
    assert!(text.contains("tcpffee cluster form"), "{text}");
    nodes[2].state_anew(list(&[1, 2, 3]));
    mingle(&mut nodes);
    assert!(nodes.iter().all(|node| cluster_of(node).is_some()));
}

#[test]
fn a_peer_with_a_log_keeps_a_cluster_from_forming() {
    let mut nodes = [
        blank(1, &[1, 2, 3]),
        blank(2, &[1, 2, 3]),
        member(3, &[1, 2, 3], log(7, 12, 3)),
    ];
    mingle(&mut nodes);
    assert!(cluster_of(&nodes[0]).is_none() && cluster_of(&nodes[1]).is_none());
    assert!(nodes[0].state().needs_operator());
    let said = text(&nodes[0]);
    let part = format!("peer {} already belongs to cluster {}", n(3), ClusterId(7));
    assert!(said.contains(&part), "{said}");
    // With a leader it is only a matter of time.
    let led = LogFacts {
        leader: Some(n(3)),
        ..log(7, 12, 3)
    };
    nodes[2].log_stands(led);
    settle(&mut nodes);
    assert!(!nodes[0].state().needs_operator(), "{}", text(&nodes[0]));
    nodes[0].log_stands(led);
    assert_eq!(cluster_of(&nodes[0]), Some(ClusterId(7)));
}

#[test]
fn a_peer_that_refuses_to_talk_for_its_clusters_sake_is_named() {
    let mut node = blank(1, &[1, 2]);
    node.peer_belongs(n(2), ClusterId(7));
    assert!(text(&node).contains("already belongs"), "{}", text(&node));
    node.peer_up(n(2), life(2));
    assert!(text(&node).contains("waiting"), "{}", text(&node));
}

#[test]
fn the_only_node_with_a_table_founds_and_the_others_wait_to_be_taken_in() {
    let mut nodes = [
        blank(1, &[1, 2, 3]),
        seeded(2, &[1, 2, 3], 40),
        blank(3, &[1, 2, 3]),
    ];
    let effects = mingle(&mut nodes);
    let [Effect::Persist(form), Effect::Begin(_)] = effects.as_slice() else {
        panic!("{effects:?}");
    };
    assert_eq!(form.beginning, Beginning::Seed);
    assert_eq!(form.membership.voters().collect::<Vec<_>>(), [n(2)]);
    for id in [1, 3] {
        let learner = &form.membership.members[&n(id)];
        assert_eq!(learner.role, Role::Learner { promote: true });
        assert_eq!(learner.life.unwrap().incarnation, life(id));
    }
    assert!(cluster_of(&nodes[0]).is_none());
    assert!(nodes[0].may_join(form.cluster));
}

#[test]
fn two_nodes_with_tables_form_nothing_by_themselves() {
    let mut nodes = [seeded(1, &[1, 2], 4), seeded(2, &[1, 2], 5)];
    mingle(&mut nodes);
    assert!(nodes.iter().all(|node| cluster_of(node).is_none()));
    assert!(nodes[0].state().needs_operator());
    assert!(text(&nodes[0]).contains("more than one node has a table"));
}

#[test]
fn what_an_earlier_life_of_a_peer_stated_counts_no_longer() {
    let mut nodes = [blank(1, &[1, 2]), blank(2, &[1, 2])];
    let said = Message::Facts {
        to: life(1),
        facts: Facts {
            statement: list(&[1, 2]),
            holding: Holding::Blank,
        },
    };
    let restarted = Incarnation {
        start: 2,
        boot: 99,
        ..life(2)
    };
    nodes[0].peer_up(n(2), restarted);
    nodes[0].receive(n(2), life(2), said);
    assert!(matches!(nodes[0].state(), State::Blocked(_)));
}

#[test]
fn what_was_stated_to_an_earlier_life_of_this_node_counts_not() {
    let mut node = blank(1, &[1, 2]);
    node.peer_up(n(2), life(2));
    let earlier = Incarnation { boot: 1, ..life(1) };
    for (to, counts) in [(earlier, false), (life(1), true)] {
        let facts = Facts {
            statement: list(&[1, 2]),
            holding: Holding::Blank,
        };
        node.receive(n(2), life(2), Message::Facts { to, facts });
        assert_eq!(matches!(node.state(), State::Taking(_)), counts);
    }
}

#[test]
fn a_peer_that_is_lost_is_asked_anew() {
    let mut nodes = [blank(2, &[1, 2, 3]), blank(3, &[1, 2, 3])];
    mingle(&mut nodes);
    nodes[0].peer_down(n(3));
    let State::Blocked(obstacles) = nodes[0].state() else {
        panic!("{:?}", nodes[0].state());
    };
    assert_eq!(
        obstacles,
        [Obstacle::Waiting(n(1)), Obstacle::Waiting(n(3))]
    );
}

#[test]
fn a_peer_in_another_life_is_asked_anew() {
    let mut nodes = [blank(2, &[1, 2, 3]), blank(3, &[1, 2, 3])];
    mingle(&mut nodes);
    let restarted = Incarnation {
        start: 2,
        boot: 99,
        ..life(3)
    };
    nodes[0].peer_up(n(3), restarted);
    let State::Blocked(obstacles) = nodes[0].state() else {
        panic!("{:?}", nodes[0].state());
    };
    assert!(obstacles.contains(&Obstacle::Waiting(n(3))));
}

#[test]
fn a_form_is_passed_on_only_once_it_is_durable() {
    let mut founder = blank(1, &[1, 2]);
    founder.peer_up(n(2), life(2));
    founder.effects();
    let facts = Facts {
        statement: list(&[1, 2]),
        holding: Holding::Blank,
    };
    founder.receive(n(2), life(2), Message::Facts { to: life(1), facts });
    let before = founder.effects();
    let is_form = |effect: &Effect| {
        matches!(
            effect,
            Effect::Send {
                message: Message::Form(_),
                ..
            }
        )
    };
    assert!(matches!(before[0], Effect::Persist(_)));
    assert!(!before.iter().any(is_form));
    // It says that it is free no more.
    let Effect::Send {
        message: Message::Facts { facts, .. },
        ..
    } = &before[1]
    else {
        panic!("{before:?}");
    };
    assert!(matches!(facts.holding, Holding::Taking(_)));
    founder.persisted(ClusterId(0xc001));
    let after = founder.effects();
    assert!(matches!(after[0], Effect::Begin(_)));
    assert!(after.iter().any(is_form));
}

#[test]
fn a_lost_form_is_sent_again_and_a_restart_goes_on_passing_it_on() {
    let form = drawn_up(&[1, 2, 3]);
    let facts = log(form.cluster.0, 1, 1);
    let found = Found::Log {
        facts,
        form: Some(form.clone()),
    };
    // Not the founder: any that holds it.
    let restarted = Start {
        life: Incarnation {
            start: 2,
            boot: 5,
            ..life(2)
        },
        ..start(2, &[1, 2, 3], found)
    };
    let mut nodes = [Forming::new(restarted, NodeTime(0)), blank(3, &[1, 2, 3])];
    mingle(&mut nodes);
    assert_eq!(cluster_of(&nodes[1]), Some(form.cluster));
    // Nothing of this arrives.
    let mut late = blank(3, &[1, 2, 3]);
    nodes[0].peer_down(n(3));
    nodes[0].peer_up(n(3), life(3));
    nodes[0].receive(n(3), life(3), free_word(2, 5));
    nodes[0].effects();
    nodes[0].tick(NodeTime(REPEAT_MS));
    for effect in nodes[0].effects() {
        if let Effect::Send { to, message } = effect
            && to == n(3)
        {
            late.peer_up(n(2), nodes[0].life);
            late.receive(n(2), nodes[0].life, message);
        }
    }
    assert_eq!(cluster_of(&late), Some(form.cluster));
}

/// That its sender is blank and names nodes 1 to 3, said to the second life of node `to`.
fn free_word(to: u64, boot: u64) -> Message {
    Message::Facts {
        to: Incarnation {
            start: 2,
            boot,
            ..life(to)
        },
        facts: Facts {
            statement: list(&[1, 2, 3]),
            holding: Holding::Blank,
        },
    }
}

#[test]
fn a_form_that_names_another_store_an_older_copy_or_other_nodes_is_refused() {
    let form = drawn_up(&[1, 2, 3]);
    let peers = list(&[1, 2, 3]).peers;
    let own = life(2);
    assert_eq!(form.fits(n(2), &own, &peers), Ok(()));
    let later = Incarnation {
        start: 4,
        boot: 1,
        ..own
    };
    assert_eq!(form.fits(n(2), &later, &peers), Ok(()));
    let wiped = Incarnation {
        store: StoreId(9),
        ..own
    };
    let named = own.store;
    assert_eq!(
        form.fits(n(2), &wiped, &peers),
        Err(Misfit::OtherStore { named })
    );
    let copy = Incarnation { boot: 1, ..own };
    assert_eq!(
        form.fits(n(2), &copy, &peers),
        Err(Misfit::OlderCopy { named: 1 })
    );
    let others = list(&[2, 3]).peers;
    assert_eq!(form.fits(n(2), &own, &others), Err(Misfit::OtherList));
    let seed = Form {
        beginning: Beginning::Seed,
        ..form.clone()
    };
    assert_eq!(seed.fits(n(2), &own, &peers), Err(Misfit::Contradictory));
}

#[test]
fn a_node_that_belongs_to_a_cluster_refuses_another_form() {
    let form = drawn_up(&[1, 2, 3]);
    let mut node = member(2, &[1, 2, 3], log(7, 3, 1));
    node.peer_up(n(1), life(1));
    node.effects();
    node.receive(n(1), life(1), Message::Form(form.clone()));
    let refused = Effect::Refused {
        from: n(1),
        cluster: form.cluster,
        misfit: Misfit::OtherCluster(ClusterId(7)),
    };
    assert_eq!(node.effects(), [refused]);
    assert!(!node.may_join(form.cluster));
    assert!(node.may_join(ClusterId(7)));
}

#[test]
fn a_form_from_a_life_that_is_gone_is_not_listened_to() {
    let form = drawn_up(&[1, 2, 3]);
    let mut node = blank(2, &[1, 2, 3]);
    let wiped = Incarnation {
        store: StoreId(9),
        ..life(1)
    };
    node.peer_up(n(1), wiped);
    node.receive(n(1), life(1), Message::Form(form));
    assert!(cluster_of(&node).is_none());
}

#[test]
fn a_wiped_founder_founds_no_second_cluster_while_a_peer_holds_the_first() {
    let form = drawn_up(&[1, 2, 3]);
    let found = Found::Log {
        facts: log(form.cluster.0, 1, 1),
        form: Some(form.clone()),
    };
    let wiped = Start {
        life: Incarnation {
            store: StoreId(9),
            ..life(1)
        },
        draw: ClusterId(0xd00d),
        ..start(1, &[1, 2, 3], Found::Blank { seed: None })
    };
    let mut nodes = [
        Forming::new(wiped, NodeTime(0)),
        Forming::new(start(2, &[1, 2, 3], found), NodeTime(0)),
        blank(3, &[1, 2, 3]),
    ];
    mingle(&mut nodes);
    assert_eq!(cluster_of(&nodes[0]), None);
    assert_eq!(cluster_of(&nodes[2]), Some(form.cluster));
    let lacking = vec![n(1)];
    let cluster = form.cluster;
    assert_eq!(nodes[1].state(), State::Member { cluster, lacking });
}

#[test]
fn a_cluster_with_a_leader_says_nothing_by_itself() {
    let led = LogFacts {
        leader: Some(n(1)),
        ..log(7, 3, 1)
    };
    let mut nodes = [member(1, &[1, 2], led), member(2, &[1, 2], led)];
    mingle(&mut nodes);
    for node in &mut nodes {
        node.tick(NodeTime(10 * REPEAT_MS));
        assert_eq!(node.effects(), []);
    }
}

#[test]
fn the_form_is_found_again_in_a_log_that_holds_nothing_else() {
    use crate::durable::Recovered;
    use crate::entry::{Entry, Payload};
    let form = drawn_up(&[1, 2, 3]);
    let entry = Entry {
        index: GENESIS,
        term: Term(1),
        time: crate::ids::LogTime(0),
        payload: Payload::Membership(Arc::clone(&form.membership)),
    };
    let mut recovered = Recovered {
        entries: vec![entry],
        ..Recovered::default()
    };
    assert_eq!(Form::of_log(form.cluster, &recovered), Some(form.clone()));
    recovered.entries[0].index = Index(5);
    assert_eq!(Form::of_log(form.cluster, &recovered), None);
    // A log that went on: of another cluster, perhaps, whose log is continued here.
    recovered.entries[0].index = GENESIS;
    let next = Entry {
        index: Index(2),
        payload: Payload::Empty,
        ..recovered.entries[0].clone()
    };
    recovered.entries.push(next);
    assert_eq!(Form::of_log(form.cluster, &recovered), None);
}

#[test]
fn a_form_is_passed_on_no_more_once_there_is_a_leader() {
    let form = drawn_up(&[1, 2, 3]);
    let found = Found::Log {
        facts: log(form.cluster.0, 1, 1),
        form: Some(form.clone()),
    };
    let holder = Forming::new(start(1, &[1, 2, 3], found), NodeTime(0));
    let mut nodes = [holder, blank(3, &[1, 2, 3])];
    nodes[0].log_stands(LogFacts {
        leader: Some(n(1)),
        ..log(form.cluster.0, 2, 2)
    });
    mingle(&mut nodes);
    assert_eq!(cluster_of(&nodes[1]), None);
    let lacking = Vec::new();
    let cluster = form.cluster;
    assert_eq!(nodes[0].state(), State::Member { cluster, lacking });
}

#[test]
fn a_node_that_is_being_taken_in_is_not_free() {
    let mut nodes = [blank(1, &[1, 2]), blank(2, &[1, 2])];
    nodes[1].log_stands(log(7, 1, 1));
    mingle(&mut nodes);
    assert_eq!(cluster_of(&nodes[0]), None);
    assert!(nodes[0].state().needs_operator());
}
