// Asking the proxy: one request at a time, each with a time limit.

const TIME_LIMIT_MS = 4000;

/** The proxy gave no answer, or not the one that was asked for: the message says why. */
export class NoAnswer extends Error {}

let last = Promise.resolve();

/**
 * The answer to a GET, as `{status, body, next}`; the body is JSON, `next` the path of the page behind
 * this one, null where there is none. Whoever asks while another request
 * is on its way waits for its end: a slow proxy never gets more than one request of this page.
 */
export function ask(path) {
  const answer = last.then(() => fetchJson(path));
  last = answer.catch(() => {});
  return answer;
}

async function fetchJson(path) {
  try {
    const response = await fetch(new URL(path, document.baseURI), {
      cache: "no-store",
      credentials: "same-origin",
      redirect: "error",
      headers: { Accept: "application/json" },
      signal: AbortSignal.timeout(TIME_LIMIT_MS),
    });
    return { status: response.status, body: await response.json(), next: nextOf(response.headers.get("Link")) };
  } catch (error) {
    throw new NoAnswer(wordsOf(error), { cause: error });
  }
}

/** What a header `Link` names as the next page, relative to this page as every path here. */
function nextOf(link) {
  const path = /^<\/([^>]*)>; rel="next"$/.exec(link ?? "");
  return path && path[1];
}

function wordsOf({ name, message }) {
  if (name === "TimeoutError") {
    return "it did not answer in time";
  }
  return name === "TypeError" ? "it cannot be reached" : message;
}

/** The body of an answer that must be 200. */
export async function askFor(path) {
  return (await page(path)).body;
}

/** The first `most` items of a list that comes in pages, at most so many of them. */
export async function askForList(path, most, mostPages) {
  const items = [];
  let next = `${path}?limit=${most}`;
  for (let pages = 0; next !== null && pages < mostPages && items.length < most; pages += 1) {
    const answer = await page(next);
    items.push(...answer.body);
    next = answer.next;
  }
  return items.slice(0, most);
}

async function page(path) {
  const answer = await ask(path);
  if (answer.status !== 200) {
    throw new NoAnswer(answer.body.detail ?? `${path} answered ${answer.status}`);
  }
  return answer;
}

/** The health: answered with 503 where the node is unhealthy. */
export async function askForHealth() {
  const { status, body } = await ask("api/v1/health");
  if (!Array.isArray(body.reasons)) {
    throw new NoAnswer(body.detail ?? `the health answered ${status}`);
  }
  return body;
}
