//! Each figure in its place.

use super::{Rendering, figures};

/// A series, by its name and labels, and its value.
type Expected<'a> = (&'a str, &'a [(&'a str, &'a str)], f64);

#[test]
fn every_figure_is_where_it_belongs() {
    let rendering = Rendering::parse(&figures().render());
    let value = |metric: &str, labels: &[(&str, &str)]| rendering.value(metric, labels);
    let expected: &[Expected<'_>] = &[
        ("tcpffee_build_info", &[("version", "1.2.3")], 1.0),
        ("tcpffee_healthy", &[], 1.0),
        ("tcpffee_accepting", &[], 1.0),
        ("tcpffee_configuration_generation", &[], 7.0),
        ("tcpffee_reloads_total", &[("outcome", "succeeded")], 6.0),
        ("tcpffee_reloads_total", &[("outcome", "refused")], 2.0),
        ("tcpffee_last_reload_successful", &[], 0.0),
        (
            "tcpffee_last_reload_success_timestamp_seconds",
            &[],
            1_700_000_100.25,
        ),
        ("tcpffee_connections", &[("port", "80")], 3.0),
        ("tcpffee_connections", &[("port", "other")], 4.0),
        (
            "tcpffee_connections_accepted_total",
            &[("port", "80")],
            30.0,
        ),
        ("tcpffee_open_connections", &[], 9.0),
        ("tcpffee_max_connections", &[], 10_000.0),
        ("tcpffee_accept_pauses_total", &[], 11.0),
        ("tcpffee_slice_timeouts_total", &[], 12.0),
        ("tcpffee_connect_failures_total", &[], 13.0),
        ("tcpffee_held_bytes_bound_met_total", &[], 15.0),
        ("tcpffee_held_bytes", &[], 4_096.0),
        ("tcpffee_max_held_bytes", &[], 268_435_456.0),
        ("tcpffee_clients_tracked", &[], 18.0),
        ("tcpffee_client_rates_forgotten_total", &[], 19.0),
        (
            "tcpffee_group_status",
            &[("group", "1"), ("name", "b\"ir\\ch\n"), ("status", "Up")],
            1.0,
        ),
        (
            "tcpffee_group_status",
            &[("group", "2"), ("name", ""), ("status", "Up")],
            0.0,
        ),
        (
            "tcpffee_group_status",
            &[("group", "2"), ("name", ""), ("status", "Draining")],
            1.0,
        ),
        ("tcpffee_group_sticks", &[("group", "1")], 21.0),
        ("tcpffee_group_max_connections", &[("group", "1")], 47.0),
        ("tcpffee_group_places_taken", &[("group", "1")], 46.0),
        ("tcpffee_group_queued", &[("group", "1")], 48.0),
        ("tcpffee_group_slow_start_seconds", &[("group", "1")], 49.0),
        ("tcpffee_group_connections", &[("group", "1")], 22.0),
        ("tcpffee_group_connections_total", &[("group", "1")], 23.0),
        (
            "tcpffee_group_connections_total",
            &[("group", "other")],
            5.0,
        ),
        (
            "tcpffee_connections_ended_total",
            &[("group", "none"), ("reason", "no_group")],
            31.0,
        ),
        (
            "tcpffee_connections_ended_total",
            &[("group", "1"), ("reason", "client_reset")],
            24.0,
        ),
        (
            "tcpffee_group_traffic_bytes_total",
            &[("group", "1"), ("direction", "in")],
            25.0,
        ),
        (
            "tcpffee_group_traffic_bytes_total",
            &[("group", "1"), ("direction", "out")],
            26.0,
        ),
        (
            "tcpffee_group_connect_duration_seconds_bucket",
            &[("group", "1"), ("le", "0.0005")],
            0.0,
        ),
        (
            "tcpffee_group_connect_duration_seconds_bucket",
            &[("group", "1"), ("le", "0.0025")],
            1.0,
        ),
        (
            "tcpffee_group_connect_duration_seconds_sum",
            &[("group", "1")],
            0.002,
        ),
        (
            "tcpffee_group_session_duration_seconds_bucket",
            &[("group", "1"), ("le", "86400")],
            1.0,
        ),
        (
            "tcpffee_group_session_duration_seconds_bucket",
            &[("group", "1"), ("le", "+Inf")],
            2.0,
        ),
        (
            "tcpffee_target_connect_failures_total",
            &[("group", "1"), ("target", "192.0.2.1:80")],
            27.0,
        ),
        ("tcpffee_stick_entries", &[], 41.0),
        ("tcpffee_stick_max_entries", &[], 1_000_000.0),
        ("tcpffee_stick_assignments_total", &[], 42.0),
        ("tcpffee_stick_hits_total", &[], 43.0),
        ("tcpffee_stick_reassignments_total", &[], 44.0),
        ("tcpffee_stick_moves_total", &[], 45.0),
        ("tcpffee_stick_expiries_total", &[], 46.0),
        ("tcpffee_stick_evictions_total", &[], 47.0),
        ("tcpffee_stick_refusals_total", &[], 48.0),
        (
            "tcpffee_stick_saves_total",
            &[("outcome", "succeeded")],
            51.0,
        ),
        ("tcpffee_stick_saves_total", &[("outcome", "failed")], 52.0),
        ("tcpffee_stick_journal_records_total", &[], 53.0),
        ("tcpffee_stick_journal_failures_total", &[], 54.0),
        (
            "tcpffee_check_duration_seconds_count",
            &[("kind", "http")],
            1.0,
        ),
        (
            "tcpffee_check_duration_seconds_count",
            &[("kind", "tcp")],
            0.0,
        ),
        ("tcpffee_log_lines_lost_total", &[], 61.0),
        ("process_resident_memory_bytes", &[], 62.0),
        ("process_open_fds", &[], 63.0),
        ("process_max_fds", &[], 64.0),
        ("process_threads", &[], 65.0),
        ("process_cpu_seconds_total", &[], 66.5),
        ("process_start_time_seconds", &[], 1_700_000_000.5),
        (
            "tcpffee_raft_role",
            &[("raft", "stick_table"), ("role", "leader")],
            1.0,
        ),
        (
            "tcpffee_raft_role",
            &[("raft", "stick_table"), ("role", "follower")],
            0.0,
        ),
        ("tcpffee_raft_term", &[("raft", "stick_table")], 71.0),
        (
            "tcpffee_raft_commit_index",
            &[("raft", "stick_table")],
            72.0,
        ),
        (
            "tcpffee_raft_applied_index",
            &[("raft", "stick_table")],
            73.0,
        ),
        ("tcpffee_raft_log_bytes", &[("raft", "stick_table")], 74.0),
        ("tcpffee_raft_has_leader", &[("raft", "stick_table")], 1.0),
        ("tcpffee_raft_has_lease", &[("raft", "stick_table")], 0.0),
        ("tcpffee_raft_trouble", &[("raft", "stick_table")], 1.0),
        (
            "tcpffee_raft_member_connected",
            &[("raft", "stick_table"), ("member", "02:00:00:00:00:02")],
            0.0,
        ),
        (
            "tcpffee_raft_member_lag_entries",
            &[("raft", "stick_table"), ("member", "02:00:00:00:00:02")],
            75.0,
        ),
    ];
    for (metric, labels, expected) in expected {
        assert_eq!(value(metric, labels), Some(*expected), "{metric}{labels:?}");
    }
    let check = [
        ("group", "1"),
        ("check", "00000000000000ab"),
        ("kind", "http"),
    ];
    assert_eq!(value("tcpffee_check_failing", &check), Some(1.0));
    let target = [&check[..], &[("target", "192.0.2.1:80")]].concat();
    assert_eq!(value("tcpffee_check_target_failing", &target), Some(1.0));
    for (result, count) in [("passed", 81.0), ("failed", 82.0), ("not_run", 83.0)] {
        let labels = [&target[..], &[("result", result)]].concat();
        assert_eq!(value("tcpffee_check_results_total", &labels), Some(count));
    }
}

