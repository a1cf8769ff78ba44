// What is known about the whole record, in words: figures, integrity, completeness, the state of the writers.

import { keeper } from "./keep.js";

// Chips of one thread: topic, session, and everything about it that is not as it should be.
export function tags({ h }, thread) {
  const integrity = thread.integrity;
  return [
    thread.bridge && h("span", { class: "chip", title: `Telegram topic ${thread.bridge.topicName || thread.bridge.topicId}` }, "Telegram"),
    thread.hasSpawnedSession && h("span", { class: "chip", title: "A session was started for this thread" }, "Session"),
    thread.severalPeers && h("span", { class: "chip", "data-tone": "bad", title: "More than one agent wrote in this thread" }, "Several agents"),
    integrity.bad > 0 && h("span", { class: "chip", "data-tone": "bad", title: "Records that are not genuine" }, `${integrity.bad} not genuine`),
    integrity.missing > 0 && h("span", { class: "chip", "data-tone": "bad", title: "Records that are gone" }, `${integrity.missing} missing`),
    integrity.conflicts > 0 && h("span", { class: "chip", "data-tone": "bad", title: "One id, two contents" }, `${integrity.conflicts} in conflict`),
    integrity.unverified > integrity.bad && h("span", { class: "chip", title: "Nobody authenticated the sender" }, `${integrity.unverified - integrity.bad} unverified`),
  ];
}

export function badges(api, { problems }) {
  const { h, replace, format } = api;
  const figures = h("div", { class: "figures" });
  const chips = h("p", { class: "tl-badges" });
  const notes = h("div", { class: "tl-notes" });
  const element = h("section", { class: "tl-head", "aria-label": "Overview" }, figures, chips, notes);
  const renew = keeper(replace);
  let last = null;

  function update(answer) {
    last = answer;
    const { stats, integrity, health } = answer;
    renew(figures, stats, () => [
      figure("Threads", format.number(stats.threads)),
      figure("Messages", format.compact(stats.messages), `${format.number(stats.inbound)} in, ${format.number(stats.outbound)} out`),
      figure("Mean time to a reply", stats.avgResponseLatencyMs === null ? "–" : format.duration(stats.avgResponseLatencyMs)),
      figure("Without an answer", format.number(stats.waiting), stats.waiting ? "received, nothing sent since" : ""),
    ]);
    renew(chips, [integrity, stats, problems.isOpen()], () => [integrityChip(integrity), completenessChip(integrity), unverifiedChip(stats)]);
    renew(notes, [integrity, health, problems.isOpen()], () => notesOf(integrity, health));
  }

  function notesOf(integrity, health) {
    return [noteOf(integrity), health.indexError && bad("The index is not up to date", health.indexError), health.keyringError && bad("Signing", health.keyringError), spoolNote(health.spool), health.catchingUp && h("p", { class: "small muted", role: "status" }, "Reading the log …"), !health.writes && h("p", { class: "small muted" }, "Another process keeps the index; this one only reads it.")];
  }

  function figure(label, value, note) {
    return h("div", { class: "figure" }, h("span", { class: "figure-label" }, label), h("span", { class: "figure-value" }, value), note && h("span", { class: "figure-note" }, note));
  }

  // A badge that has something to tell opens the list of what is wrong.
  function badge(tone, words, { streams }) {
    const found = streams.reduce((sum, stream) => sum + stream.findingCount, 0);
    if (found === 0) return h("span", { class: "chip", "data-tone": tone }, words);
    return h("button", { type: "button", class: "chip", "data-key": `badge ${String(words).split(":")[0]}`, "data-tone": tone, "aria-expanded": String(problems.isOpen()), "aria-controls": "tl-problems", onclick: show }, words);
  }

  function integrityChip(verdict) {
    const words = { ok: "Integrity: every record is genuine", broken: "Integrity: broken", unknown: "Integrity: unknown keys" }[verdict.integrity];
    return badge(verdict.integrity === "ok" ? "good" : "bad", words, verdict);
  }

  function completenessChip(verdict) {
    const missing = verdict.streams.reduce((sum, stream) => sum + stream.missing, 0);
    const short = missing > 0 ? `${format.number(missing)} missing` : "the count of records is gone";
    const headless = verdict.streams.some((stream) => stream.firstBad?.kind === "head-altered");
    const unknown = headless ? "unknown, the head is not as it was written" : "unknown for records without a chain";
    const words = { complete: "nothing is missing", short, unknown }[verdict.completeness];
    return badge({ complete: "good", short: "bad" }[verdict.completeness] ?? null, `Completeness: ${words}`, verdict);
  }

  function unverifiedChip(stats) {
    const claimed = stats.unverified - stats.bad;
    return claimed > 0 && h("span", { class: "chip" }, `${format.number(claimed)} unverified`);
  }

  function noteOf({ streams }) {
    const first = streams.map((stream) => stream.firstBad).find(Boolean);
    if (!first) return null;
    const found = streams.reduce((sum, stream) => sum + stream.findingCount, 0);
    const where = `${first.direction === "in" ? "inbox" : "outbox"}, file ${first.segment}, byte ${first.offset}, entry ${first.n}`;
    const all = found > 1 ? `Show all ${format.number(found)}` : "Show it";
    return h("div", { class: "note tl-note", "data-tone": "bad" }, h("p", null, h("strong", null, "First bad record"), `: ${first.kind} (${where}).`), h("button", { type: "button", class: "button button-quiet", "data-key": "show", onclick: show }, problems.isOpen() ? "Hide the list" : all));
  }

  function show() {
    problems.toggle();
    redraw();
  }

  function redraw() {
    if (last !== null) update(last);
  }

  function spoolNote(spool) {
    if (spool.waiting === 0 && spool.dropped === 0) return null;
    const lost = spool.dropped ? `, ${format.number(spool.dropped)} were lost` : "";
    return bad("The log cannot be written", `${format.number(spool.waiting)} messages wait in memory${lost}. ${spool.lastError}`);
  }

  function bad(title, text) {
    return h("div", { class: "note", "data-tone": "bad" }, h("strong", null, title), ": ", text);
  }

  function unknown() {
    renew(chips, null, () => h("span", { class: "chip" }, "The state of the record is not known right now"));
  }

  function focus() {
    element.querySelector("button")?.focus();
  }

  return { element, update, unknown, redraw, focus };
}
