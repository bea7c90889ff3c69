//! Groups of the configuration in force, and their targets.

use super::figures::{Figures, Group};
use super::text::{MAX_SERIES, OTHER, Text};
use crate::groups::Status;
use crate::proxy::{End, GroupTraffic};

/// The group of connections that ended before one was given to them.
const NO_GROUP: &str = "none";

/// What went to a group, or to all that have no series of their own.
type Traffic<'a> = (String, &'a GroupTraffic);

/// Writes the groups' metrics.
pub fn write(figures: &Figures, text: &mut Text) {
    write_status(figures, text);
    write_places(figures, text);
    let others = others(figures);
    let own = figures.groups.iter().take(MAX_SERIES);
    let own = own.map(|group| (group.id.to_string(), &group.traffic));
    let others = others.iter().map(|traffic| (OTHER.to_owned(), traffic));
    let traffics: Vec<Traffic<'_>> = own.chain(others).collect();
    write_connections(figures, &traffics, text);
    write_traffic(&traffics, text);
    write_targets(figures, text);
}

fn write_status(figures: &Figures, text: &mut Text) {
    let mut family = text.gauge(
        "tcpffee_group_status",
        "1 for the status that a group has, 0 for the others.",
    );
    for status in [Status::Up, Status::Draining, Status::Disabled] {
        let of = |group: &Group| {
            let labels = [group.id.to_string(), group.name.clone()];
            (labels, u64::from(group.status == status))
        };
        let series: Vec<_> = figures.groups.iter().map(of).collect();
        let word = status.to_string();
        let fixed = [("status", &*word)];
        family.bounded(MAX_SERIES, ["group", "name"], &fixed, &series, None);
    }
    let by_group = |pick: fn(&Group) -> u64| -> Vec<_> {
        let groups = figures.groups.iter();
        groups
            .map(|group| ([group.id.to_string()], pick(group)))
            .collect()
    };
    text.gauge("tcpffee_group_sticks", "Stick entries that name a group.")
        .bounded(
            MAX_SERIES,
            ["group"],
            &[],
            &by_group(|group| group.sticks),
            None,
        );
    let connections = by_group(|group| group.traffic.connections);
    text.gauge(
        "tcpffee_group_connections",
        "Established connections with a group now.",
    )
    .bounded(MAX_SERIES, ["group"], &[], &connections, None);
}

fn write_places(figures: &Figures, text: &mut Text) {
    let groups = figures.groups.iter();
    let queued: Vec<_> = groups
        .map(|group| ([group.id.to_string()], group.queued))
        .collect();
    text.gauge(
        "tcpffee_group_queued",
        "Connections that wait for a place with a group now (max_connections).",
    )
    .bounded(MAX_SERIES, ["group"], &[], &queued, None);
    let bounded = figures.groups.iter().filter_map(|group| {
        let max = group.max_connections?;
        Some((group.id.to_string(), max, group.places_taken))
    });
    let (bounds, taken): (Vec<_>, Vec<_>) = bounded
        .map(|(id, max, taken)| (([id.clone()], max), ([id], taken)))
        .unzip();
    text.gauge(
        "tcpffee_group_places_taken",
        "Connections with a group now, those being made included, where they are bounded.",
    )
    .bounded(MAX_SERIES, ["group"], &[], &taken, None);
    text.gauge(
        "tcpffee_group_max_connections",
        "Connections that a group may have at once, where that is bounded.",
    )
    .bounded(MAX_SERIES, ["group"], &[], &bounds, None);
    let rising = figures.groups.iter().filter_map(|group| {
        let left = group.slow_start_seconds_left?;
        Some(([group.id.to_string()], left))
    });
    text.gauge(
        "tcpffee_group_slow_start_seconds",
        "Seconds for which the share of new keys of a group goes on rising, where it has slow_start.",
    )
    .bounded(MAX_SERIES, ["group"], &[], &rising.collect::<Vec<_>>(), None);
}

fn write_connections(figures: &Figures, traffics: &[Traffic<'_>], text: &mut Text) {
    let mut family = text.counter(
        "tcpffee_group_connections_total",
        "Connections that were given to a group, whether or not a target took them.",
    );
    for (id, traffic) in traffics {
        family.sample(&[("group", id)], traffic.connections_total);
    }
    let mut family = text.counter(
        "tcpffee_connections_ended_total",
        "Connections that ended, by the group that they were given to last and by reason.",
    );
    // Without a group every reason is listed; a group has those that occurred.
    for (end, count) in End::ALL.iter().zip(figures.ended_without_group) {
        let labels = [("group", NO_GROUP), ("reason", end.as_str())];
        family.sample(&labels, count);
    }
    for (id, traffic) in traffics {
        for end in End::ALL {
            let count = traffic.ended(end);
            if count > 0 {
                family.sample(&[("group", id), ("reason", end.as_str())], count);
            }
        }
    }
}

fn write_traffic(traffics: &[Traffic<'_>], text: &mut Text) {
    let mut family = text.counter(
        "tcpffee_group_traffic_bytes_total",
        "Bytes that reached their receiver: in from clients to targets, out from targets to clients.",
    );
    for (id, traffic) in traffics {
        let bytes = [("in", traffic.bytes_in), ("out", traffic.bytes_out)];
        for (direction, bytes) in bytes {
            family.sample(&[("group", id), ("direction", direction)], bytes);
        }
    }
    let mut family = text.histogram(
        "tcpffee_group_connect_duration_seconds",
        "From the begin of a connect to its target connected.",
    );
    for (id, traffic) in traffics {
        family.durations(&[("group", id)], &traffic.connect_time);
    }
    let mut family = text.histogram(
        "tcpffee_group_session_duration_seconds",
        "From accept to the end, of connections that a target took and that have ended.",
    );
    for (id, traffic) in traffics {
        family.durations(&[("group", id)], &traffic.session_time);
    }
}

fn write_targets(figures: &Figures, text: &mut Text) {
    let of = |group: &Group| {
        let id = group.id.to_string();
        let targets = group.targets.clone().into_iter();
        targets.map(move |target| ([id.clone(), target.target], target.connect_failures))
    };
    let series: Vec<_> = figures.groups.iter().flat_map(of).collect();
    text.counter(
        "tcpffee_target_connect_failures_total",
        "Connects that a target did not take.",
    )
    .bounded(MAX_SERIES, ["group", "target"], &[], &series, None);
}

/// What went to all groups that have no series of their own, if anything did.
fn others(figures: &Figures) -> Option<GroupTraffic> {
    let mut sum = figures.other_groups.clone();
    for group in figures.groups.iter().skip(MAX_SERIES) {
        sum += &group.traffic;
    }
    (sum.connections_total > 0).then_some(sum)
}