#[test]
fn every_figure_of_a_cluster_is_where_it_belongs() {
    let rendering = Rendering::parse(&figures().render());
    let raft = ("raft", "stick_table");
    for (metric, expected) in [
        ("log_entries", 78.0),
        ("snapshot_bytes", 79.0),
        ("command_version", 3.0),
        ("conflicts", 1.0),
        ("leader_changes_total", 77.0),
        ("elections_won_total", 86.0),
        ("log_syncs_total", 87.0),
        ("entries_applied_total", 88.0),
        ("proposals_total", 93.0),
        ("proposals_unanswered_total", 94.0),
    ] {
        let metric = format!("tcpffee_raft_{metric}");
        assert_eq!(
            rendering.value(&metric, &[raft]),
            Some(expected),
            "{metric}"
        );
    }
    let second = [raft, ("member", "02:00:00:00:00:02")];
    let expected: &[Expected<'_>] = &[
        ("snapshots_total", &[raft, ("outcome", "taken")], 89.0),
        ("snapshots_total", &[raft, ("outcome", "failed")], 91.0),
        ("snapshots_total", &[raft, ("outcome", "restored")], 92.0),
        ("proposals_waiting", &[raft, ("queue", "to_send")], 84.0),
        ("proposals_waiting", &[raft, ("queue", "at_leader")], 85.0),
        ("member_silent_seconds", &second, 0.25),
        ("member_snapshot_bytes", &second, 76.0),
    ];
    for (metric, labels, expected) in expected {
        let metric = format!("tcpffee_raft_{metric}");
        assert_eq!(
            rendering.value(&metric, labels),
            Some(*expected),
            "{metric}"
        );
    }
    for (metric, expected) in [
        ("has_lease", 1.0),
        ("stated", 0.0),
        ("quorum_lost", 1.0),
        ("barred", 1.0),
        ("file_differences", 2.0),
        ("operations_waiting", 101.0),
        ("batches_out", 102.0),
        ("records", 103.0),
        ("snapshot_held_bytes", 104.0),
        ("groups", 121.0),
        ("groups_taking_new", 122.0),
        ("fences", 123.0),
        ("waits_total", 106.0),
        ("asks_total", 107.0),
        ("alone_assignments_total", 109.0),
        ("alone_yielded_total", 110.0),
        ("renewals_total", 111.0),
        ("holds_total", 112.0),
        ("releases_total", 113.0),
        ("entries_lost_total", 114.0),
        ("batches_total", 115.0),
        ("operations_total", 116.0),
        ("batch_failures_total", 117.0),
        ("quorum_losses_total", 118.0),
        ("commit_duration_seconds_count", 1.0),
        ("commit_duration_seconds_sum", 0.004),
    ] {
        let metric = format!("tcpffee_cluster_{metric}");
        assert_eq!(rendering.value(&metric, &[]), Some(expected), "{metric}");
    }
    let present = [("member", "02:00:00:00:00:02")];
    let present = rendering.value("tcpffee_cluster_member_present", &present);
    assert_eq!(present, Some(1.0));
}
