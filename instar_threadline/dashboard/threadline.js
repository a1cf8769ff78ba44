// The Threadline tab: who said what to whom, whether the record is whole, and how the Telegram bridge fares; live.
//
// What is shown is in the address (`?tab=threadline&thread=...&q=...`). Whatever a peer wrote - text, name, thread id -
// is only ever text. A fingerprint stands beside every name.

import { badges } from "./badges.js";
import { bridge } from "./bridge.js";
import { conversation } from "./conversation.js";
import { latest } from "./latest.js";
import { problems } from "./problems.js";
import { results } from "./results.js";
import { rounds } from "./rounds.js";
import { threadList } from "./threads.js";

const BASE = "threadline/observability";
const TYPING_MS = 250;
const AGES_MS = 30_000;
const PAGE = 100;
const MOST = 1000;

export async function mount(root, api) {
  await dressed(api);
  if (api.signal.aborted) return;
  const { h, replace } = api;
  let shown = PAGE;
  let selected = null; // the id of the open thread
  let busy = true; // no answer yet

  const wrong = problems(api, { closed: (here) => (head.redraw(), here && head.focus()) });
  const head = badges(api, { problems: wrong });
  const list = threadList(api, { open: (id) => api.navigate({ thread: id }), more: showMore });
  const found = results(api, { open: (id) => api.navigate({ thread: id }), more: searchOn });
  const talk = conversation(api, { back: leave, earlier: showEarlier });
  const card = bridge(api);
  const notice = h("div", { class: "tl-notice" });
  let told = null; // the trouble that stands there

  const search = h("input", { type: "search", class: "field tl-search", placeholder: "Search all messages ( / )", "aria-label": "Search all messages", autocomplete: "off", maxlength: "500", oninput: typed });
  const agent = h("input", { type: "search", class: "field tl-agent", placeholder: "Agent", "aria-label": "Only agents whose name or fingerprint contains", autocomplete: "off", oninput: typed });
  const topic = h("select", { class: "field", "aria-label": "Telegram topic", onchange: () => api.navigate({ topic: topic.value }) }, h("option", { value: "" }, "All threads"), h("option", { value: "yes" }, "With a topic"), h("option", { value: "no" }, "Without a topic"));
  const left = h("section", { class: "tl-left", "aria-label": "Threads" });
  const right = h("section", { class: "tl-right", "aria-label": "Conversation", tabindex: "-1" }, talk.element);
  const panes = h("div", { class: "tl-panes" }, left, right);
  replace(root, h("h1", { class: "visually-hidden" }, "Threadline"), notice, head.element, wrong.element, h("div", { class: "toolbar tl-tools" }, search, agent, topic), panes, card.element);
  replace(left, api.loading());

  const asking = { list: latest(), thread: latest(), earlier: latest(), search: latest(), stats: latest() };

  async function loadList() {
    const params = { remoteAgent: api.params.agent, hasTopic: api.params.topic, limit: shown };
    await asking.list(
      () => api.get(`${BASE}/threads`, params),
      (page) => {
        busy = false;
        recover();
        list.update(page, { selected, filtered: Boolean(api.params.agent || api.params.topic), all: shown >= MOST });
        if (!api.params.q) replaceOnce(left, list.element);
      },
      (error) => trouble(error, loadList, busy ? left : null),
    );
  }

  async function loadThread() {
    const id = selected;
    if (id === null) return talk.nothing();
    await asking.thread(
      () => api.get(`${BASE}/thread`, { threadId: id }),
      (detail) => talk.update(detail),
      (error) => (talk.shows(id) && error.status !== 404 ? trouble(error, loadThread) : talk.failed(error, loadThread)),
    );
  }

  async function showEarlier(cursor) {
    const id = selected;
    await asking.earlier(
      () => api.get(`${BASE}/thread`, { threadId: id, before: cursor }),
      (detail) => talk.prepend(detail),
      (error) => trouble(error, () => showEarlier(cursor)),
    );
  }

  async function loadSearch() {
    const query = api.params.q ?? "";
    if (!query.trim()) {
      asking.search.forget();
      replaceOnce(left, busy ? api.loading() : list.element);
      return;
    }
    found.begin(query);
    replaceOnce(left, found.element);
    await searchOn(null);
  }

  async function searchOn(cursor) {
    const params = { q: api.params.q, remoteAgent: api.params.agent, cursor };
    await asking.search(
      () => api.get(`${BASE}/search`, params),
      (page) => (cursor === null ? found.show(page) : found.add(page)),
      (error) => found.failed(error, () => searchOn(cursor)),
    );
  }

  async function loadStats() {
    await asking.stats(() => api.get(`${BASE}/stats`), head.update, () => head.unknown());
  }

  function showMore() {
    shown = shown < MOST ? Math.min(MOST, shown * 5) : MOST;
    loadList();
  }

  let typing = null;
  function typed() {
    clearTimeout(typing);
    typing = setTimeout(() => {
      typing = null;
      api.navigate({ q: search.value, agent: agent.value }, { replace: true });
    }, TYPING_MS);
  }

  // Shows what the address says.
  let before = {};
  function follow() {
    const now = api.params;
    if (typing === null && document.activeElement !== search) search.value = now.q ?? "";
    if (typing === null && document.activeElement !== agent) agent.value = now.agent ?? "";
    topic.value = now.topic ?? "";
    const wanted = now.thread ?? null;
    root.dataset.open = panes.dataset.open = wanted === null ? "list" : "thread";
    const first = before.tab !== "known";
    if (first || wanted !== selected) {
      selected = wanted;
      asking.earlier.forget();
      list.select(selected);
      if (!first && selected !== null && left.offsetParent === null) right.focus({ preventScroll: true }); // one pane only
      if (selected !== null) talk.begin(selected);
      loadThread();
    }
    if (first || now.agent !== before.agent || now.topic !== before.topic) {
      shown = PAGE;
      loadList();
    }
    if (first || now.q !== before.q || now.agent !== before.agent) loadSearch();
    before = { ...now, tab: "known" };
  }

  const wants = new Set();
  const soon = rounds(() => {
    const loads = [loadList(), loadStats()];
    if (wants.delete("thread") && selected !== null) loads.push(loadThread());
    return Promise.all(loads);
  }, api.signal);

  function changed(id) {
    if (id === undefined || id === selected) wants.add("thread");
    if (!document.hidden) soon();
  }

  // Leads from a conversation back to where it was chosen.
  function leave() {
    const from = selected;
    api.navigate({ thread: null });
    (api.params.q ? found : list).focus(from);
  }

  function heard({ event, data }) {
    if (event === "message") changed(data.threadId);
    if (event === "changed" || event === "lagged") changed();
  }

  function trouble(error, retry, place = null) {
    if (error.locked) return;
    if (place) return replace(place, api.failed(error, retry));
    const said = JSON.stringify([error.title, error.message]);
    if (told === said) return; // said once, and the focus stays where it is
    told = said;
    replace(notice, h("div", { class: "note", "data-tone": "bad" }, h("p", { role: "alert" }, h("strong", null, error.title ?? "This is not up to date"), ". ", error.message), h("button", { type: "button", class: "button", onclick: retry }, "Try now")));
  }

  function recover() {
    told = null;
    if (notice.contains(document.activeElement)) search.focus({ preventScroll: true });
    replace(notice);
  }

  function pressed(event) {
    if (event.defaultPrevented) return;
    const typingNow = /^(?:INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName ?? "");
    if (event.key === "/" && !typingNow && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      search.focus();
    } else if (event.key === "Escape" && document.activeElement === search && search.value) {
      search.value = "";
      typed();
    } else if (event.key === "Escape" && selected !== null && !typingNow) {
      leave();
    }
  }

  document.addEventListener("keydown", pressed, { signal: api.signal });
  document.addEventListener("visibilitychange", () => changed(), { signal: api.signal });
  const timers = [
    setInterval(() => (list.ages(), talk.ages()), AGES_MS),
  ];
  api.signal.addEventListener("abort", () => [...timers, typing].forEach((one) => clearTimeout(one)));
  api.onNavigate(follow);
  api.stream(`${BASE}/events`, heard, { again: () => (changed(), card.again()) });
  follow();
  loadStats();
  card.load();
}

// Puts an element in place, and leaves it there (and the focus in it) when it is there already.
function replaceOnce(parent, element) {
  if (parent.childNodes.length !== 1 || parent.firstChild !== element) parent.replaceChildren(element);
}

// Loads the style sheet that lies beside this module, once.
function dressed({ h }) {
  const href = new URL("threadline.css", import.meta.url).pathname.slice(new URL("./", document.baseURI).pathname.length);
  if ([...document.querySelectorAll("link[rel=stylesheet]")].some((one) => one.getAttribute("href") === href)) return null;
  const link = h("link", { rel: "stylesheet", href });
  const loaded = new Promise((resolve) => {
    link.addEventListener("load", resolve, { once: true });
    link.addEventListener("error", resolve, { once: true });
  });
  document.head.append(link);
  return loaded;
}
