// How the bridge's delivery fares: what waits, what stands in the way, and the messages that were not delivered, which a
// person can send again or drop.
//
// Dropping asks once more, in place. Where another process sends, nothing can be pressed.

import { latest } from "./latest.js";

const BASE = "threadline/bridge";
const STEP_MS = 30_000; // ages move on this often even when nothing has changed
const CHAT = "telegram";

export function delivery(api) {
  const { h, replace, format } = api;
  const status = h("span", { class: "tl-chips" });
  const problem = h("p", { class: "complaint", role: "alert" });
  const body = h("div", { class: "tl-delivery" });
  const element = h("section", { "aria-label": "Delivery", tabindex: "-1", onkeydown: keep }, problem, body);
  const asking = latest();
  let drawn = ""; // what stands there now, so that a look without news leaves focus and selection alone
  let sure = null; // what is about to be dropped: the id of a dead letter, "all", or nothing
  let busy = false;

  async function load() {
    await asking(
      () => api.get(`${BASE}/status`),
      (now) => {
        const signature = JSON.stringify([now, sure, Math.floor(Date.now() / STEP_MS)]);
        if (signature === drawn) return;
        drawn = signature;
        const active = document.activeElement;
        const here = body.contains(active);
        show(now);
        if (here) (document.getElementById(active.id) ?? element).focus({ preventScroll: true });
      },
      (error) => {
        if (error.locked) return;
        const signature = JSON.stringify([error.title, error.message]);
        if (signature === drawn) return; // said once
        drawn = signature;
        replace(status, chip("Delivery unknown", "bad"));
        replace(body, api.failed(error, load));
      },
    );
  }

  function show(now) {
    const chat = now.targets.find((target) => target.name === CHAT);
    replace(status, chipsOf(now, chat));
    replace(body, now.problems.map((words) => note(words)), began(now, chat) ? [standing(now, chat), figures(now, chat), ways(now), dead(now), footnotes(now, chat)] : nothing(now));
  }

  function began(now, chat) {
    return now.connection || now.deadLetters > 0 || now.queued > 0 || chat?.lastSuccess || now.targets.length > 1;
  }

  function nothing(now) {
    const next = now.enabled ? "Messages wait until there is a bot to send them." : "The way from @BotFather to the first topic is in docs/telegram.md; instar bridge check looks over every step of it.";
    return api.empty(now.enabled ? "No bot yet" : "Nothing has been sent yet", next);
  }

  function chipsOf(now, chat) {
    return [
      now.queued > 0 && chip(`${format.number(now.queued)} waiting`),
      chat?.paused && chip("Paused", "bad"),
      !chat?.paused && isAhead(chat?.blockedUntil) && chip("Holding back"),
      now.problems.length > 0 && chip("Needs you", "bad"),
      now.deadLetters > 0 && chip(`${format.number(now.deadLetters)} not delivered`, "bad"),
    ];
  }

  // One sentence about what is going on, with the button that may change it.
  function standing(now, chat) {
    if (!now.sends) return h("p", { class: "small muted" }, "Another process sends; what is below is as it left it, and can be changed there.");
    if (chat?.paused) return note(`Paused: ${chat.paused}. Nothing is lost: what waits is sent once this is mended.`, "Look again now", () => act("resume"));
    if (isAhead(chat?.blockedUntil)) return h("p", { class: "small" }, `Nothing is sent until ${format.time(chat.blockedUntil)}: Telegram asked for it, or attempts have failed. ${chat.lastError}`);
    if (chat?.topicsBlocked) return note(`No new topics: ${chat.topicsBlocked}. Messages arrive with the name of their thread instead.`, "Look again now", () => act("resume"));
    if (!now.enabled && now.queued > 0) return h("p", { class: "small" }, "The bridge is off: what waits goes out once it is on.");
    return null;
  }

  function figures(now, chat) {
    const history = chat?.queuedHistory ? `${format.number(chat.queuedHistory)} of them history` : chat?.queued ? `in ${many(chat.lanes, "thread")}` : "";
    const repeats = chat?.counters["repeats-marked"] ?? 0;
    const topics = now.topics;
    const shared = [topics.inHub && `${format.number(topics.inHub)} share one`, topics.reserved && `${format.number(topics.reserved)} to be opened`, topics.muted && `${format.number(topics.muted)} muted`];
    return h(
      "div",
      { class: "figures" },
      figure("Waiting", format.number(chat?.queued ?? 0), history),
      figure("Sent", format.compact(sent(chat)), repeats > 0 && `${many(repeats, "possible repeat")}, marked`),
      figure("Topics", format.number(topics.open), shared.filter(Boolean).join(", ")),
      figure("Last success", chat?.lastSuccess ? when(chat.lastSuccess) : "never", chat?.lastErrorAt && `last error ${format.ago(chat.lastErrorAt)}`),
    );
  }

  function ways(now) {
    if (now.targets.length < 2) return null;
    const chatFirst = [...now.targets].sort((one, other) => (other.name === CHAT) - (one.name === CHAT));
    const rows = chatFirst.map((target) =>
      h("tr", null, h("th", { scope: "row" }, target.name.replace(/^sink:/, "")), cell(format.number(target.queued)), cell(format.number(sent(target))), h("td", null, target.lastSuccess ? when(target.lastSuccess) : "never"), h("td", null, target.paused || target.lastError || "–")),
    );
    const head = ["Way out", "Waiting", "Sent", "Last success", "Last trouble"].map((words, n) => h("th", { scope: "col", class: n === 1 || n === 2 ? "num" : null }, words));
    return h("div", { class: "scroll-x", tabindex: "0", id: "tl-ways", role: "group", "aria-label": "Ways out" }, h("table", { class: "data" }, h("thead", null, h("tr", null, head)), h("tbody", null, rows)));
  }

  function dead(now) {
    if (now.deadLetters === 0) return null;
    const all = now.deadLetters > 1 && h("span", { class: "tl-actions" }, pair("all", "all", "all of them", { all: true }, now));
    const more = now.deadLetters - now.dead.length;
    return h(
      "section",
      { class: "tl-dead", "aria-label": "Not delivered" },
      h("div", { class: "card-head" }, h("h3", null, `Not delivered: ${format.number(now.deadLetters)}`), all),
      h("ol", null, now.dead.map((letter) => letterOf(letter, now))),
      more > 0 && h("p", { class: "small muted" }, `${many(more, "older one")} not shown here.`),
    );
  }

  function letterOf(letter, now) {
    return h(
      "li",
      null,
      h("p", { class: "tl-meta" }, h("strong", null, letter.threadId || "no thread"), letter.agent && h("span", { class: "mono" }, letter.agent.slice(0, 8)), when(letter.at), letter.target !== CHAT && h("span", null, letter.target.replace(/^sink:/, ""))),
      h("p", { class: "tl-why" }, letter.reason),
      letter.preview && h("p", { class: "small muted" }, letter.preview),
      h("div", { class: "tl-actions" }, pair(letter.id, "", `message ${letter.id}`, { ids: [letter.id] }, now)),
    );
  }

  // Two buttons; the second one asks again before it does something for good.
  function pair(id, word, named, which, now) {
    const words = (verb) => (word ? `${verb} ${word}` : verb);
    const off = !now.sends;
    if (sure === id) {
      return [
        h("button", { type: "button", class: "button", id: `tl-sure-${id}`, disabled: off, "aria-label": `Drop ${named} for good`, onclick: () => act("drop", which) }, words("Drop"), " for good"),
        h("button", { type: "button", class: "button button-quiet", id: `tl-keep-${id}`, onclick: () => ask(null, `tl-drop-${id}`) }, "Keep"),
      ];
    }
    return [
      h("button", { type: "button", class: "button", id: `tl-retry-${id}`, disabled: off, "aria-label": `Send ${named} again`, onclick: () => act("retry", which) }, words("Send"), " again"),
      h("button", { type: "button", class: "button button-quiet", id: `tl-drop-${id}`, disabled: off, "aria-label": `Drop ${named}`, onclick: () => ask(id, `tl-sure-${id}`) }, words("Drop")),
    ];
  }

  async function ask(id, focus) {
    sure = id;
    await load();
    document.getElementById(focus)?.focus();
  }

  // Escape gives up a question.
  function keep(event) {
    if (event.key !== "Escape" || sure === null) return;
    event.preventDefault();
    ask(null, `tl-drop-${sure}`);
  }

  async function act(what, change = {}) {
    if (busy) return;
    busy = true;
    replace(problem);
    try {
      await api.post(`${BASE}/${what}`, change);
    } catch (error) {
      if (error.name === "AbortError" || error.locked) return;
      replace(problem, `Not done: ${error.message}`);
    } finally {
      busy = false;
      sure = null;
    }
    await load();
  }

  function footnotes(now, chat) {
    const lines = [];
    if (now.topics.possiblyOrphaned) lines.push(`${many(now.topics.possiblyOrphaned, "topic")} may lie around empty: the host ended just while making ${now.topics.possiblyOrphaned === 1 ? "it" : "them"}. Delete what is empty by hand.`);
    if (now.lost.length) lines.push(...now.lost.map((words) => `Over this host's own bot, ${words}.`));
    const left = Object.entries(REFUSALS).map(([reason, words]) => [chat?.counters[`refused-${reason}`] ?? 0, words]);
    const refused = left.filter(([value]) => value > 0).map(([value, words]) => `${format.number(value)} ${words}`);
    if (refused.length) lines.push(`Not mirrored: ${refused.join(", ")}.`);
    if (now.muted.length) lines.push(`Muted: ${now.muted.join(", ")}.`);
    if (now.connection) lines.push(`Bot and chat come from ${now.connection}.`);
    return lines.length > 0 && h("ul", { class: "tl-footnotes small muted" }, lines.map((line) => h("li", null, line)));
  }

  function note(words, label, press) {
    return h("div", { class: "note tl-note", "data-tone": "bad" }, h("p", null, words), label && h("button", { type: "button", class: "button", id: "tl-resume", onclick: press }, label));
  }

  function chip(words, tone) {
    return h("span", { class: "chip", "data-tone": tone }, words);
  }

  function figure(label, value, small) {
    return h("div", { class: "figure" }, h("span", { class: "figure-label" }, label), h("span", { class: "figure-value" }, value), small && h("span", { class: "figure-note" }, small));
  }

  function when(at) {
    return h("time", { datetime: new Date(at).toISOString(), title: format.time(at) }, format.ago(at));
  }

  function cell(words) {
    return h("td", { class: "num" }, words);
  }

  function many(count, word) {
    return `${format.number(count)} ${word}${count === 1 ? "" : "s"}`;
  }

  return { element, status, load };
}

const REFUSALS = {
  "mirror-disabled": "while mirroring was off",
  "auto-create-disallowed": "of agents that may open no topic",
  "no-binding": "of ours to threads without a topic",
  muted: "muted",
  vetoed: "held back by a plugin",
  empty: "without text",
  "not-a-message": "automatic receipts",
};

const sent = (target) => (target?.counters.sent ?? 0) + (target?.counters.repeat ?? 0);
const isAhead = (at) => typeof at === "number" && at > Date.now();
