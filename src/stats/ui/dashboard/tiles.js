// The node in five figures, each with the last five minutes.

import { byId, el, say, set, svg } from "./dom.js";
import { bytes, change, count, rate, short } from "./format.js";
import { Chart } from "./chart.js";
import { Rate, Series } from "./series.js";

const MINUTE_MS = 60 * 1000;

const connections = new Series();
const accepted = new Rate();
const bytesIn = new Rate();
const bytesOut = new Rate();
const bytesAll = new Rate();
const sticks = new Series();
const failures = new Rate();

const tiles = {
  connections: tile("Connections"),
  accepted: tile("New connections"),
  traffic: tile("Throughput", 2),
  sticks: tile("Sticks"),
  failures: tile("Failed or refused"),
};

function tile(title, lines = 1) {
  const figure = el("p", { class: "figure" }, "–");
  const note = el("p", { class: "note" }, "\u00a0");
  const chart = new Chart(title, lines);
  byId("tiles").append(el("article", { class: "tile" }, el("h3", {}, title), figure, note, chart.element));
  return { figure, note, chart };
}

/** The dashed line is what goes out; the note shows it beside the word. */
const directions = { in: el("span"), out: el("span") };
const dashes = svg("svg", { class: "chart swatch", viewBox: "0 0 18 4", "aria-hidden": "true" });
dashes.append(svg("path", { class: "line second", d: "M0 2H18" }));
const outgoing = el("span", { class: "unbroken" }, dashes, directions.out);
tiles.traffic.note.replaceChildren(directions.in, outgoing);

/** Connections that no client should see end so. */
const FAILURES = [
  "connect_failed", "connect_timeout", "no_port", "local_error", "no_group",
  "no_target", "table_full", "unanswered", "unsettled",
];

/** How many connections failed or were refused since the start. */
function failed(totals) {
  return FAILURES.reduce((sum, reason) => sum + (totals.ended[reason] ?? 0), 0);
}

/** Takes an overview as of `now`. */
export function showTotals(now, { totals, sticks: table }) {
  connections.add(now, totals.connections);
  accepted.count(now, totals.accepted);
  bytesIn.count(now, totals.bytes_in);
  bytesOut.count(now, totals.bytes_out);
  bytesAll.count(now, totals.bytes_in + totals.bytes_out);
  sticks.add(now, table.entries);
  failures.count(now, failed(totals));
  drawTotals(now);

  say(tiles.connections.figure, count(totals.connections));
  say(tiles.connections.note, share(totals.connections, totals.max_connections, connections));
  say(tiles.accepted.figure, rate(accepted.now));
  say(tiles.accepted.note, `${short(totals.accepted)} since the start`);
  say(tiles.traffic.figure, rate(bytesAll.now, bytes));
  say(directions.in, `in ${rate(bytesIn.now, bytes)}, `);
  say(directions.out, `out ${rate(bytesOut.now, bytes)}`);
  say(tiles.sticks.figure, count(table.entries));
  say(tiles.sticks.note, share(table.entries, table.max_entries, sticks));
  say(tiles.failures.figure, rate(failures.now));
  set(tiles.failures.figure, "data-level", failures.now > 0 ? "bad" : null);
  say(tiles.failures.note, `${count(failed(totals))} since the start`);
}

/** A gap in every chart: the proxy did not answer. */
export function loseTotals(now) {
  for (const series of [connections, accepted, bytesIn, bytesOut, bytesAll, sticks, failures]) {
    series.add(now, null);
  }
  drawTotals(now);
}

function drawTotals(now) {
  tiles.connections.chart.draw(now, [connections], count);
  tiles.accepted.chart.draw(now, [accepted], perSecond);
  tiles.traffic.chart.draw(now, [bytesAll, bytesOut], (value) => rate(value, bytes));
  tiles.sticks.chart.draw(now, [sticks], count);
  tiles.failures.chart.draw(now, [failures], perSecond);
}

function share(value, most, series) {
  const percent = most > 0 ? (value / most) * 100 : 0;
  const told = percent > 0 && percent < 1 ? "under 1" : percent.toFixed(0);
  const grown = series.changeIn(MINUTE_MS);
  const trend = grown === null ? "" : `, ${change(grown)}/min`;
  return `${told} % of ${count(most)}${trend}`;
}

const perSecond = (value) => rate(value);
