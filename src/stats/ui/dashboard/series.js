// What was measured in the last minutes, and the rates that follow from it.

/** How far back the page remembers. */
const WINDOW_MS = 5 * 60 * 1000;
/** A page that was just opened shows what it has, wider. */
const LEAST_WINDOW_MS = 60 * 1000;

const opened = Date.now();

/** How far back the charts show. */
export function shownWindow(now) {
  return Math.min(WINDOW_MS, Math.max(LEAST_WINDOW_MS, now - opened));
}

/** Between two answers further apart than this nobody knows what happened. */
export const GAP_MS = 12 * 1000;
/** More points than this are never kept, however fast they come. */
const MAX_POINTS = 900;

/** Points of time and value, oldest first; a null value is a gap. */
export class Series {
  points = [];

  /** Adds a value as of `time` and forgets what is too old. */
  add(time, value) {
    this.points.push({ time, value });
    const isOld = (point) => point.time < time - WINDOW_MS;
    while (this.points.length > MAX_POINTS || isOld(this.points[0])) {
      this.points.shift();
    }
  }

  /** The newest value, null where there is none. */
  get now() {
    return this.points.at(-1)?.value ?? null;
  }

  /** The highest value. */
  get highest() {
    return this.points.reduce((most, { value }) => Math.max(most, value ?? 0), 0);
  }

  /** What the value has changed by in the last `ms`, null where that is not known. */
  changeIn(ms) {
    const newest = this.points.at(-1);
    if (!newest || newest.value === null) {
      return null;
    }
    const since = newest.time - ms;
    const before = this.points.find(({ time, value }) => time >= since && value !== null);
    return before && newest.time - before.time > ms / 2 ? newest.value - before.value : null;
  }
}

/**
 * The rate per second of a counter. One that has fallen has begun anew, after a restart: its rate
 * is unknown until the next value, never negative.
 */
export class Rate extends Series {
  #before = null;

  /** Takes the counter's value as of `time`. */
  count(time, value) {
    const before = this.#before;
    this.#before = { time, value };
    const isKnown = before && value >= before.value && time - before.time <= GAP_MS;
    this.add(time, isKnown && time > before.time
      ? ((value - before.value) * 1000) / (time - before.time)
      : null);
  }
}

/** How much each of several counters has grown within the window. */
export class Growth {
  #snapshots = [];

  /** Takes all counters, by name, as of `time`. */
  count(time, counters) {
    const last = this.#snapshots.at(-1);
    const hasFallen = (name) => (counters[name] ?? 0) < last.counters[name];
    const hasRestarted = last && Object.keys(last.counters).some(hasFallen);
    if (hasRestarted) {
      this.#snapshots = [];
    }
    // One in five seconds is enough: the first one is what matters.
    if (!last || hasRestarted || time - last.time >= 5000) {
      this.#snapshots.push({ time, counters });
    }
    while (this.#snapshots.length > 1 && this.#snapshots[0].time < time - WINDOW_MS) {
      this.#snapshots.shift();
    }
  }

  /** The growth of one of them since the oldest snapshot. */
  of(name, value) {
    return value - (this.#snapshots[0]?.counters[name] ?? 0);
  }
}
