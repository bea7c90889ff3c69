// The dashboard: asks the proxy every second and shows what it answers.

import { NoAnswer, askFor, askForHealth, askForList } from "./asking.js";
import { showCluster } from "./cluster.js";
import { showEvents } from "./events.js";
import { showGroups } from "./groups.js";
import { showProcess } from "./process.js";
import { nameGroups, startSearch } from "./search.js";
import { statusTimes } from "./since.js";
import { loseTotals, showTotals } from "./tiles.js";
import { showHealth, showLive, showLost } from "./verdict.js";

const PERIOD_MS = 1000;
const HIDDEN_PERIOD_MS = 5000;
/** Events and the cluster are asked for every so many rounds. */
const SLOW_ROUNDS = 3;
/** Most groups that are read every second. */
const MAX_GROUPS = 200;
/** The pages that they may come in: one of groups with very many targets has fewer. */
const MAX_PAGES = 20;

let round = 0;
let answered = new Date();
let wake = null;
let events = { events: [], dropped: 0 };

/** One round: everything is asked before anything is shown, so that the page is of one moment. */
async function look() {
  const overview = await askFor("api/v1/");
  const now = Date.now();
  const health = await askForHealth();
  const groups = await askForList("api/v1/groups", MAX_GROUPS, MAX_PAGES);
  const raft = round % SLOW_ROUNDS === 0 ? await askFor("api/v1/raft") : null;
  if (round % SLOW_ROUNDS === 0) {
    events = await askFor("api/v1/events");
  }
  showTotals(now, overview);
  showProcess(now, overview);
  nameGroups(groups);
  showGroups(now, groups, overview.totals.groups, statusTimes(events.events, groups));
  showEvents(events);
  if (raft !== null) {
    showCluster(raft, overview.node);
  }
  showHealth(health, overview);
  answered = new Date(now);
  showLive(answered);
  round += 1;
}

/** Rounds follow each other, never two at once, until the page is closed. */
async function watch() {
  for (;;) {
    const begun = Date.now();
    try {
      await look();
    } catch (error) {
      // After a restart everything is asked for, not only what is due.
      round = 0;
      loseTotals(Date.now());
      showLost(answered, error.message);
      if (!(error instanceof NoAnswer)) {
        console.error(error); // a fault of this page
      }
    }
    const period = document.hidden ? HIDDEN_PERIOD_MS : PERIOD_MS;
    await rest(Math.max(begun + period - Date.now(), PERIOD_MS / 4));
  }
}

/** Waits, or until the page is seen again. */
function rest(ms) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    wake = () => {
      clearTimeout(timer);
      resolve();
    };
  });
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) {
    wake?.();
  }
});

startSearch();
void watch();
