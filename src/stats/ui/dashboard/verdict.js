// At a glance: is everything well? And is what the page shows still true?

import { byId, el, follow, mark, say, set, setMark } from "./dom.js";
import { clock, count, counted } from "./format.js";

const verdict = byId("verdict");
const verdictMark = mark();
byId("verdict-mark").append(verdictMark);

/** Shows what the health says, with what to look at. */
export function showHealth(health, overview) {
  const { level, headline, word } = judge(health);
  set(verdict, "data-level", level);
  setMark(verdictMark, level);
  say(byId("verdict-headline"), headline);
  say(byId("verdict-summary"), summary(overview));
  const concerns = [
    ...health.reasons.map((text) => ({ level: "bad", text })),
    ...health.warnings.map((text) => ({ level: "warning", text })),
  ];
  follow(byId("verdict-concerns"), numbered(concerns), (concern) => concern.key, concernView);
  setTitle(word, overview);
}

function judge({ status, reasons, warnings }) {
  if (status !== "ok") {
    const headline = reasons.length > 1
      ? `This node must not get traffic, for ${count(reasons.length)} reasons`
      : "This node must not get traffic";
    return { level: "bad", headline, word: "UNHEALTHY" };
  }
  if (warnings.length > 0) {
    const headline = `Serving, with ${counted(warnings.length, "thing")} to look at`;
    return { level: "warning", headline, word: counted(warnings.length, "warning") };
  }
  return { level: "good", headline: "All is well", word: "ok" };
}

function summary({ totals }) {
  const up = `${count(totals.groups_up)} of ${counted(totals.groups, "group")} up`;
  return `${up}, ${counted(totals.connections, "connection")}`;
}

/** The same text may come twice: a key tells the two apart. */
function numbered(concerns) {
  const seen = new Map();
  return concerns.map((concern) => {
    const name = `${concern.level} ${concern.text}`;
    const times = seen.get(name) ?? 0;
    seen.set(name, times + 1);
    return { ...concern, key: `${times} ${name}` };
  });
}

function concernView({ level, text }) {
  const sign = mark();
  setMark(sign, level);
  const kind = el("span", { class: "hidden" }, level === "bad" ? "Reason: " : "Warning: ");
  return { element: el("li", {}, sign, el("span", {}, kind, text)), update() {} };
}

function setTitle(word, { node }) {
  const title = ["tcpffee", node].filter(Boolean).join(" ");
  document.title = `${word} · ${title}`;
}

/** The page has the proxy's latest answer. */
export function showLive(moment) {
  set(document.body, "data-link", "live");
  say(byId("link-state"), "Live");
  const time = clock(moment);
  say(byId("link-time"), time);
}

/** The proxy does not answer: everything on the page is old, and says so. */
export function showLost(since, problem) {
  set(document.body, "data-link", "lost");
  say(byId("link-state"), "Lost");
  say(byId("link-time"), clock(since));
  set(verdict, "data-level", "unknown");
  setMark(verdictMark, "unknown");
  say(byId("verdict-headline"), `The proxy is lost since ${clock(since)}, trying again`);
  say(byId("verdict-summary"), `What is shown below is as it was then: ${problem}`);
  follow(byId("verdict-concerns"), [], () => "", concernView);
  document.title = "LOST · tcpffee";
}
