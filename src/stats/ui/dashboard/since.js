// Since when each group has its status: from the events, or from what this page has seen itself.

/** What this page saw: by group id, `{status, moment}`; the moment of the first sight is unknown. */
const seen = new Map();

/** When each group's status began, by id; a group is left out where nobody knows. */
export function statusTimes(events, groups) {
  const times = new Map();
  for (const { id, status, draining } of groups) {
    const sight = ownSight(id, status);
    const moment = newestEvent(events, id) ?? sight;
    // A draining group itself says since when.
    if (moment && status !== "Up" && draining === null) {
      times.set(id, moment);
    }
  }
  return times;
}

/** The newest change of status that names the group: "group 1 (birch): Up → Draining, …". */
function newestEvent(events, id) {
  const names = new RegExp(`^group ${id}\\b`);
  const event = events.find(({ kind, text }) => kind === "status" && names.test(text));
  return event && new Date(event.time);
}

function ownSight(id, status) {
  const before = seen.get(id);
  if (before?.status !== status) {
    seen.set(id, { status, moment: before ? new Date() : null });
  }
  return seen.get(id).moment;
}
