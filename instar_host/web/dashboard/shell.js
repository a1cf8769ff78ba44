// The page: token, tabs and the place in the address. Everything else is a panel's.
//
// A panel is an ES module that exports `mount(element, api)` and may export `unmount()`. `api` is:
//   get(path, params) post(path, body) patch(path, body) put(path, body) remove(path)   JSON in, JSON out
//   stream(path, onEvent, {params, again})   server-sent events; `again` is called after a break
//   params                     what stands in the address, without the tab: {range: "7d"}
//   navigate({range: "7d"})    change the address (null takes a key out); the back button undoes it
//   onNavigate(callback)       called with the new params when the address changes under the panel
//   signal                     aborted when the panel is left: pass it on, or let api do so
//   h s replace visible loading empty failed   from dom.js
//   format                     from format.js

import { ApiError, Client } from "./api.js";
import * as dom from "./dom.js";
import * as format from "./format.js";
import * as host from "./host.js";

const TOKEN_KEY = `instar-token ${new URL("./", location.href).pathname}`;
const HOST_TAB = { id: "host", title: "Host", load: async () => host };

const { h, replace } = dom;
const content = document.getElementById("content");
const tablist = document.getElementById("tabs");
const live = document.getElementById("live");

let tabs = [];
let current = null; // {tab, module, controller, listeners}

const client = new Client({
  token: () => sessionStorage.getItem(TOKEN_KEY),
  locked: (error) => askForToken(error.status === 403 ? "That token is not the one of this host." : ""),
});

takeTokenFromAddress();
addEventListener("popstate", follow);
addEventListener("hashchange", () => takeTokenFromAddress() && open());
open();

// The token comes once, in the fragment, which a browser never sends; then the address is clean again.
function takeTokenFromAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token === null) return false;
  if (token) sessionStorage.setItem(TOKEN_KEY, token);
  history.replaceState(null, "", location.pathname + location.search);
  return true;
}

async function open() {
  leave();
  replace(content, dom.loading());
  try {
    const { panels } = await client.request("GET", "panels");
    tabs = [...panels.map((panel) => ({ ...panel, load: (attempt) => module(panel, attempt) })), HOST_TAB];
  } catch (error) {
    if (error instanceof ApiError && error.locked) return;
    replace(content, dom.failed(error, open));
    return;
  }
  replace(tablist, tabs.map(tabButton));
  follow();
}

function tabButton(tab) {
  return h(
    "button",
    {
      type: "button",
      role: "tab",
      id: `tab-${tab.id}`,
      class: "tab",
      "aria-controls": "panel",
      onclick: () => go(tab),
      onkeydown: (event) => step(event, tab),
    },
    tab.title,
  );
}

function step(event, tab) {
  const last = tabs.length - 1;
  const at = tabs.indexOf(tab);
  const to = { ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at === 0 ? last : at - 1, Home: 0, End: last }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  go(tabs[to]);
  document.getElementById(`tab-${tabs[to].id}`).focus();
}

function go(tab) {
  if (current?.tab === tab) return;
  history.pushState(null, "", `${location.pathname}?tab=${encodeURIComponent(tab.id)}`);
  follow();
}

// Shows what the address says.
function follow() {
  if (tabs.length === 0) return;
  const wanted = new URLSearchParams(location.search).get("tab");
  const tab = tabs.find((one) => one.id === wanted) ?? tabs[0];
  if (current?.tab === tab) {
    for (const tell of current.listeners) tell(params());
    return;
  }
  show(tab);
}

// A module that failed to arrive is remembered as failed by its address, so another attempt gets another one.
async function module(panel, attempt) {
  const url = new URL(panel.module, document.baseURI);
  if (attempt > 0) url.searchParams.set("attempt", attempt);
  try {
    return await import(url);
  } catch (error) {
    console.warn(error);
    throw new Error(`The plugin ${panel.plugin} brings this tab, and its script did not load: ${error.message}`);
  }
}

async function show(tab, attempt = 0) {
  leave();
  for (const one of tabs) {
    const button = document.getElementById(`tab-${one.id}`);
    button.setAttribute("aria-selected", String(one === tab));
    button.tabIndex = one === tab ? 0 : -1;
  }
  document.title = `${tab.title} · instar`;
  const visit = { tab, module: null, controller: new AbortController(), listeners: new Set() };
  current = visit;
  const room = h("div", { class: "panel", id: "panel", role: "tabpanel", "aria-labelledby": `tab-${tab.id}` }, dom.loading());
  replace(content, room);
  try {
    visit.module = await tab.load(attempt);
    if (current !== visit) return;
    replace(room);
    await visit.module.mount(room, apiFor(visit));
  } catch (error) {
    if (current !== visit || visit.controller.signal.aborted) return;
    if (error instanceof ApiError && error.locked) return;
    console.warn(error);
    replace(room, dom.failed(error, () => show(tab, attempt + 1)));
  }
}

function leave() {
  const visit = current;
  current = null;
  say("quiet");
  if (!visit) return;
  visit.controller.abort();
  try {
    visit.module?.unmount?.();
  } catch (error) {
    console.error(error);
  }
}

function apiFor(visit) {
  const { signal } = visit.controller;
  const request = (method) => (path, body) => client.request(method, path, { body: body ?? {}, signal });
  return Object.freeze({
    get: (path, query) => client.request("GET", path, { params: query, signal }),
    post: request("POST"),
    patch: request("PATCH"),
    put: request("PUT"),
    remove: (path) => client.request("DELETE", path, { signal }),
    stream: (path, onEvent, options = {}) =>
      client.stream(path, onEvent, { ...options, signal, onState: (state) => current === visit && say(state) }),
    get params() {
      return params();
    },
    navigate: (changes, options) => current === visit && navigate(changes, options),
    onNavigate: (tell) => visit.listeners.add(tell),
    signal,
    ...dom,
    format,
  });
}

function params() {
  const found = Object.fromEntries(new URLSearchParams(location.search));
  delete found.tab;
  return found;
}

function navigate(changes, { replace: instead = false } = {}) {
  const query = new URLSearchParams(location.search);
  query.set("tab", current.tab.id);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") query.delete(name);
    else query.set(name, value);
  }
  const next = `${location.pathname}?${query}`;
  history[instead ? "replaceState" : "pushState"](null, "", next);
  for (const tell of current.listeners) tell(params());
}

function say(state) {
  if (live.dataset.state === state) return; // said once
  live.dataset.state = state;
  replace(live, { live: "live", waiting: "reconnecting …" }[state]);
}

function askForToken(complaint) {
  leave();
  tabs = [];
  replace(tablist);
  sessionStorage.removeItem(TOKEN_KEY);
  document.title = "instar";
  const field = h("input", {
    id: "token",
    type: "password",
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
    required: true,
    "aria-describedby": "token-help",
  });
  const submit = (event) => {
    event.preventDefault();
    sessionStorage.setItem(TOKEN_KEY, field.value.trim());
    open();
  };
  replace(
    content,
    h(
      "form",
      { class: "state door", onsubmit: submit },
      h("h1", null, "This page needs your token"),
      complaint && h("p", { class: "complaint", role: "alert" }, complaint),
      h("p", { id: "token-help" }, "In a terminal, ", h("code", null, "instar open"), " prints a link that brings it along. Or paste the token here; it stays in this tab and nowhere else."),
      h("label", { for: "token" }, "Token"),
      h("div", { class: "door-row" }, field, h("button", { class: "button button-main" }, "Open")),
    ),
  );
  field.focus();
}
