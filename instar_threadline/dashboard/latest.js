// Asks, and lets only the answer to the newest question count: what comes late is thrown away.

// latest() gives ask(question, show, fail); ask.forget() makes whatever is under way count no more.
export function latest() {
  let newest = 0;
  async function ask(question, show, fail) {
    const mine = ++newest;
    try {
      const answer = await question();
      if (mine === newest) show(answer);
    } catch (error) {
      if (mine === newest && error.name !== "AbortError") fail(error);
    }
  }
  ask.forget = () => {
    newest += 1;
  };
  return ask;
}
