// One session: what it used, and its requests, each down to the line it came from.

import { renewer } from "./keep.js";
import { lastPart } from "./lists.js";
import { recordOf } from "./record.js";

export const PAGE_ROWS = 100;

export function sessionView(api, { close, more }) {
  const { h, format, replace } = api;
  const renew = renewer(replace);
  const heading = h("h1", { tabindex: "-1" });
  const facts = h("div", { class: "session-facts" });
  const body = h("div", { class: "list-body" });
  const opened = new Set();
  let shown = null;
  const element = h(
    "article",
    { class: "session", "aria-label": "Session" },
    h("p", null, h("button", { type: "button", class: "button button-quiet back", "data-key": "back", onclick: close }, "← All sessions")),
    h("header", { class: "session-head" }, heading, facts),
    h("section", { class: "card", "aria-label": "Requests" }, h("div", { class: "card-head" }, h("h2", null, "Requests"), h("p", { class: "small faint" }, "In order of time. Open one to see where it was read.")), body),
  );

  function update({ session, requests }) {
    if (shown?.sessionId !== session.sessionId) opened.clear();
    shown = session;
    renew(heading, session.projectPath, () => lastPart(session.projectPath) ?? "No project");
    renew(facts, session, () => factsOf(session));
    renew(body, requests, () => [table(requests), rest(requests, session)]);
  }

  function factsOf(session) {
    const names = h("p", { class: "session-names" }, h("code", null, session.sessionId), session.projectPath && h("code", null, session.projectPath));
    const lines = [
      ["Tokens", format.number(session.totalTokens)],
      ["Requests", format.number(session.eventCount)],
      ["First", format.time(session.firstTs)],
      ["Last", format.time(session.lastTs)],
      ...session.agentsOwnTotals.map((own) => [
        `The agent's own count, ${own.model}`,
        `${format.number(own.input + own.output + own.cacheCreate + own.cacheRead)} tokens${own.costUSD ? `, ${own.costUSD.toFixed(2)} USD` : ""}`,
      ]),
    ];
    const facts = lines.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value)));
    return [names, h("dl", { class: "facts" }, facts)];
  }

  function table(requests) {
    if (requests.length === 0) return h("p", { class: "muted" }, "The requests of this session are not kept any more; its totals are.");
    const heads = [["Time", "main"], ["Model", "wide-only"], ["Output", "num"], ["Input", "num wide-only"], ["Cache write", "num wide-only"], ["Cache read", "num wide-only"], ["Total", "num"]];
    return h(
      "table",
      { class: "data requests" },
      h("thead", null, h("tr", null, heads.map(([head, name]) => h("th", { scope: "col", class: name }, head)))),
      h("tbody", null, requests.map((request) => rows(request, heads.length))),
    );
  }

  function rows(request, width) {
    const key = keyOf(request);
    const detail = h("tr", { class: "record-row" }, h("td", { colspan: String(width) }));
    const button = h(
      "button",
      { type: "button", class: "link", "data-key": `request ${key}`, onclick: () => turn(!opened.has(key)) },
      h("time", { title: format.time(request.ts) }, moment(request.ts)),
    );
    const badges = [request.partial && "placeholder", request.sidechain && "subagent"].filter(Boolean);
    const total = request.input + request.output + request.cacheCreate + request.cacheRead;

    function turn(open) {
      if (open) opened.add(key);
      else opened.delete(key);
      button.setAttribute("aria-expanded", String(open));
      detail.hidden = !open;
      if (open && !detail.firstChild.firstChild) detail.firstChild.append(recordOf(request, api));
    }

    turn(opened.has(key));
    const row = h(
      "tr",
      null,
      h("th", { scope: "row", class: "main" }, button, badges.map((badge) => h("span", { class: "chip" }, badge)), h("span", { class: "under narrow-only" }, request.model ?? "unknown model")),
      h("td", { class: "wide-only muted" }, h("span", { class: "clip", title: request.model ?? "" }, request.model ?? "unknown model")),
      h("td", { class: "num" }, format.number(request.output)),
      h("td", { class: "num wide-only" }, format.number(request.input)),
      h("td", { class: "num wide-only" }, format.number(request.cacheCreate)),
      h("td", { class: "num wide-only" }, format.number(request.cacheRead)),
      h("td", { class: "num" }, format.number(total)),
    );
    return [row, detail];
  }

  function rest(requests, session) {
    if (requests.length >= session.eventCount) return null;
    const label = `Show more (${format.number(requests.length)} of ${format.number(session.eventCount)} shown)`;
    return h("p", null, h("button", { type: "button", class: "button button-small", "data-key": "more requests", onclick: more }, label));
  }

  return { element, update, focus: () => heading.focus({ preventScroll: true }) };
}

// 21 Nov, 14:30:51; with the year where it is not this one.
function moment(at) {
  const date = new Date(at);
  const fields = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" };
  const thisYear = date.getFullYear() === new Date().getFullYear();
  return new Intl.DateTimeFormat(undefined, thisYear ? fields : { ...fields, year: "numeric" }).format(date);
}

function keyOf(request) {
  return [request.messageId, request.requestId, request.uuid, request.file, request.offset].join(" ");
}
