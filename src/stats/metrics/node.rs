//! The node as a whole: the proxy, its stick table, its process.

use super::figures::Figures;
use super::text::{MAX_SERIES, Text};
use crate::proxy::{OTHER_PORT, PortTraffic};

/// Writes the node's metrics.
pub fn write(figures: &Figures, text: &mut Text) {
    write_node(figures, text);
    write_ports(figures, text);
    write_proxy(figures, text);
    write_sticks(figures, text);
    write_process(figures, text);
}

fn write_node(figures: &Figures, text: &mut Text) {
    let (rest, reloads) = (&figures.rest, &figures.rest.reloads);
    text.gauge("tcpffee_build_info", "1, with the program's version.")
        .sample(&[("version", &rest.version)], 1);
    text.gauge(
        "tcpffee_healthy",
        "Whether this node may get traffic, as /api/v1/health says.",
    )
    .flag(&[], rest.is_healthy);
    text.gauge(
        "tcpffee_accepting",
        "Whether new clients are let in; 0 once the process is stopping.",
    )
    .flag(&[], figures.is_accepting);
    text.gauge(
        "tcpffee_configuration_generation",
        "Generation of the configuration in force: 1 at the start, one more for each that came into force.",
    )
    .sample(&[], figures.generation);
    let mut family = text.counter(
        "tcpffee_reloads_total",
        "Attempts to put another configuration in force, by outcome.",
    );
    family.sample(&[("outcome", "succeeded")], reloads.succeeded);
    family.sample(&[("outcome", "refused")], reloads.refused);
    text.gauge(
        "tcpffee_last_reload_successful",
        "Whether the last reload was not refused; 1 where there was none.",
    )
    .flag(&[], reloads.last_succeeded);
    text.gauge(
        "tcpffee_last_reload_success_timestamp_seconds",
        "When a configuration was last put in force, the start included, since 1970.",
    )
    .sample(&[], reloads.last_success_unix_seconds);
}

fn write_ports(figures: &Figures, text: &mut Text) {
    let series = |pick: fn(&PortTraffic) -> u64| {
        let own = figures
            .ports
            .iter()
            .filter(|(port, _)| **port != OTHER_PORT);
        let own = own.map(|(port, traffic)| ([port.to_string()], pick(traffic)));
        let rest = figures.ports.get(&OTHER_PORT).map(pick);
        (own.collect::<Vec<_>>(), rest)
    };
    let (now, rest) = series(|port| port.connections);
    text.gauge(
        "tcpffee_connections",
        "Connections now by listened port, those without a target yet included.",
    )
    .bounded(MAX_SERIES, ["port"], &[], &now, rest);
    let (accepted, rest) = series(|port| port.accepted);
    text.counter(
        "tcpffee_connections_accepted_total",
        "Connections accepted, by listened port.",
    )
    .bounded(MAX_SERIES, ["port"], &[], &accepted, rest);
}

fn write_proxy(figures: &Figures, text: &mut Text) {
    let totals = &figures.totals;
    text.gauge(
        "tcpffee_open_connections",
        "Connections now, over all ports: what max_connections bounds.",
    )
    .sample(&[], figures.connections);
    text.gauge("tcpffee_max_connections", "Most connections at once.")
        .sample(&[], figures.max_connections);
    text.counter(
        "tcpffee_accept_pauses_total",
        "Times that accepting paused for want of descriptors or memory.",
    )
    .sample(&[], totals.accept_pauses);
    text.counter(
        "tcpffee_slice_timeouts_total",
        "Connections whose key slice did not come in time: their key is the address alone.",
    )
    .sample(&[], totals.slice_timeouts);
    text.counter(
        "tcpffee_connect_failures_total",
        "Connects that failed by the target's fault.",
    )
    .sample(&[], totals.connect_failures);
    text.gauge("tcpffee_held_bytes", "Bytes held for slow receivers.")
        .sample(&[], figures.held_bytes);
    text.gauge(
        "tcpffee_max_held_bytes",
        "The bound on held bytes (max_buffered_bytes).",
    )
    .sample(&[], figures.max_held_bytes);
    text.counter(
        "tcpffee_held_bytes_bound_met_total",
        "Turns of connections that found the bound on held bytes reached.",
    )
    .sample(&[], totals.buffer_pressure);
    text.gauge(
        "tcpffee_clients_tracked",
        "Clients whose connections are counted now (max_connections_per_client).",
    )
    .sample(&[], figures.clients_tracked);
    text.counter(
        "tcpffee_client_rates_forgotten_total",
        "Clients whose rate of new connections was forgotten early, because more came than are \
         remembered (max_new_connections_per_second_per_client).",
    )
    .sample(&[], figures.client_rates_forgotten);
}

