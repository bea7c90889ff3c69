// The process and how connections ended: for whoever looks for the cause.

import { byId, el, follow, say, set } from "./dom.js";
import { bytes, clock, count, counted, duration } from "./format.js";
import { Growth, Rate } from "./series.js";

/** Ends in order; every other one deserves a look when it grows. */
const ORDERLY = new Set(["client_finished", "target_finished"]);

const ended = new Growth();
const cpu = new Rate();

/** Takes an overview as of `now`. */
export function showProcess(now, overview) {
  ended.count(now, overview.totals.ended);
  cpu.count(now, overview.process.cpu_seconds);
  showIdentity(overview);
  showEndings(overview.totals.ended);
  follow(byId("process"), facts(overview), ({ title }) => title, factView);
}

function showIdentity({ version, node, uptime_seconds: uptime }) {
  const words = [`version ${version}`, node === null ? "lone node" : `node ${node}`, `up ${duration(uptime)}`];
  say(byId("identity"), words.join(" · "));
}

function showEndings(counters) {
  const rows = Object.entries(counters)
    .filter(([, total]) => total > 0)
    .map(([reason, total]) => ({ reason, total, lately: ended.of(reason, total) }));
  rows.sort((a, b) => b.lately - a.lately || b.total - a.total);
  follow(byId("endings"), rows, ({ reason }) => reason, endingView);
  byId("endings-none").hidden = rows.length > 0;
}

function endingView({ reason }) {
  const lately = el("td", { "data-title": "Lately" });
  const total = el("td", { "data-title": "Since the start" });
  const name = el("th", { scope: "row" }, reason.replaceAll("_", " "));
  const element = el("tr", {}, name, lately, total);
  return {
    element,
    update(row) {
      say(lately, count(row.lately));
      say(total, count(row.total));
      set(element, "data-orderly", ORDERLY.has(reason));
    },
  };
}

function facts({ key_type: keyType, started, generation, sticks, reloads, saves, process }) {
  return [
    { title: "Started", text: `${clock(new Date(started))}, process ${process.pid}` },
    { title: "Key", text: keyType === "IP" ? "client address" : "client address and slice of the first message" },
    { title: "Sticks live", text: `${duration(sticks.expiration_seconds)} after the last activity` },
    { title: "Stick counts", text: stickCounts(sticks) },
    { title: "Configuration", text: reloadsOf(generation, reloads), isTrouble: reloads.last_problems.length > 0 },
    { title: "Saves", text: savesOf(saves), isTrouble: saves.last_error !== null },
    { title: "Memory", text: bytes(process.resident_bytes) },
    { title: "CPU", text: cpu.now === null ? "–" : `${(cpu.now * 100).toFixed(0)} % of a core` },
    { title: "Descriptors", text: `${count(process.open_descriptors)} of ${count(process.max_descriptors)}` },
    { title: "Threads", text: count(process.threads) },
    { title: "Log lines lost", text: count(process.log_lines_lost), isTrouble: process.log_lines_lost > 0 },
  ];
}

function stickCounts({ assignments, hits, reassignments, expiries, evictions, refusals }) {
  const words = [
    counted(assignments, "assignment"), counted(hits, "hit"), counted(reassignments, "reassignment"),
    counted(expiries, "expiry", "expiries"), counted(evictions, "eviction"), counted(refusals, "refusal"),
  ];
  return words.join(", ");
}

function reloadsOf(generation, { refused, last, last_problems: problems }) {
  const words = [`generation ${generation}`];
  if (last !== null) {
    words.push(`last reload ${clock(new Date(last))}`);
  }
  if (problems.length > 0) {
    words.push(`refused: ${problems.join("; ")}`);
  } else if (refused > 0) {
    words.push(`${count(refused)} refused before`);
  }
  return words.join(", ");
}

function savesOf({ succeeded, failed, last_error: error }) {
  const words = [`${count(succeeded)} written`];
  if (failed > 0) {
    words.push(`${count(failed)} failed`);
  }
  if (error !== null) {
    words.push(error);
  }
  return words.join(", ");
}

function factView({ title }) {
  const value = el("dd");
  const element = el("div", {}, el("dt", {}, title), value);
  return {
    element,
    update({ text, isTrouble }) {
      say(value, text);
      set(element, "data-trouble", isTrouble ? "true" : null);
    },
  };
}
