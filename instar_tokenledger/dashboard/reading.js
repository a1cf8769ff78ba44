// How reading fares: what is being read now, what could not be counted, and where it looked when there is nothing.

import { copyable } from "./command.js";
import { renewer } from "./keep.js";

const DAY_MS = 86_400_000;
const MUCH_FILES = 20;
const MUCH_BYTES = 8_000_000; // what a running session adds is read in no time and needs no banner

const REASONS = {
  "bad-number": "a counter that is no whole number",
  "bad-timestamp": "a time that is none",
  "bad-row": "a row that its source got wrong",
  "malformed": "not valid JSON, or cut off",
  "no-identity": "no id of any kind",
  "no-session-id": "no session",
  "no-timestamp": "no time",
  "no-usage": "an answer without usage",
  "not-object": "JSON, but no object",
  "source-error": "a source that failed",
  "synthetic": "made by the agent itself, not a request",
  "too-deep": "nested too deep",
  "too-long": "longer than a line may be",
};

export function reading(api) {
  const { h, format, replace } = api;
  const renew = renewer(replace);
  const banner = h("div", { class: "banner" });
  const said = h("p", { class: "visually-hidden", role: "status" }); // what the banner tells, without counting along
  const body = h("div", { class: "list-body" });
  const card = h("section", { class: "card card-quiet", "aria-label": "Reading" }, h("div", { class: "card-head" }, h("h2", null, "Reading")), body);
  let status = null;
  let live = null; // the last progress event

  function update(next) {
    status = next;
    live = null;
    render();
  }

  function progress(event) {
    live = event;
    if (status) render();
  }

  function trouble(reason) {
    if (status) update({ ...status, state: "degraded", trouble: reason });
  }

  function render() {
    const now = current(status, live);
    renew(banner, now, () => [now.trouble && troubleNote(now.trouble), now.much && progressNote(now)]);
    const words = [now.trouble && `The ledger cannot be written at the moment: ${now.trouble}`, now.much && "Reading your transcripts"];
    renew(said, words, () => words.filter(Boolean).join(". "));
    const { lookedAt, tick, ...lasting } = status;
    renew(body, [lasting, now], () => [summaryLine(now), olderFiles(status, api), watching(status), ownTotals(status.agentsOwnTotals), skips(status.skips), errors(status.errors), notes(status.notes)]);
  }

  function troubleNote(reason) {
    return h("p", { class: "note", "data-tone": "bad" }, "The ledger cannot be written at the moment: ", reason, /[.!?]$/.test(reason) ? " " : ". ", "It is tried again by itself; the numbers below are what was counted before.");
  }

  function progressNote(now) {
    const bar = h("progress", { max: "1", "aria-label": "Reading transcripts" });
    if (now.share !== null) bar.setAttribute("value", now.share.toFixed(4));
    return h("div", { class: "progress-note" }, h("p", null, h("strong", null, "Reading your transcripts. "), "The latest files come first, so recent numbers are complete before old ones."), bar, h("p", { class: "small muted", "data-progress": "" }, progressWords(now)));
  }

  function progressWords(now) {
    const done = now.filesSeen - now.filesWaiting;
    return [
      `${format.number(done)} of ${format.number(now.filesSeen)} files`,
      `${format.bytes(now.bytesWaiting)} to go`,
      now.bytesPerSecond && `${format.bytes(now.bytesPerSecond)} a second`,
      now.secondsLeft !== null && `about ${format.duration(Math.max(1, now.secondsLeft) * 1000)} left`,
    ]
      .filter(Boolean)
      .join(" · ");
  }

  function summaryLine(now) {
    const read = `${format.number(status.files.read)} files and ${format.bytes(status.bytes.read)} read`;
    if (status.lease.held) return h("p", { class: "muted" }, now.catchingUp ? `${read} so far.` : `Up to date: ${read}, ${format.bytes(status.ledgerBytes)} of ledger.`);
    const who = status.lease.pid ? `Process ${status.lease.pid} reads the transcripts` : "No process reads the transcripts at the moment";
    return h("p", { class: "muted" }, `${who}; this one shows what is in the ledger: ${read}.`);
  }

  function watching({ watch, lease }) {
    if (!lease.held || !watch?.startsWith("off: ") || watch === "off: not wanted") return null; // no folder yet, or a setting
    return h("p", { class: "muted" }, `Changes are found by looking now and then; the watch is off: ${watch.slice(5)}.`);
  }

  // Some agents keep totals of their own: a check on ours, in the same sessions.
  function ownTotals(own) {
    if (!own?.sessions) return null;
    const sessions = `${format.number(own.sessions)} ${own.sessions === 1 ? "session" : "sessions"}`;
    const cost = own.costUSD ? ` and ${format.number(Math.round(own.costUSD * 100) / 100)} USD` : "";
    return h("p", { class: "muted" }, `For ${sessions} the agent kept a total of its own: ${format.number(own.tokens)} tokens${cost}; the ledger has ${format.number(own.ledgerTokens)} for the same.`);
  }

  function skips(found) {
    const reasons = Object.entries(found);
    if (reasons.length === 0) return null;
    const total = reasons.reduce((sum, [, lines]) => sum + lines, 0);
    return listed(`${format.number(total)} ${total === 1 ? "line was" : "lines were"} not counted`, reasons.map(([reason, lines]) => [REASONS[reason] ?? reason, format.number(lines)]));
  }

  function errors(found) {
    const reasons = Object.entries(found);
    if (reasons.length === 0) return null;
    return listed("Some files could not be read", reasons.map(([reason, files]) => [reason, format.number(files)]));
  }

  function listed(title, entries) {
    return h("div", { class: "skips" }, h("h3", null, title), h("dl", { class: "facts" }, entries.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value)))));
  }

  function notes(found) {
    return found.map((note) => h("p", { class: "note" }, note));
  }

  return { banner, said, card, update, progress, trouble };
}

