// The stick table, searched by address: which group a client belongs to, and for how long.

import { NoAnswer, ask } from "./asking.js";
import { byId, el, follow, say, show } from "./dom.js";
import { clock, count, counted, duration } from "./format.js";

const PAGE = 50;
/** Most entries that are shown: who needs more asks the API. */
const MAX_SHOWN = 500;
/** A page may be empty although more follow: so many are asked for at once. */
const PAGES_AT_ONCE = 20;

let search = null;
let titles = new Map();

/** The groups' names, for the results. */
export function nameGroups(groups) {
  titles = new Map(groups.map(({ id, name }) => [id, name === null ? `group ${id}` : `${name} (${id})`]));
}

/** Makes the form work. */
export function startSearch() {
  byId("search").addEventListener("submit", (event) => {
    event.preventDefault();
    const ip = byId("search-ip").value.trim();
    search = { ip, entries: [], next: null };
    void goOn();
  });
  byId("search-more").addEventListener("click", () => void goOn());
}

async function goOn() {
  const mine = search;
  say(byId("search-state"), "Searching…");
  show(byId("search-more"), false);
  try {
    await readPages(mine);
    if (mine === search) {
      showFound(mine);
    }
  } catch (error) {
    if (mine === search) {
      say(byId("search-state"), `No answer: ${error.message}`);
      show(byId("search-more"), mine.next !== null);
    }
    if (!(error instanceof NoAnswer)) {
      throw error; // a fault of this page
    }
  }
}

/** Reads on until one page has entries, or for so many pages. */
async function readPages(mine) {
  const before = mine.entries.length;
  for (let pages = 0; pages < PAGES_AT_ONCE; pages += 1) {
    const page = await readPage(mine);
    mine.entries.push(...page.entries);
    mine.next = page.next;
    if (mine !== search || mine.next === null || mine.entries.length > before) {
      return;
    }
  }
}

async function readPage({ ip, next }) {
  const query = new URLSearchParams({ limit: PAGE });
  if (ip !== "") {
    query.set("ip", ip);
  }
  if (next !== null) {
    query.set("after", next);
  }
  const { status, body } = await ask(`api/v1/stick_table?${query}`);
  if (status !== 200) {
    throw new NoAnswer(body.detail ?? `status ${status}`);
  }
  return body;
}

function showFound({ ip, entries, next }) {
  const shown = entries.slice(0, MAX_SHOWN);
  follow(byId("search-rows"), shown, (stick) => stick.key, row);
  show(byId("search-found"), shown.length > 0);
  const isFull = entries.length >= MAX_SHOWN;
  show(byId("search-more"), next !== null && !isFull);
  const found = entries.length === 0 ? "No key" : counted(entries.length, "key");
  const where = ip === "" ? "in the table" : `of ${ip}`;
  const more = next === null ? "" : isFull ? "; more are in the API" : " so far";
  say(byId("search-state"), `${found} ${where}${more}, as of ${clock(new Date())}`);
}

function row() {
  const columns = ["Key", "Group", "Expires", "Connections"];
  const cells = columns.map((title) => el("td", { role: "cell", "data-title": title }));
  return {
    element: el("tr", { role: "row" }, ...cells),
    update(stick) {
      say(cells[0], stick.key);
      say(cells[1], titles.get(stick.group) ?? `group ${stick.group}`);
      say(cells[2], expiry(stick));
      say(cells[3], count(stick.connections) + (stick.provisional ? " (provisional)" : ""));
    },
  };
}

function expiry({ expires_in_seconds: seconds }) {
  if (seconds === null) {
    return "held by a connection";
  }
  return seconds === 0 ? "expired" : `in ${duration(Math.ceil(seconds))}`;
}
