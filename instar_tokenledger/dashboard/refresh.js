// Asks again when something has changed. Promises that only the answer to the newest question is shown, that one
// refresh waits for another, and that what fails for a while is asked again, later each time.

const GAP_MS = 1000;
const GAP_SHARE = 4; // an answer that takes long to make is asked for less often
const MAX_PAUSE_MS = 30_000;

// load(): a promise; show(value); fail(error, pauseMs): pauseMs is null when it will not be tried again by itself.
export function refresher({ load, show, fail, signal }) {
  let newest = 0;
  let failures = 0;
  let running = false;
  let again = false;
  let dueAt = -Infinity;
  let timer = null;
  signal.addEventListener("abort", () => clearTimeout(timer));

  async function run() {
    clearTimeout(timer);
    timer = null;
    const mine = ++newest;
    const stale = () => mine !== newest || signal.aborted;
    running = true;
    again = false;
    const began = Date.now();
    try {
      const value = await load();
      if (stale()) return;
      failures = 0;
      show(value);
    } catch (error) {
      if (stale() || error.locked) return;
      failures += 1;
      const pause = passing(error) ? Math.min(MAX_PAUSE_MS, 1000 * 2 ** failures) : null;
      fail(error, pause);
      if (pause !== null) timer = setTimeout(run, pause);
    } finally {
      if (mine === newest) {
        running = false;
        dueAt = Math.max(began + GAP_MS, Date.now() + GAP_SHARE * (Date.now() - began));
      }
    }
    if (again && !stale()) soon();
  }

  // The selection has changed, or somebody asked: whatever is under way does not count any more.
  function now() {
    failures = 0;
    return run();
  }

  // The ledger has changed: once the present question is answered, and not too often. Who says so is there, so a pause
  // after failures is over.
  function soon() {
    if (running) {
      again = true;
      return;
    }
    clearTimeout(timer);
    timer = setTimeout(run, Math.max(0, dueAt - Date.now()));
  }

  return { now, soon };
}

// True for what may be over by itself: nobody answers, the ledger cannot be read now, too slow, too many.
function passing(error) {
  return error.status === 0 || error.status === 408 || error.status === 429 || error.status >= 500;
}
