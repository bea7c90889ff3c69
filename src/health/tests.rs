//! Rise, fall, consequences and reloads, without threads and time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::board::{Board, TargetKey};
use super::*;
use crate::config::{self, Environment, FallAction, HealthCheck};
use crate::groups::Status;

/// A configuration with these groups, each `(id, extra keys and checks)`.
fn config(groups: &[(u32, &str)]) -> Config {
    let mut text = "ports = [1000, 1001]\nexpiration = 10\n".to_owned();
    for (id, extra) in groups {
        text += &format!("[groups.{id}]\nportmap = \"192.0.2.{id}\"\n{extra}\n");
    }
    loaded(&text)
}

fn loaded(text: &str) -> Config {
    let environment = Environment::from_vars(|_| None).expect("an empty environment");
    let loaded = config::load(text, Path::new("test.toml"), &environment);
    loaded.expect("sound").config
}

fn check(group: u32, keys: &str) -> String {
    format!("[[groups.{group}.healthchecks]]\n{keys}")
}

/// A board with the plan that is in force.
struct Scene {
    board: Board,
    plan: Plan,
}

impl Scene {
    fn new(config: &Config) -> Scene {
        let plan = Plan::of(config);
        let board = Board::default().successor(&plan);
        Scene { board, plan }
    }

    fn reload(&mut self, config: &Config) {
        self.plan = Plan::of(config);
        self.board = self.board.successor(&self.plan);
    }

    /// The targets of a group's checks, in order.
    fn keys(&self, group: u32) -> Vec<TargetKey> {
        let targets = self.board.targets();
        let own = targets.filter(|(id, _, _)| *id == GroupId(group));
        own.map(|(_, _, target)| target.key).collect()
    }

    fn note(&mut self, key: TargetKey, passed: bool) {
        let result = if passed { Ok(()) } else { Err("refused") };
        let turn = self.board.note(key, result);
        if let Some(observation) = turn.and_then(|turn| turn.observation) {
            self.board.apply(Verdict::alone(observation));
        }
    }

    /// `+` for a success of every target of the group, `-` for a failure.
    fn play(&mut self, group: u32, results: &str) {
        for result in results.chars() {
            for key in self.keys(group) {
                self.note(key, result == '+');
            }
        }
    }

    fn status(&self, group: u32) -> Status {
        self.plan.status(GroupId(group)).status()
    }
}

#[test]
fn the_status_changes_exactly_as_rise_and_fall_say() {
    // After each result: U for Up, D for Draining.
    for (fall, rise, results, expected) in [
        (3, 5, "---", "UUD"),
        (3, 5, "--+---", "UUUUUD"),
        (3, 5, "---++++-+++++", "UUDDDDDDDDDDU"),
        (3, 5, "---+++++--+---", "UUDDDDDUUUUUUD"),
        (1, 1, "-+-+-+", "DUDUDU"),
        (1, 2, "-+-+-++-", "DDDDDDUD"),
        (2, 1, "-+-+--+-", "UUUUUDUU"),
        (2, 2, "-+-+-+-+--++", "UUUUUUUUUDDU"),
        (1, 5, "-----+++++", "DDDDDDDDDU"),
    ] {
        let checks = check(1, &format!("fall = {fall}\nrise = {rise}"));
        let mut scene = Scene::new(&config(&[(1, &checks)]));
        for (at, (result, expected)) in results.chars().zip(expected.chars()).enumerate() {
            scene.play(1, &result.to_string());
            let expected = match expected {
                'U' => Status::Up,
                _ => Status::Draining,
            };
            let what = format!("fall {fall}, rise {rise}, {results}, result {at}");
            assert_eq!(scene.status(1), expected, "{what}");
        }
    }
}

#[test]
fn three_failures_and_five_successes_are_the_defaults() {
    let mut scene = Scene::new(&config(&[(1, &check(1, ""))]));
    scene.play(1, "--");
    assert_eq!(scene.status(1), Status::Up);
    scene.play(1, "-");
    assert_eq!(scene.status(1), Status::Draining);
    scene.play(1, "++++");
    assert_eq!(scene.status(1), Status::Draining);
    scene.play(1, "+");
    assert_eq!(scene.status(1), Status::Up);
}

