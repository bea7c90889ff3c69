// The groups: those that are out first, each with what it is, why, since when and who is on it.

import { byId, el, follow, mark, say, set, setMark, show } from "./dom.js";
import { bytes, change, clock, count, counted, drainingSentence, duration, rate } from "./format.js";
import { Chart } from "./chart.js";
import { checkView } from "./checks.js";
import { Rate, Series } from "./series.js";
import { targetLines, targetView } from "./targets.js";

const MINUTE_MS = 60 * 1000;
const LEVELS = { Up: "good", Draining: "warning", Disabled: "bad" };
const SEVERITY = { Disabled: 0, Draining: 1, Up: 2 };

/** Shows the groups as of `now`; `since` knows when each status began, by group id. */
export function showGroups(now, groups, total, since) {
  const sorted = [...groups].sort((a, b) => SEVERITY[a.status] - SEVERITY[b.status] || a.id - b.id);
  const shown = sorted.map((group) => ({ now, group, since: since.get(group.id) ?? null }));
  follow(byId("groups"), shown, ({ group }) => group.id, groupView);
  say(byId("groups-summary"), summary(groups));
  const left = total - groups.length;
  show(byId("groups-left"), left > 0);
  say(byId("groups-left"), `${counted(left, "group")} more: see api/v1/groups`);
}

/** "1 disabled, 1 draining, 3 up" */
function summary(groups) {
  const words = Object.keys(SEVERITY).map((status) => {
    const amount = groups.filter((group) => group.status === status).length;
    return amount > 0 ? `${count(amount)} ${status.toLowerCase()}` : null;
  });
  return words.filter(Boolean).join(", ");
}

function groupView({ group }) {
  const part = parts(group);
  const series = { connections: new Series(), sticks: new Series(), in: new Rate(), out: new Rate() };
  return {
    element: part.card,
    update({ now, group, since }) {
      series.connections.add(now, group.connections);
      series.sticks.add(now, group.sticks);
      series.in.count(now, group.bytes_in);
      series.out.count(now, group.bytes_out);
      showState(part, group, since);
      showFigures(part, series, group);
      part.chart.draw(now, [series.connections], (most) => counted(most, "connection"));
      follow(part.targets, targetLines(group.targets, group.targets_left_out), (line) => line.key, targetView);
      follow(part.checks, group.healthchecks, (check) => check.id, checkView);
    },
  };
}

/** Everything of a card that changes, by name. */
function parts(group) {
  const heading = el("h3", { id: `group-${group.id}` });
  const sign = mark();
  const status = el("span", { class: "status" });
  const reason = el("p", { class: "reason" });
  const progress = el("p", { class: "progress" });
  const figures = ["sticks", "connections", "in", "out"].map(() => el("dd"));
  const trends = figures.map(() => el("dd", { class: "trend" }));
  const titles = ["Keys", "Connections", "In", "Out"];
  const list = el("dl", { class: "figures" });
  titles.forEach((title, at) => list.append(el("div", {}, el("dt", {}, title), figures[at], trends[at])));
  const chart = new Chart("Connections");
  const targets = el("ul", { class: "targets" });
  const checks = el("div", { class: "checks" });
  const ended = el("p", { class: "ended" });
  const badge = el("span", { class: "badge" }, sign, status);
  const head = el("header", {}, heading, badge);
  const card = el("article", { class: "group", "aria-labelledby": heading.id, "data-group": group.id });
  card.append(head, reason, progress, list, chart.element, targets, checks, ended);
  return { card, heading, sign, status, reason, progress, figures, trends, chart, targets, checks, ended };
}

function titleOf({ id, name }) {
  return name === null ? `Group ${id}` : `${name} (group ${id})`;
}

function showState(part, group, since) {
  const level = LEVELS[group.status] ?? "unknown";
  set(part.card, "data-status", group.status);
  set(part.card, "data-level", level);
  setMark(part.sign, level);
  say(part.heading, titleOf(group));
  say(part.status, group.status);
  const began = since === null ? "" : `since ${clock(since)}`;
  const why = [group.reason, began, roleOf(group)].filter(Boolean);
  say(part.reason, why.join(" · "));
  show(part.reason, why.length > 0);
  const progress = progressOf(group);
  say(part.progress, progress);
  show(part.progress, progress !== "");
}

function roleOf({ backup, weight }) {
  const words = [backup ? "backup" : "", weight === 1 ? "" : `weight ${weight}`];
  return words.filter(Boolean).join(", ");
}

/** What is left of a group that is out, and what becomes of it. */
function progressOf({ status, draining, drained, sticks, connections }) {
  if (drained) {
    return status === "Draining"
      ? "Drained: nothing is left of it, it may be switched off"
      : "No key and no connection is left on it";
  }
  if (draining !== null) {
    return `Draining for ${duration(draining.for_seconds)}: ${drainingSentence(draining)}`;
  }
  if (status !== "Disabled") {
    return "";
  }
  const open = `${counted(connections, "connection")} still open`;
  return `${open}; ${counted(sticks, "key")} to be assigned anew when the client comes back`;
}

function showFigures({ figures, trends, ended }, series, group) {
  say(figures[0], count(group.sticks));
  say(figures[1], count(group.connections));
  say(figures[2], rate(series.in.now, bytes));
  say(figures[3], rate(series.out.now, bytes));
  say(trends[0], trend(series.sticks));
  say(trends[1], [placesOf(group), trend(series.connections)].filter(Boolean).join(", "));
  say(trends[2], `${bytes(group.bytes_in)} total`);
  say(trends[3], `${bytes(group.bytes_out)} total`);
  const failed = ["connect_failed", "connect_timeout", "target_reset", "target_lost"]
    .filter((reason) => group.ended[reason] > 0)
    .map((reason) => `${reason.replaceAll("_", " ")} ${count(group.ended[reason])}`);
  say(ended, failed.length > 0 ? `Since the start: ${failed.join(", ")}` : "");
  show(ended, failed.length > 0);
}

/** How many connections a group may have, where that is bounded, and how many wait for a place. */
function placesOf({ max_connections: most, queued }) {
  if (most === null) {
    return "";
  }
  return queued === 0 ? `of ${count(most)}` : `of ${count(most)}, ${count(queued)} waiting`;
}

function trend(series) {
  const grown = series.changeIn(MINUTE_MS);
  return grown === null ? "\u00a0" : `${change(grown)}/min`;
}
