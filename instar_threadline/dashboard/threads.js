// The list of threads: the latest first, with true ages, counts and what is wrong with them.

import { tags } from "./badges.js";
import { keeper } from "./keep.js";

export function threadList(api, { open, more }) {
  const { h, replace, format } = api;
  const items = h("ol", { class: "tl-list", onkeydown: step });
  const foot = h("div", { class: "tl-foot" });
  const renew = keeper(replace);
  const element = h("div", { class: "tl-threads" }, items, foot);
  let selected = null;
  let rows = new Map(); // thread id -> {button, age, thread}

  // `all`: no more can be asked for at once.
  function update(page, { selected: id, filtered, all }) {
    selected = id;
    const focused = [...rows].find(([, row]) => row.button === document.activeElement)?.[0];
    rows = new Map(page.threads.map((thread) => [thread.threadId, row(thread)]));
    replace(items, [...rows.values()].map(({ button }) => h("li", null, button)));
    if (focused !== undefined) rows.get(focused)?.button.focus({ preventScroll: true });
    renew(foot, [page.total, page.threads.length, filtered, all], () => footOf(page, filtered, all));
    select(selected);
  }

  function footOf({ total, threads }, filtered, all) {
    if (total === 0) return filtered ? api.empty("No thread matches", "Another filter may.") : nothingYet();
    if (threads.length >= total) return null;
    const count = `${format.number(threads.length)} of ${format.number(total)} threads`;
    if (all) return h("p", { class: "small muted" }, `${count}, the latest; search or filter by agent for the others`);
    return [h("p", { class: "small muted" }, count), h("button", { type: "button", class: "button", "data-key": "more", onclick: more }, "Show more")];
  }

  function row(thread) {
    const age = h("time", { class: "tl-age", datetime: thread.lastSeen, title: format.time(thread.lastSeen) }, format.ago(thread.lastSeen));
    const name = h("span", { class: "tl-name" }, thread.remoteAgentName);
    const line = h("span", { class: "tl-line" }, name, age);
    const subject = h("span", { class: "tl-subject" }, thread.subject.trim() || "(no text)");
    const counts = h("span", { class: "tl-counts" }, h("span", { title: "received" }, `↓ ${format.number(thread.inboundCount)}`), h("span", { title: "sent" }, `↑ ${format.number(thread.outboundCount)}`), thread.avgResponseLatencyMs !== null && h("span", { title: "mean time to a reply" }, `~${format.duration(thread.avgResponseLatencyMs)}`), tags(api, thread));
    const ids = h("span", { class: "tl-ids mono" }, h("span", { title: "thread" }, thread.threadId || "(empty id)"), h("span", { title: "fingerprint" }, thread.remoteAgent));
    const button = h("button", { type: "button", class: "tl-thread", onclick: () => open(thread.threadId) }, line, subject, counts, ids);
    return { button, age, thread };
  }

  function select(id) {
    selected = id;
    for (const [own, { button }] of rows) {
      button.setAttribute("aria-current", String(own === selected));
    }
  }

  function step(event) {
    const buttons = [...rows.values()].map(({ button }) => button);
    const at = buttons.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (to === undefined || !buttons[to]) return;
    event.preventDefault();
    buttons[to].focus();
  }

  function ages() {
    for (const { age, thread } of rows.values()) replace(age, format.ago(thread.lastSeen));
  }

  function focus(id) {
    const [first] = rows.values();
    (rows.get(id) ?? first)?.button.focus();
  }

  function nothingYet() {
    return api.empty("No conversations yet", "They appear here as soon as an agent writes to this one, or this one writes to another.");
  }

  return { element, update, select, ages, focus };
}
