// What happened lately, newest first.

import { byId, el, follow, mark, say, setMark, show } from "./dom.js";
import { clock, count } from "./format.js";

const SHOWN = 40;

/** Shows the newest events. */
export function showEvents({ events }) {
  const newest = events.slice(0, SHOWN);
  follow(byId("events"), newest, (event) => `${event.number} ${event.time}`, eventView);
  // They are numbered from 1.
  const older = events.length > 0 ? events[0].number - newest.length : 0;
  show(byId("events-none"), events.length === 0);
  show(byId("events-left"), older > 0);
  say(byId("events-left"), `and ${count(older)} older`);
}

function eventView({ time, kind, is_warning: isWarning, text }) {
  const moment = new Date(time);
  const sign = mark();
  setMark(sign, isWarning ? "warning" : "good");
  const when = el("time", { datetime: time });
  const warning = isWarning ? [el("span", { class: "hidden" }, "Warning: ")] : [];
  const words = el("span", { class: "words" }, ...warning, text);
  const element = el("li", {}, when, sign, el("span", { class: "kind" }, kind), words);
  // At midnight a time of today becomes one of yesterday.
  return { element, update: () => say(when, clock(moment)) };
}
