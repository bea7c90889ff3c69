// Numbers, times and lists in words.

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** A count in full: 12,345. */
export const count = (value) => grouped.format(value);

/** A count with its noun: "1 key", "3 keys". */
export function counted(value, noun, plural = `${noun}s`) {
  return `${count(value)} ${value === 1 ? noun : plural}`;
}

/** Three digits and a unit: 1.23 k, 45.6 M. */
export function short(value) {
  return scaled(value, 1000, ["", " k", " M", " G", " T"]);
}

/** Bytes in binary units. */
export function bytes(value) {
  return scaled(value, 1024, [" B", " KiB", " MiB", " GiB", " TiB", " PiB"]);
}

function scaled(value, step, units) {
  let unit = 0;
  let rest = value;
  while (Math.abs(rest) >= step && unit < units.length - 1) {
    rest /= step;
    unit += 1;
  }
  return digits(rest, unit > 0 || !Number.isInteger(value)) + units[unit];
}

/** Three significant digits; a zero is a plain zero. */
function digits(value, hasFraction) {
  const size = Math.abs(value);
  if (!hasFraction || size === 0 || size >= 100) {
    return value.toFixed(0);
  }
  return value.toFixed(size >= 10 ? 1 : 2);
}

/** A rate, "–" while it is not known yet. */
export function rate(value, write = short) {
  return value === null ? "–" : `${write(value)}/s`;
}

/** Seconds as people say them: "350 ms", "42 s", "3 min 5 s", "2 h 4 min", "5 d 3 h". */
export function duration(seconds) {
  if (seconds < 1 && seconds > 0) {
    return seconds < 0.001 ? "under 1 ms" : `${Math.round(seconds * 1000)} ms`;
  }
  const whole = Math.round(seconds);
  const parts = [
    [Math.floor(whole / 86400), "d"],
    [Math.floor(whole / 3600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"],
    [whole % 60, "s"],
  ];
  const first = parts.findIndex(([amount]) => amount > 0);
  if (first < 0) {
    return "0 s";
  }
  const told = parts.slice(first, first + 2).filter(([amount]) => amount > 0);
  return told.map(([amount, unit]) => `${amount} ${unit}`).join(" ");
}

/** The time of day on this screen, with the date where it is not today. */
export function clock(date) {
  const two = (number) => String(number).padStart(2, "0");
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  if (date.toDateString() === new Date().toDateString()) {
    return time;
  }
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${time}`;
}

/** A change with its sign, a real minus included. */
export function change(value) {
  if (value === 0) {
    return "±0";
  }
  return (value > 0 ? "+" : "\u2212") + short(Math.abs(value));
}

/** How far a group has drained. */
export function drainingSentence(draining) {
  const left = `${counted(draining.sticks, "key")}, ${counted(draining.connections, "connection")} left`;
  const limit = draining.drained_in_at_most_seconds;
  if (draining.sticks === 0 && draining.connections === 0) {
    return "nothing left";
  }
  if (limit === null) {
    return `${left}, no end in sight while connections stay open`;
  }
  return `${left}, drained in at most ${duration(Math.ceil(limit))}`;
}

/** `[21, 22, 23, 80]` as "21–23, 80". */
export function portRanges(ports) {
  const sorted = [...ports].sort((a, b) => a - b);
  const ranges = [];
  for (const port of sorted) {
    const last = ranges.at(-1);
    if (last && port === last[1] + 1) {
      last[1] = port;
    } else {
      ranges.push([port, port]);
    }
  }
  return ranges.map(([from, to]) => (from === to ? `${from}` : `${from}–${to}`)).join(", ");
}