// Files that are left alone because of their age, and how to have them read.
export function olderFiles({ files, bytes, maxFileAgeMs, lease }, api) {
  if (!files.tooOld) return null;
  const { h, format, replace } = api;
  const days = maxFileAgeMs ? `for more than ${format.number(Math.round(maxFileAgeMs / DAY_MS))} days` : "for long";
  const said = h("span", { class: "small", role: "status" });
  const button = h("button", { type: "button", class: "button button-small", "data-key": "read older", onclick: readAll }, "Read them now");

  async function readAll() {
    button.disabled = true;
    try {
      await api.post("tokens/scan", { all: true });
      replace(said, "Reading …");
    } catch (error) {
      button.disabled = false;
      replace(said, error.message);
    }
  }

  const which = files.tooOld === 1 ? "One older file" : `${format.number(files.tooOld)} older files`;
  return h(
    "div",
    { class: "older" },
    h("p", null, `${which} (${format.bytes(bytes.tooOld)}) not written to ${days} ${files.tooOld === 1 ? "is" : "are"} not read unasked. `, !lease.held && "To count everything:"),
    lease.held ? h("p", { class: "command" }, button, said) : copyable("instar tokens scan", api),
  );
}

// Nothing has been counted yet: where we looked, and what to do.
export function nothingYet(status, api) {
  const { h } = api;
  const { catchingUp } = current(status, null);
  if (catchingUp || (status.lease.held && status.state === "idle" && !status.trouble)) return api.loading("Looking through your transcripts …");
  return h(
    "div",
    { class: "state" },
    h("h2", null, "No transcripts yet"),
    h("p", null, status.places.length ? "We looked for those of your coding agents in:" : "No plugin names a place to look for transcripts."),
    h("ul", { class: "places" }, status.places.map((place) => h("li", null, h("code", null, place)))),
    h("p", null, "Run your agent once and this page fills by itself. If its configuration lies elsewhere, start with ", h("code", null, "instar serve --claude-dir DIR"), "."),
    olderFiles(status, api),
  );
}

function current(status, live) {
  const filesSeen = live?.filesSeen ?? status.files.seen ?? 0;
  const filesWaiting = live?.filesWaiting ?? status.files.waiting ?? 0;
  const bytesWaiting = live?.bytesWaiting ?? status.bytes.waiting ?? 0;
  const whole = status.bytes.read + (status.bytes.waiting ?? 0);
  return {
    trouble: live ? null : status.trouble,
    catchingUp: (live?.state ?? status.state) === "catching-up",
    much: filesWaiting > MUCH_FILES || bytesWaiting > MUCH_BYTES,
    filesSeen,
    filesWaiting,
    bytesWaiting,
    bytesPerSecond: live ? live.bytesPerSecond : status.bytes.perSecond,
    secondsLeft: live ? live.secondsLeft : status.secondsLeft,
    share: whole > 0 ? Math.min(1, Math.max(0, 1 - bytesWaiting / whole)) : null,
  };
}
