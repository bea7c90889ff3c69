// Health checks: what each target is, its last results as bars, and what went wrong.

import { el, follow, mark, say, set, setMark, show, svg } from "./dom.js";
import { count, counted, duration } from "./format.js";

const BARS = 30;
const PITCH = 5;
const HEIGHT = 18;

/** A check of a group, with its targets below. */
export function checkView() {
  const what = el("h4");
  const targets = el("ul");
  const rest = el("p", { class: "note" });
  return {
    element: el("section", { class: "check" }, what, targets, rest),
    update(check) {
      say(what, title(check));
      say(rest, `and ${counted(check.targets_left_out, "more target")}`);
      show(rest, check.targets_left_out > 0);
      follow(targets, check.targets, (target) => target.target, targetView);
    },
  };
}

function title({ kind, path, interval_seconds: interval, fall_action: action, observation, verdict }) {
  const what = [kind.toUpperCase(), path].filter(Boolean).join(" ");
  const differs = observation === verdict ? "" : `, ${observation} here, agreed ${verdict}`;
  const effect = action === "Up" ? ", only watches" : `, makes the group ${action}`;
  const consequence = verdict === "failing" ? effect : "";
  return `${what} every ${duration(interval)}${consequence}${differs}`;
}

function targetView() {
  const sign = mark();
  const name = el("span", { class: "place" });
  const state = el("span", { class: "state" });
  const bars = historyBars();
  const error = el("p", { class: "trouble" });
  return {
    element: el("li", {}, sign, name, bars.element, state, error),
    update(target) {
      setMark(sign, level(target));
      say(name, target.target);
      say(state, stateOf(target));
      bars.draw(target.history);
      const trouble = troubleOf(target);
      say(error, trouble);
      error.hidden = trouble === "";
    },
  };
}

function level({ state, last_result: result }) {
  if (result === null) {
    return "unknown";
  }
  if (state === "failing") {
    return "bad";
  }
  return result === "passed" ? "good" : "warning";
}

function stateOf({ state, last_result: result, duration_seconds: took }) {
  if (result === null) {
    return `${state}, not checked yet`;
  }
  const time = took === null ? "" : `, ${duration(took)}`;
  return `${state}${time}`;
}

/** What went wrong last, while it matters: the target fails, or is on its way to or from there. */
function troubleOf({ state, streak, last_result: result, last_error: error, checked_seconds_ago: ago }) {
  const when = ago === null ? "" : `, checked ${duration(Math.round(ago))} ago`;
  if (result === "not_run") {
    return `This host could not make the check${when}`;
  }
  if (state === "failing") {
    const back = streak > 0 ? `, passed ${count(streak)} in a row since` : "";
    return `${error ?? "failed"}${back}${when}`;
  }
  return streak > 0 ? `failed ${count(streak)} in a row: ${error ?? "no reason known"}${when}` : "";
}

/** The last results, newest on the right: low is passed, high is failed, hollow was not made. */
function historyBars() {
  const bars = Array.from({ length: BARS }, (_, at) => svg("rect", { x: at * PITCH, width: PITCH - 1.5, rx: 1 }));
  const element = svg("svg", {
    class: "history",
    viewBox: `0 0 ${BARS * PITCH - 1} ${HEIGHT}`,
    role: "img",
  }, ...bars);
  const draw = (history) => {
    const shown = history.slice(-BARS);
    const empty = BARS - shown.length;
    bars.forEach((bar, at) => drawBar(bar, shown[at - empty]));
    set(element, "aria-label", summary(shown));
  };
  return { element, draw };
}

function drawBar(bar, past) {
  const height = { passed: 7, failed: HEIGHT - 1, not_run: 11 }[past?.result] ?? 2;
  set(bar, "data-result", past?.result ?? "none");
  set(bar, "height", height);
  set(bar, "y", HEIGHT - height - 0.5);
}

function summary(history) {
  if (history.length === 0) {
    return "No results yet";
  }
  const amount = (result) => history.filter((past) => past.result === result).length;
  const words = [`${amount("passed")} passed`, `${amount("failed")} failed`];
  if (amount("not_run") > 0) {
    words.push(`${amount("not_run")} not made`);
  }
  return `Last ${history.length} results: ${words.join(", ")}`;
}
