// One conversation: metrics, and every message with its direction, time, id and what is known of its sender.

import { tags } from "./badges.js";

const SHORT = 8;

export function conversation(api, { back, earlier }) {
  const { h, replace, format } = api;
  const header = h("header", { class: "tl-talk-head" });
  const offer = h("button", { type: "button", class: "button", onclick: () => earlier(older) }, "Show earlier messages");
  const more = h("div", { class: "tl-earlier", hidden: true }, offer);
  const log = h("ol", { class: "tl-messages", tabindex: "0", "aria-label": "Messages, oldest first" });
  const element = h("div", { class: "tl-talk" });
  let shows = null; // the thread whose messages stand in the log
  let rows = []; // what stands in the log: {key, element, stamps}
  let heads = []; // the times in the header, each with its element
  let older = null; // where the messages before these begin
  let fetched = false; // whether earlier ones were asked for

  function nothing() {
    shows = null;
    rows = [];
    replace(element, api.empty("Choose a conversation", "Its messages appear here. Arrow keys move through the list, / searches."));
  }

  function begin(id) {
    if (shows === id) return;
    shows = null;
    replace(element, backButton(), api.loading());
  }

  function update(detail) {
    const again = shows === detail.threadId;
    const atEnd = !again || log.scrollHeight - log.scrollTop - log.clientHeight < 80;
    shows = detail.threadId;
    head(detail);
    const kept = again && (fetched || !atEnd) ? before(detail) : [];
    if (kept.length === 0) [older, fetched] = [detail.olderCursor, false];
    put([...kept, ...rowsOf(detail)]);
    if (!again) replace(element, backButton(), header, more, log);
    if (!atEnd) return;
    log.scrollTop = log.scrollHeight;
    if (!again && getComputedStyle(log).overflowY === "visible") log.lastElementChild?.scrollIntoView({ block: "end" }); // a phone
  }

  function prepend(detail) {
    if (shows !== detail.threadId) return;
    const height = log.scrollHeight;
    [older, fetched] = [detail.olderCursor, true];
    const known = new Set(rows.map(({ key }) => key));
    put([...rowsOf(detail).filter(({ key }) => !known.has(key)), ...rows]);
    log.scrollTop += log.scrollHeight - height;
  }

  // The rows that stand before the first message of an answer; none when it has nothing in common with them.
  function before({ messages: [first] }) {
    const at = first ? rows.findIndex(({ name }) => name === nameOf(first)) : -1;
    return at > 0 ? rows.slice(0, at) : [];
  }

  // A message that is as it was keeps its element, and with it selection, scroll and focus.
  function rowsOf({ messages }) {
    const known = new Map(rows.map((row) => [row.key, row]));
    return messages.map((one) => {
      const key = JSON.stringify(one);
      return known.get(key) ?? row(one, key);
    });
  }

  function put(next) {
    const wanted = new Set(next.map((one) => one.element));
    for (const one of [...log.children]) if (!wanted.has(one)) one.remove();
    let place = log.firstChild;
    for (const { element: one } of next) {
      if (one === place) place = place.nextSibling;
      else log.insertBefore(one, place);
    }
    rows = next;
    if (older === null && more.contains(document.activeElement)) log.focus({ preventScroll: true });
    more.hidden = older === null;
  }

  function row(one, key) {
    const stamps = [];
    return { key, name: nameOf(one), element: message(one, stamps), stamps };
  }

  function head(detail) {
    heads = [];
    const { integrity } = detail;
    const facts = [
      ["Received", format.number(detail.inboundCount)],
      ["Sent", format.number(detail.outboundCount)],
      ["Mean time to a reply", detail.avgResponseLatencyMs === null ? "–" : format.duration(detail.avgResponseLatencyMs)],
      ["Waiting", format.number(detail.waiting)],
      ["First", stamp(detail.firstSeen, heads)],
      ["Last", stamp(detail.lastSeen, heads)],
    ];
    const state = integrity.state === "ok" ? h("span", { class: "chip", "data-tone": "good" }, "Genuine") : h("span", { class: "chip", "data-tone": "bad" }, "Not genuine");
    const whole = { complete: h("span", { class: "chip", "data-tone": "good" }, "Complete"), short: h("span", { class: "chip", "data-tone": "bad" }, "Incomplete"), unknown: h("span", { class: "chip" }, "Completeness unknown") }[integrity.completeness];
    const topic = detail.bridge && h("span", { class: "small muted" }, `Telegram topic ${detail.bridge.topicName} (${detail.bridge.topicId})`);
    replace(
      header,
      h("h2", null, detail.remoteAgentName),
      h("p", { class: "mono small muted" }, detail.remoteAgent),
      h("p", { class: "mono small faint" }, detail.threadId || "(empty id)"),
      h("p", { class: "tl-badges" }, state, whole, tags(api, detail), topic),
      h("dl", { class: "tl-facts" }, facts.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value)))),
    );
  }

  function message(one, stamps) {
    const inbound = one.direction === "in";
    const who = inbound ? one.remoteAgentName : `to ${one.remoteAgentName}`;
    const flags = [
      !one.verified && ["Unverified", "bad", "Nobody authenticated the sender"],
      one.integrity !== "ok" && [one.integrity, "bad", "What the signature says"],
      (one.status === "outside" || one.status === "altered") && [one.status, "bad", "What the chain says"],
      one.conflict && ["Conflict", "bad", "Another message with this id says something else"],
      one.outcome && [one.outcome, null, "Outcome"],
      inbound && one.trustLevel && [`trust: ${one.trustLevel}`, null, "What the host said of the sender"],
      one.inReplyTo && [`↩ ${one.inReplyTo.slice(0, SHORT)}`, null, `In reply to ${one.inReplyTo}`],
    ].filter(Boolean);
    const time = one.at ? stamp(one.at, stamps) : h("span", { title: "Not a time" }, one.timestamp || "no time");
    return h(
      "li",
      { class: "tl-message", "data-direction": one.direction, "data-bad": one.integrity === "ok" && one.status !== "altered" ? null : "true" },
      h("p", { class: "tl-meta" }, h("strong", { title: one.remoteAgent }, who), h("span", { class: "mono", title: one.remoteAgent }, one.remoteAgent.slice(0, SHORT)), time, h("span", { class: "mono", title: one.id }, `#${one.id.slice(0, SHORT)}`)),
      h("p", { class: "tl-text", dir: "auto" }, one.text),
      flags.length > 0 && h("p", { class: "tl-flags" }, flags.map(([text, tone, title]) => h("span", { class: "chip", "data-tone": tone, title }, text))),
    );
  }

  function stamp(at, stamps) {
    const element = h("time", { datetime: at, title: format.time(at) }, format.ago(at));
    stamps.push([element, at]);
    return element;
  }

  function failed(error, retry) {
    shows = null;
    const gone = error.status === 404 ? { title: "There is no such thread", message: "It may not have been indexed yet." } : error;
    replace(element, backButton(), api.failed(gone, retry));
  }

  function backButton() {
    return h("button", { type: "button", class: "button button-quiet tl-back", onclick: back }, "← All threads");
  }

  function ages() {
    const all = [heads, ...rows.map(({ stamps }) => stamps)].flat();
    for (const [one, at] of all) replace(one, format.ago(at));
  }

  // The same message in two answers, whatever became known of it in between.
  function nameOf(one) {
    return JSON.stringify([one.direction, one.id, one.timestamp, one.text]);
  }

  nothing();
  return { element, nothing, begin, update, prepend, failed, ages, shows: (id) => shows === id };
}
