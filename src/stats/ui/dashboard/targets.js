// Targets of a group, put together: a hundred ports of one server are one line.

import { count, portRanges } from "./format.js";

/** More lines than this tell less: the rest is counted. */
const MAX_LINES = 6;

/** Lines of `{key, ports, place, trouble}`, those in trouble first. */
export function targetLines(targets) {
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
    trouble: troubleOf(one),
  }));
  lines.sort((a, b) => (b.trouble !== "") - (a.trouble !== ""));
  return cut(lines);
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

function troubleOf({ failures, isAbsent }) {
  if (isAbsent) {
    return "no address";
  }
  return failures > 0 ? `${count(failures)} failed ${failures === 1 ? "connect" : "connects"}` : "";
}

function cut(lines) {
  if (lines.length <= MAX_LINES) {
    return lines;
  }
  const left = lines.length - MAX_LINES;
  const rest = { key: "", ports: "", place: `and ${count(left)} more`, trouble: "" };
  return [...lines.slice(0, MAX_LINES), rest];
}