#[test]
fn one_failing_target_is_enough_and_all_must_rise() {
    let mut scene = Scene::new(&config(&[(1, &check(1, "fall = 1\nrise = 1"))]));
    let [one, other] = scene.keys(1)[..] else {
        panic!("two ports, two targets")
    };
    scene.note(one, false);
    assert_eq!(scene.status(1), Status::Draining);
    scene.note(other, false);
    scene.note(one, true);
    assert_eq!(scene.status(1), Status::Draining);
    scene.note(other, true);
    assert_eq!(scene.status(1), Status::Up);
}

#[test]
fn failures_of_different_targets_do_not_add_up() {
    let mut scene = Scene::new(&config(&[(1, &check(1, "fall = 2\nrise = 1"))]));
    let keys = scene.keys(1);
    for round in 0..10 {
        scene.note(keys[round % 2], false);
        scene.note(keys[(round + 1) % 2], true);
        assert_eq!(scene.status(1), Status::Up);
    }
}

#[test]
fn the_most_severe_check_decides() {
    let actions = ["Up", "Draining", "Disabled"];
    let status = |action: usize| [Status::Up, Status::Draining, Status::Disabled][action];
    for one in 0..3 {
        for other in 0..3 {
            let checks = [one, other].map(|action| {
                let action = actions[action];
                check(
                    1,
                    &format!("fall = 1\nrise = 1\nfall_action = \"{action}\""),
                )
            });
            let ports = ["port = 7001", "port = 7002"];
            let checks = format!("{}\n{}\n{}\n{}", checks[0], ports[0], checks[1], ports[1]);
            let mut scene = Scene::new(&config(&[(1, &checks)]));
            let [first, second] = scene.keys(1)[..] else {
                panic!("two checks of one address each")
            };
            scene.note(first, false);
            assert_eq!(scene.status(1), status(one));
            scene.note(second, false);
            assert_eq!(scene.status(1), status(one.max(other)));
            scene.note(first, true);
            assert_eq!(scene.status(1), status(other));
            scene.note(second, true);
            assert_eq!(scene.status(1), Status::Up);
        }
    }
}

#[test]
fn each_distinct_target_is_checked_once() {
    let config = loaded(
        "ports = [1000, 1001, 1002]\nexpiration = 10\n[groups.1.portmap]\n\
         1000 = \"192.0.2.1:80\"\n1001 = \"192.0.2.1:80\"\n1002 = \"server.test:81\"\n\
         [[groups.1.healthchecks]]\n[[groups.1.healthchecks]]\nport = 99\n\
         [[groups.1.healthchecks]]\n",
    );
    let scene = Scene::new(&config);
    let shown: Vec<String> = scene
        .board
        .targets()
        .map(|(_, _, target)| target.target.to_string())
        .collect();
    // The third check repeats the first.
    assert_eq!(
        shown,
        [
            "192.0.2.1:80",
            "server.test:81",
            "192.0.2.1:99",
            "server.test:99"
        ]
    );
    assert_eq!(scene.plan.target_count(), 4);
}

#[test]
fn failed_connects_are_traced_to_every_check_of_the_target() {
    let config = loaded(
        "ports = [1000, 1001]\nexpiration = 10\n[groups.1.portmap]\n\
         1000 = \"192.0.2.1:80\"\n1001 = \"192.0.2.1:81\"\n\
         [[groups.1.healthchecks]]\n[[groups.1.healthchecks]]\nport = 99\n",
    );
    let scene = Scene::new(&config);
    let serving = |group, target: &str| {
        let target = config::TargetAddr::Socket(target.parse().unwrap());
        scene.board.keys_serving(GroupId(group), &target).len()
    };
    assert_eq!(serving(1, "192.0.2.1:80"), 2);
    assert_eq!(serving(1, "192.0.2.1:81"), 2);
    assert_eq!(serving(1, "192.0.2.1:99"), 0);
    assert_eq!(serving(2, "192.0.2.1:80"), 0);
}