fn write_sticks(figures: &Figures, text: &mut Text) {
    let (sticks, saves) = (&figures.sticks, &figures.rest.saves);
    text.gauge(
        "tcpffee_stick_entries",
        "Entries of the stick table, expired ones that were not swept yet included.",
    )
    .sample(&[], sticks.entries);
    text.gauge(
        "tcpffee_stick_max_entries",
        "Most entries of the stick table (stick_table_max_entries).",
    )
    .sample(&[], figures.max_sticks);
    let counts = [
        (
            "tcpffee_stick_assignments_total",
            "Keys that were given a group, having no valid entry.",
            sticks.assignments,
        ),
        (
            "tcpffee_stick_hits_total",
            "Connections answered by a valid entry.",
            sticks.hits,
        ),
        (
            "tcpffee_stick_reassignments_total",
            "Valid entries given another group because theirs was Disabled or gone.",
            sticks.reassignments,
        ),
        (
            "tcpffee_stick_moves_total",
            "Entries of new keys moved to another group: from one that could not be connected or cannot see the client (transparent), and from a full one.",
            sticks.moves,
        ),
        (
            "tcpffee_stick_expiries_total",
            "Entries that expired.",
            sticks.expiries,
        ),
        (
            "tcpffee_stick_evictions_total",
            "Entries that gave way to a new key in a full table.",
            sticks.evictions,
        ),
        (
            "tcpffee_stick_refusals_total",
            "Connections refused by the stick table, for whichever reason.",
            sticks.refusals,
        ),
    ];
    for (name, help, count) in counts {
        text.counter(name, help).sample(&[], count);
    }
    let mut family = text.counter(
        "tcpffee_stick_saves_total",
        "Full saves of the stick table, by outcome.",
    );
    family.sample(&[("outcome", "succeeded")], saves.saves);
    family.sample(&[("outcome", "failed")], saves.save_failures);
    text.counter(
        "tcpffee_stick_journal_records_total",
        "Records written to the stick table's journal.",
    )
    .sample(&[], saves.records);
    text.counter(
        "tcpffee_stick_journal_failures_total",
        "Journals of the stick table that could not be created or written.",
    )
    .sample(&[], saves.journal_failures);
}

fn write_process(figures: &Figures, text: &mut Text) {
    let process = &figures.rest.process;
    text.counter(
        "tcpffee_log_lines_lost_total",
        "Log lines lost because the log could not be written fast enough.",
    )
    .sample(&[], process.log_lines_lost);
    text.gauge(
        "process_resident_memory_bytes",
        "Memory that the process holds.",
    )
    .sample(&[], process.resident_bytes);
    text.gauge("process_open_fds", "Descriptors that the process has open.")
        .sample(&[], process.open_descriptors);
    text.gauge("process_max_fds", "Most descriptors of the process.")
        .sample(&[], process.max_descriptors);
    text.gauge("process_threads", "Threads of the process.")
        .sample(&[], process.threads);
    text.counter(
        "process_cpu_seconds_total",
        "CPU time that the process has used.",
    )
    .sample(&[], process.cpu_seconds);
    text.gauge(
        "process_start_time_seconds",
        "When the process started, since 1970.",
    )
    .sample(&[], figures.rest.started_unix_seconds);
}
