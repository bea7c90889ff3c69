// Targets of a group, put together: a hundred ports of one server are one line.

import { el, say, set, show } from "./dom.js";
import { count, counted, portRanges } from "./format.js";
import { Growth } from "./series.js";

/** More lines than this tell less: the rest is counted. */
const MAX_LINES = 6;

/**
 * Lines of `{key, ports, place, failures, isAbsent}`, those in trouble first; `leftOut` targets are
 * not among those that were told.
 */
export function targetLines(targets, leftOut) {
  const places = new Map();
  for (const target of targets) {
    const { key, place } = placeOf(target);
    const one = places.get(key) ?? { place, ports: [], failures: 0, isAbsent: target.address === null };
    one.ports.push(target.port);
    one.failures += target.connect_failures;
    places.set(key, one);
  }
  const lines = [...places].map(([key, one]) => ({
    key,
    ports: portRanges(one.ports),
    place: one.place,
    failures: one.failures,
    isAbsent: one.isAbsent,
  }));
  lines.sort((a, b) => b.isAbsent - a.isAbsent || b.failures - a.failures);
  return cut(lines, leftOut);
}

/** The same port on the same server is told by the server alone. */
function placeOf({ port, target, address }) {
  const isSamePort = target.endsWith(`:${port}`);
  const told = isSamePort ? target.slice(0, -`:${port}`.length) : target;
  const host = address?.replace(/:\d+$/, "") ?? null;
  const isName = address !== null && !target.startsWith(host);
  const place = isName ? `${told} (${host})` : told;
  return { key: `${place} ${isSamePort} ${address === null}`, place };
}

function cut(lines, leftOut) {
  const left = Math.max(lines.length - MAX_LINES, 0) + leftOut;
  if (left === 0) {
    return lines;
  }
  const rest = { key: "", ports: "", place: `and ${count(left)} more`, failures: 0, isAbsent: false };
  return [...lines.slice(0, MAX_LINES), rest];
}

/** A line, with what went wrong: in red while it goes on. */
export function targetView() {
  const ports = el("span", { class: "ports" });
  const place = el("span", { class: "place" });
  const trouble = el("span");
  const failed = new Growth();
  return {
    element: el("li", {}, ports, place, trouble),
    update({ ports: which, place: where, failures, isAbsent }) {
      failed.count(Date.now(), { failures });
      const lately = failed.of("failures", failures);
      say(ports, which);
      say(place, where);
      say(trouble, troubleOf(failures, lately, isAbsent));
      set(trouble, "class", isAbsent || lately > 0 ? "trouble" : "note");
      show(trouble, isAbsent || failures > 0);
    },
  };
}

function troubleOf(failures, lately, isAbsent) {
  if (isAbsent) {
    return "no address";
  }
  const all = `${counted(failures, "failed connect")} since the start`;
  return lately > 0 ? `${all}, ${count(lately)} lately` : all;
}
