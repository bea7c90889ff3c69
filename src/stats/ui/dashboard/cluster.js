// The cluster: how this node serves in it, and its nodes with role, lag and health, for each of its
// two Raft groups.

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
  showServing(raft.node ?? null);
  follow(byId("raft-groups"), groups, ({ name }) => name, raftView);
}

/** How this node serves: without a leader a banner says by what, and files that differ are told. */
function showServing(node) {
  const banner = node === null ? "" : bannerOf(node);
  say(byId("cluster-banner"), banner);
  show(byId("cluster-banner"), banner !== "");
  say(byId("cluster-serving"), node === null ? "" : servingSentence(node));
  const differences = node === null ? [] : node.differences;
  show(byId("cluster-differences"), differences.length > 0);
  follow(byId("cluster-differences"), differences, (text) => text, differenceView);
}

function bannerOf({ barred, quorum_lost: isLost, no_quorum: policy, no_quorum_after_seconds: after }) {
  if (barred !== null) {
    return `This node may not serve anybody: ${barred}`;
  }
  if (!isLost) {
    return "";
  }
  const what = policy === "assign"
    ? "known clients go on, new ones are given groups by rendezvous hash"
    : "clients are reset until one does";
  return `Quorum lost: no leader has answered for ${duration(after)}; ${what}`;
}

function servingSentence({ has_lease: hasLease, stated, counts, commit_latency: latency, agreed }) {
  const words = [hasLease ? "has a lease" : "has no lease"];
  if (!stated) {
    words.push("its file is not stated in the log yet");
  }
  if (latency.p50_seconds !== null) {
    words.push(`agreed within ${duration(latency.p50_seconds)}, p99 ${duration(latency.p99_seconds)}`);
  }
  words.push(`${count(agreed.groups_taking_new)} of ${counted(agreed.groups_total, "group")} agreed to take new clients`);
  if (counts.alone > 0) {
    words.push(`${counted(counts.alone, "key")} given without a leader, ${count(counts.yielded)} gave way`);
  }
  return `This node ${words.join("; ")}`;
}

function differenceView(text) {
  const sign = mark();
  setMark(sign, "warning");
  return { element: el("li", {}, sign, el("span", {}, text)), update() {} };
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

function sentence({ role, term, leader, has_lease: hasLease, forming, cluster, members }, ownNode) {
  if (cluster === null) {
    return `Not formed yet: ${forming}`;
  }
  const who = leader === null ? "no leader" : leader === ownNode ? "led by this node" : `led by ${titleOf(leader, members)}`;
  return `This node is ${role} in term ${count(term)}, ${who}; ${hasLease ? "has a lease" : "has no lease"}`;
}

function titleOf(node, members) {
  const host = members.find((member) => member.node === node)?.host ?? null;
  return host === null ? node : `${node} (${host})`;
}

function logOf({ log_bytes: size, first, last, commit, applied, snapshot_bytes: snapshot, leader_changes: changes }) {
  const entries = `entries ${count(first)} to ${count(last)}`;
  const words = [`Log of ${bytes(size)}: ${entries}, committed ${count(commit)}, applied ${count(applied)}`];
  if (snapshot !== null) {
    words.push(`snapshot of ${bytes(snapshot)}`);
  }
  words.push(counted(changes, "leader change"));
  return words.join("; ");
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
      say(cells[0], isOwn ? `${member.node} (this node)` : titleOf(member.node, [member]));
      say(cells[1], roleOf(member, group));
      say(cells[2], member.lag === null ? "–" : counted(member.lag, "entry", "entries"));
      say(cells[3], heard(member, isOwn));
      setMark(sign, member.conflict !== null ? "bad" : member.connected ? "good" : "warning");
      say(state, stateOf(member));
    },
  };
}

function stateOf({ conflict, connected, snapshot_bytes: snapshot }) {
  if (conflict !== null) {
    return conflict;
  }
  const words = connected ? "connected" : "not connected";
  return snapshot === null ? words : `${words}, ${bytes(snapshot)} of a snapshot have arrived`;
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
