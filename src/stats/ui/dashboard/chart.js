// Small charts of a series over the last minutes.

import { el, say, set, svg } from "./dom.js";
import { duration } from "./format.js";
import { GAP_MS, shownWindow } from "./series.js";

const WIDTH = 300;
const HEIGHT = 56;
const TOP = 3; // room for the line's width at its highest

/** A chart of one or two series on one scale; the first one is filled. */
export class Chart {
  #title;
  #areas;
  #lines;
  #drawing;
  #since = el("span");
  #most = el("span");

  /** `title` says what is seen, for those who do not see it. */
  constructor(title, lines = 1) {
    this.#title = title;
    this.#drawing = svg("svg", {
      class: "chart",
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: "none",
      role: "img",
    });
    const names = ["first", "second"].slice(0, lines);
    this.#areas = names.map((name) => svg("path", { class: `area ${name}` }));
    this.#lines = names.map((name) => svg("path", { class: `line ${name}` }));
    const base = svg("path", { class: "base", d: `M0 ${HEIGHT - 0.5}H${WIDTH}` });
    this.#drawing.append(base, ...this.#areas, ...this.#lines);
    const scale = el("p", { class: "scale", "aria-hidden": "true" }, this.#since, this.#most);
    this.element = el("div", {}, scale, this.#drawing);
  }

  /** Draws the series as of `now`; `write` puts a value into words. */
  draw(now, series, write) {
    const most = Math.max(...series.map((one) => one.highest));
    const window = shownWindow(now);
    series.forEach((one, at) => {
      const runs = runsOf(one.points, now, window, most || 1);
      set(this.#lines[at], "d", runs.map(line).join(""));
      set(this.#areas[at], "d", runs.map(area).join(""));
    });
    // To the minute: who hears the page is not told each second.
    const period = duration(Math.floor(window / 60000) * 60);
    say(this.#since, period);
    say(this.#most, `max ${write(most)}`);
    set(this.#drawing, "aria-label", `${this.#title} in the last ${period}, at most ${write(most)}`);
  }
}

/** The points as runs without a gap in them, in the chart's coordinates. */
function runsOf(points, now, window, highest) {
  const runs = [];
  let run = [];
  let before = null;
  for (const { time, value } of points) {
    if (value === null || (before !== null && time - before > GAP_MS)) {
      run = [];
    }
    if (value !== null) {
      if (run.length === 0) {
        runs.push(run);
      }
      const x = WIDTH - ((now - time) / window) * WIDTH;
      const y = HEIGHT - 1 - (value / highest) * (HEIGHT - 1 - TOP);
      run.push([x.toFixed(1), y.toFixed(1)]);
    }
    before = time;
  }
  return runs;
}

function line(run) {
  const [first, ...rest] = run;
  return `M${first}` + (rest.length > 0 ? rest.map((point) => `L${point}`).join("") : "h0.5");
}

function area(run) {
  return `M${run[0][0]} ${HEIGHT - 1}` + run.map((point) => `L${point}`).join("") + `V${HEIGHT - 1}Z`;
}
