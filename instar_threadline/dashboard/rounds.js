// Asks afresh when there is news: one round at a time, however fast the news come and however slow the answers.

const GAP_MS = 150;

// rounds(round, signal) gives soon(): a round begins shortly, or after the one that is under way. A round that takes
// long is followed by as long a pause.
export function rounds(round, signal) {
  let timer = null;
  let running = false;
  let again = false;
  signal.addEventListener("abort", () => clearTimeout(timer));

  async function run() {
    timer = null;
    running = true;
    again = false;
    const began = Date.now();
    try {
      await round();
    } finally {
      running = false;
    }
    if (again) later(Date.now() - began);
  }

  function later(ms) {
    if (!signal.aborted) timer ??= setTimeout(run, Math.max(GAP_MS, ms));
  }

  return () => {
    if (running) again = true;
    else later(GAP_MS);
  };
}
