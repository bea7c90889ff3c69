// The cluster: its nodes with role, lag and health, for each of its two Raft groups.

import { byId, el, follow, mark, say, setMark, show } from "./dom.js";
import { bytes, count, counted, duration } from "./format.js";

const NAMES = { stick_table: "Stick table", healthchecks: "Health checks" };
/** On a phone the tables become blocks, which takes their meaning away: roles keep it. */
const COLUMNS = ["Node", "Role", "Behind", "Heard", "State"];

/** Shows the Raft groups; a lone node has none, and no section for them. */
export function showCluster(raft, ownNode) {
  const groups = Object.keys(NAMES)
    .filter((name) => raft[name] !== null)
    .map((name) => ({ name, group: raft[name], ownNode }));
  show(byId("cluster"), groups.length > 0);
  follow(byId("raft-groups"), groups, ({ name }) => name, raftView);
}

function raftView({ name }) {
  const sign = mark();
  const state = el("span");
  const trouble = el("p", { class: "trouble" });
  const rows = el("tbody", { role: "rowgroup" });
  const log = el("p", { class: "note" });
  const titles = COLUMNS.map((title) => el("th", { role: "columnheader" }, title));
  const head = el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...titles));
  const table = el("table", { role: "table", "aria-label": NAMES[name] }, head, rows);
  const line = el("p", { class: "line" }, sign, state);
  return {
    element: el("article", { class: "panel raft" }, el("h3", {}, NAMES[name]), line, trouble, table, log),
    update({ group, ownNode }) {
      setMark(sign, levelOf(group));
      say(state, sentence(group, ownNode));
      say(trouble, group.trouble ?? "");
      show(trouble, group.trouble !== null);
      const members = group.members.map((member) => ({ member, group, ownNode }));
      follow(rows, members, ({ member }) => member.node, memberView);
      say(log, logOf(group));
    },
  };
}

function levelOf({ trouble, leader, has_lease: hasLease, members }) {
  if (trouble !== null || leader === null) {
    return "bad";
  }
  const isWhole = members.every((member) => member.connected && member.conflict === null);
  return hasLease && isWhole ? "good" : "warning";
}

function sentence({ role, term, leader, has_lease: hasLease, forming, cluster }, ownNode) {
  if (cluster === null) {
    return `Not formed yet: ${forming}`;
  }
  const who = leader === null ? "no leader" : leader === ownNode ? "led by this node" : `led by ${leader}`;
  return `This node is ${role} in term ${count(term)}, ${who}; ${hasLease ? "has a lease" : "has no lease"}`;
}

function logOf({ log_bytes: size, first, last, commit, applied }) {
  const entries = `entries ${count(first)} to ${count(last)}`;
  return `Log of ${bytes(size)}: ${entries}, committed ${count(commit)}, applied ${count(applied)}`;
}

function memberView() {
  const cells = COLUMNS.map((title) => el("td", { role: "cell", "data-title": title }));
  const sign = mark();
  const state = el("span");
  cells[4].append(sign, state);
  return {
    element: el("tr", { role: "row" }, ...cells),
    update({ member, group, ownNode }) {
      const isOwn = member.node === ownNode;
      say(cells[0], isOwn ? `${member.node} (this node)` : member.node);
      say(cells[1], roleOf(member, group));
      say(cells[2], member.lag === null ? "–" : counted(member.lag, "entry", "entries"));
      say(cells[3], heard(member, isOwn));
      setMark(sign, member.conflict !== null ? "bad" : member.connected ? "good" : "warning");
      say(state, member.conflict ?? (member.connected ? "connected" : "not connected"));
    },
  };
}

function roleOf({ node, votes }, { leader }) {
  if (node === leader) {
    return "leader";
  }
  return votes ? "follower" : "learner";
}

function heard({ silent_seconds: silent }, isOwn) {
  if (isOwn || silent === null) {
    return "–";
  }
  return `${duration(silent)} ago`;
}
