// One conversation: metrics, and every message with its direction, time, id and what is known of its sender.

import { tags } from "./badges.js";

const SHORT = 8;

export function conversation(api, { back, earlier }) {
  const { h, replace, format } = api;
  const header = h("header", { class: "tl-talk-head" });
  const more = h("div", { class: "tl-earlier" });
  const log = h("ol", { class: "tl-messages", tabindex: "0", "aria-label": "Messages, oldest first" });
  const element = h("div", { class: "tl-talk" });
  let shows = null; // the thread whose messages stand in the log
  let stamps = [];

  function nothing() {
    shows = null;
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
    stamps = [];
    replace(log, detail.messages.map(message));
    offerEarlier(detail);
    if (!again) replace(element, backButton(), header, more, log);
    if (atEnd) log.scrollTop = log.scrollHeight;
  }

  function prepend(detail) {
    if (shows !== detail.threadId) return;
    const height = log.scrollHeight;
    log.prepend(...detail.messages.map(message));
    log.scrollTop += log.scrollHeight - height;
    offerEarlier(detail);
  }

  function offerEarlier(detail) {
    replace(more, detail.olderCursor !== null && h("button", { type: "button", class: "button", onclick: earlier }, "Show earlier messages"));
  }

  function head(detail) {
    const { integrity } = detail;
    const facts = [
      ["Received", format.number(detail.inboundCount)],
      ["Sent", format.number(detail.outboundCount)],
      ["Mean time to a reply", detail.avgResponseLatencyMs === null ? "–" : format.duration(detail.avgResponseLatencyMs)],
      ["Waiting", format.number(detail.waiting)],
      ["First", stamp(detail.firstSeen)],
      ["Last", stamp(detail.lastSeen)],
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

  function message(one) {
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
    const time = one.at ? stamp(one.at) : h("span", { title: "Not a time" }, one.timestamp || "no time");
    return h(
      "li",
      { class: "tl-message", "data-direction": one.direction, "data-bad": one.integrity === "ok" && one.status !== "altered" ? null : "true" },
      h("p", { class: "tl-meta" }, h("strong", { title: one.remoteAgent }, who), h("span", { class: "mono", title: one.remoteAgent }, one.remoteAgent.slice(0, SHORT)), time, h("span", { class: "mono", title: one.id }, `#${one.id.slice(0, SHORT)}`)),
      h("p", { class: "tl-text", dir: "auto" }, one.text),
      flags.length > 0 && h("p", { class: "tl-flags" }, flags.map(([text, tone, title]) => h("span", { class: "chip", "data-tone": tone, title }, text))),
    );
  }

  function stamp(at) {
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
    for (const [one, at] of stamps) replace(one, format.ago(at));
  }

  nothing();
  return { element, nothing, begin, update, prepend, failed, ages };
}