#[test]
fn a_reload_keeps_states_and_runs_of_checks_that_it_leaves_alone() {
    let kept = check(1, "fall = 3\nrise = 3");
    let mut scene = Scene::new(&config(&[(1, &kept), (2, &check(2, "fall = 1"))]));
    let keys = scene.keys(1);
    scene.play(1, "--");
    scene.play(2, "-");
    let more = format!("{kept}\n{}", check(1, "port = 7000"));
    scene.reload(&config(&[(1, &more), (3, "")]));
    assert_eq!(scene.keys(1)[..2], keys);
    assert!(scene.keys(2).is_empty());
    scene.note(keys[0], false);
    assert_eq!(scene.status(1), Status::Draining);
    scene.reload(&config(&[(1, &kept)]));
    assert_eq!(scene.status(1), Status::Draining);
    scene.note(keys[0], true);
    scene.note(keys[0], true);
    scene.reload(&config(&[(1, &kept), (2, "")]));
    assert_eq!(scene.status(1), Status::Draining);
    scene.note(keys[0], true);
    assert_eq!(scene.status(1), Status::Up);
    assert_eq!(scene.status(2), Status::Up);
}

#[test]
fn another_bind_source_is_in_the_plan_and_leaves_checks_and_their_runs_alone() {
    let group = format!(
        "[groups.1]\nportmap = \"192.0.2.1\"\n{}",
        check(1, "fall = 2")
    );
    let with = |source: &str| {
        loaded(&format!(
            "ports = [1000]\nexpiration = 10\nbind_source = {source}\n{group}"
        ))
    };
    let mut scene = Scene::new(&with("[]"));
    let keys = scene.keys(1);
    scene.play(1, "-");
    scene.reload(&with("\"192.0.2.7\""));
    let target = "192.0.2.1:1000".parse().unwrap();
    let sources = scene.plan.way.sources.towards(target);
    assert_eq!(sources, ["192.0.2.7".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(scene.keys(1), keys);
    scene.play(1, "-");
    assert_eq!(scene.status(1), Status::Draining, "the run went on");
}

#[test]
fn a_failing_check_that_is_taken_away_takes_its_consequence_along() {
    let mut scene = Scene::new(&config(&[(1, &check(1, "fall = 1"))]));
    scene.play(1, "-");
    let draining = scene.plan.status(GroupId(1));
    scene.reload(&config(&[(1, "")]));
    assert_eq!(scene.status(1), Status::Up);
    // Who still uses the plan before is not touched.
    assert_eq!(draining.status(), Status::Draining);
}

#[test]
fn edited_thresholds_keep_the_state_and_begin_a_new_run() {
    let mut scene = Scene::new(&config(&[(1, &check(1, "fall = 3\nrise = 2"))]));
    scene.play(1, "--");
    scene.reload(&config(&[(1, &check(1, "fall = 2\nrise = 2"))]));
    scene.play(1, "-");
    assert_eq!(scene.status(1), Status::Up, "the two before are forgotten");
    scene.play(1, "-");
    assert_eq!(scene.status(1), Status::Draining);
    scene.play(1, "+");
    let disabled = "fall = 2\nrise = 3\nfall_action = \"Disabled\"";
    scene.reload(&config(&[(1, &check(1, disabled))]));
    assert_eq!(scene.status(1), Status::Disabled);
    scene.play(1, "++");
    assert_eq!(scene.status(1), Status::Disabled);
    scene.play(1, "+");
    assert_eq!(scene.status(1), Status::Up);
}

#[test]
fn an_edited_question_begins_anew() {
    let mut scene = Scene::new(&config(&[(1, &check(1, "fall = 1\nhttp_target = \"/a\""))]));
    scene.play(1, "-");
    assert_eq!(scene.status(1), Status::Draining);
    scene.reload(&config(&[(1, &check(1, "fall = 1\nhttp_target = \"/b\""))]));
    assert_eq!(scene.status(1), Status::Up);
}

#[test]
fn a_target_that_moves_begins_anew_and_the_others_go_on() {
    let with = |target: &str| {
        loaded(&format!(
            "ports = [1000, 1001]\nexpiration = 10\n[groups.1.portmap]\n1000 = \"{target}\"\n\
             1001 = \"192.0.2.1:81\"\n[[groups.1.healthchecks]]\nfall = 2\nrise = 2\n"
        ))
    };
    let mut scene = Scene::new(&with("192.0.2.1:80"));
    scene.play(1, "-");
    let kept = scene.keys(1)[1];
    scene.reload(&with("192.0.2.9:80"));
    assert_eq!(scene.keys(1)[1], kept);
    let moved = scene.keys(1)[0];
    scene.note(moved, false);
    assert_eq!(scene.status(1), Status::Up);
    scene.note(kept, false);
    assert_eq!(scene.status(1), Status::Draining);
}

#[test]
fn results_of_checks_that_are_no_more_are_nothing() {
    let mut scene = Scene::new(&config(&[(1, &check(1, "fall = 1"))]));
    let gone = scene.keys(1);
    scene.reload(&config(&[(1, "")]));
    for key in gone {
        assert_eq!(scene.board.note(key, Err("refused")), None);
    }
    // Nor can a later check be taken for them.
    let gone = scene.keys(1);
    scene.reload(&config(&[(1, &check(1, "fall = 1"))]));
    assert!(scene.keys(1).iter().all(|key| !gone.contains(key)));
}

#[test]
fn what_was_saved_holds_for_the_checks_that_are_still_there() {
    let checks = check(1, "fall = 2\nrise = 2");
    let before = config(&[(1, &checks), (2, &check(2, "fall = 1"))]);
    let mut scene = Scene::new(&before);
    scene.play(1, "--+");
    scene.play(2, "-");
    let saved = scene.board.saved(Runs::Kept);
    let mut scene = Scene::new(&config(&[(1, &checks), (2, &check(2, "fall = 4"))]));
    assert_eq!(scene.board.restore(&saved), 2);
    assert_eq!(scene.status(1), Status::Draining);
    assert_eq!(
        scene.status(2),
        Status::Up,
        "another definition, another check"
    );
    let (status, reason) = scene.plan.status(GroupId(1)).with_reason();
    assert_eq!(status, Status::Draining);
    assert!(
        reason.contains("was failing when its state was saved"),
        "{reason}"
    );
    // One success had come in before; the second is enough.
    scene.play(1, "+");
    assert_eq!(scene.status(1), Status::Up);
    assert_eq!(
        scene.board.saved(Runs::Kept).len(),
        4,
        "what is no more is not saved again"
    );
}

/// Not every result is saved: a run in the file may have been broken off since.
#[test]
fn runs_are_left_out_of_what_is_saved_while_results_come_in() {
    let mut scene = Scene::new(&config(&[(1, &check(1, "fall = 3"))]));
    scene.play(1, "--");
    let runs = |runs| -> Vec<u32> {
        let saved = scene.board.saved(runs);
        saved.iter().map(|state| state.run).collect()
    };
    assert_eq!(runs(Runs::Kept)[0], 2);
    assert!(runs(Runs::Left).iter().all(|run| *run == 0));
}

#[test]
fn the_reason_names_a_target_that_is_failing_still() {
    let mut scene = Scene::new(&config(&[(1, &check(1, "fall = 1\nrise = 1"))]));
    let keys = scene.keys(1);
    scene.note(keys[0], false);
    scene.note(keys[1], false);
    scene.note(keys[0], true);
    let (status, reason) = scene.plan.status(GroupId(1)).with_reason();
    assert_eq!(status, Status::Draining);
    let (_, _, failing) = scene.board.target(keys[1]).unwrap();
    assert!(reason.contains(&failing.target.to_string()), "{reason}");
}

#[test]
fn a_saved_run_never_turns_a_state_without_a_result() {
    let checks = check(1, "fall = 2\nrise = 2");
    let mut scene = Scene::new(&config(&[(1, &checks)]));
    let mut saved = scene.board.saved(Runs::Kept);
    for state in &mut saved {
        state.run = u32::MAX;
    }
    scene.board.restore(&saved);
    assert_eq!(scene.status(1), Status::Up);
    scene.play(1, "+");
    scene.play(1, "-");
    assert_eq!(scene.status(1), Status::Up);
}

/// The rules once more, as slowly and plainly as can be: looks back over all results.
fn state_by_the_book(results: &[bool], check: &HealthCheck) -> State {
    let mut state = State::Passing;
    let mut since = 0;
    for at in 0..results.len() {
        let latest = &results[since..=at];
        let last = |count: u32| latest.iter().rev().take(count as usize);
        let turned = match state {
            State::Passing => {
                latest.len() >= check.fall as usize && last(check.fall).all(|passed| !passed)
            }
            State::Failing => {
                latest.len() >= check.rise as usize && last(check.rise).all(|passed| *passed)
            }
        };
        if turned {
            since = at + 1;
            state = match state {
                State::Passing => State::Failing,
                State::Failing => State::Passing,
            };
        }
    }
    state
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_results_lead_where_the_book_says(
        checks in prop::collection::vec((1u32..5, 1u32..5, 0usize..3), 1..4),
        results in prop::collection::vec((any::<prop::sample::Index>(), prop::bool::weighted(0.4)), 0..120),
        reload_at in 0usize..120,
    ) {
        let words = ["Up", "Draining", "Disabled"];
        let text: String = checks
            .iter()
            .enumerate()
            .map(|(at, (fall, rise, action))| {
                let port = 7000 + at;
                let action = words[*action];
                let keys = format!(
                    "fall = {fall}\nrise = {rise}\nfall_action = \"{action}\"\nport = {port}\n"
                );
                check(1, &keys)
            })
            .collect();
        let config = config(&[(1, &text)]);
        let definitions = &config.groups[0].healthchecks;
        let mut scene = Scene::new(&config);
        let keys = scene.keys(1);
        prop_assert_eq!(keys.len(), checks.len());
        let mut seen: BTreeMap<usize, Vec<bool>> = BTreeMap::new();
        for (turn, (which, passed)) in results.iter().enumerate() {
            if turn == reload_at {
                scene.reload(&config);
            }
            let which = which.index(keys.len());
            scene.note(keys[which], *passed);
            seen.entry(which).or_default().push(*passed);
            let worst = definitions.iter().enumerate().map(|(at, definition)| {
                let results = seen.get(&at).map_or(&[][..], Vec::as_slice);
                match (state_by_the_book(results, definition), definition.fall_action) {
                    (State::Passing, _) | (_, FallAction::Up) => Status::Up,
                    (State::Failing, FallAction::Draining) => Status::Draining,
                    (State::Failing, FallAction::Disabled) => Status::Disabled,
                }
            });
            let expected = worst.max().unwrap_or(Status::Up);
            prop_assert_eq!(scene.status(1), expected);
            let (_, reason) = scene.plan.status(GroupId(1)).with_reason();
            prop_assert_eq!(reason.is_empty(), expected == Status::Up);
        }
    }
}

#[test]
fn descriptors_of_checks_leave_most_to_connections() {
    let checks: String = (0..64)
        .map(|port| check(1, &format!("port = {}\n", 7000 + port)))
        .collect();
    let plan = Plan::of(&config(&[(1, &checks)]));
    assert_eq!(descriptors(&plan, 20_000), 64);
    assert_eq!(descriptors(&plan, 256), 32);
    let none = Plan::of(&config(&[(1, "")]));
    assert_eq!(descriptors(&none, 20_000), 0);
    let _: Arc<_> = plan.status(GroupId(9));
}
