// The Tokens tab: what agents used, as headline, chart and tables, down to one request's line; live.
//
// What is shown is in the address (`?tab=tokens&range=7d&session=...`). Text is text: nothing that came out of a
// transcript is ever parsed as markup.

import { chart } from "./chart.js";
import { headline } from "./headline.js";
import { renewer } from "./keep.js";
import { FIRST_ROWS, lists, wellFormed } from "./lists.js";
import { picker } from "./picker.js";
import { spanOf } from "./ranges.js";
import { nothingYet, reading } from "./reading.js";
import { refresher } from "./refresh.js";
import { PAGE_ROWS, sessionView } from "./session.js";

const IDLE_ROWS = 5;
const MOST_ROWS = 500; // the routes give no more at once
const ROLL_MS = 60_000; // "the last 24 hours" move on
const FOLLOW_MS = 3_000; // how often to look when another process reads
const SHEETS = ["vendor/uPlot.min.css", "tokens.css"];

export async function mount(root, api) {
  await Promise.all(SHEETS.map((sheet) => dressed(sheet, api)));
  if (api.signal.aborted) return;
  const { h, replace } = api;
  const limits = { sessions: FIRST_ROWS, projects: FIRST_ROWS, models: FIRST_ROWS, idle: IDLE_ROWS };
  let requestRows = PAGE_ROWS;

  const range = picker(api);
  const totals = headline(api);
  const bars = chart(api, range.zoom);
  const tables = lists(api, { open: (id) => api.navigate({ session: id }), limits, more: showMore });
  const progress = reading(api);
  const session = sessionView(api, { close: () => api.navigate({ session: null }), more: showMoreRequests });
  const notice = h("div", { class: "notice" });
  const heading = h("h1", { class: "visually-hidden", tabindex: "-1" }, "Tokens");
  const stage = h("div", { class: "stage" }, api.loading());
  const counted = [totals.element, bars.element, tables.element];
  const blank = h("div"); // what stands there while there is nothing to count
  const renew = renewer(replace);
  replace(root, heading, notice, progress.said, progress.banner, stage);

  let shows = null; // "overview", "empty", "failed" or "session <id>"
  let status = null;
  let told = null; // {said, pause}: the trouble that is shown, and where it says when it will be tried again
  const refresh = refresher({ load, show, fail, signal: api.signal });

  async function load() {
    stage.setAttribute("aria-busy", "true");
    const { params } = api;
    const now = Date.now();
    return params.session === undefined ? overview(params, now) : oneSession(params.session);
  }

  async function overview(params, now) {
    const span = spanOf(params, now);
    const window = { since: String(Math.trunc(span.since)), until: span.until === null ? null : String(span.until) };
    const [summary, series, sessions, projects, models, idle, state] = await Promise.all([
      api.get("tokens/summary", window),
      api.get("tokens/series", { ...window, bucket: span.bucket, tz: api.format.zone }),
      api.get("tokens/sessions", { ...window, limit: limits.sessions }),
      api.get("tokens/by-project", { ...window, limit: limits.projects }),
      api.get("tokens/by-model", { ...window, limit: limits.models }),
      api.get("tokens/orphans", { limit: limits.idle }),
      api.get("tokens/status"),
    ]);
    return {
      kind: "overview",
      now,
      span,
      status: state,
      summary: summary.summary,
      series: series.series,
      sessions: sessions.sessions,
      sessionTotal: sessions.total,
      projects: projects.projects,
      models: models.models,
      idle: idle.orphans,
    };
  }

  async function oneSession(id) {
    const [state, pages] = await Promise.all([api.get("tokens/status"), requestPages(id)]);
    return { kind: "session", id, session: pages[0].session, requests: pages.flatMap((page) => page.requests), status: state };
  }

  async function requestPages(id) {
    const path = `tokens/sessions/${encodeURIComponent(wellFormed(id))}`;
    const pages = [];
    for (let offset = 0; offset < requestRows; offset += MOST_ROWS) {
      const page = await api.get(path, { limit: Math.min(MOST_ROWS, requestRows - offset), offset });
      if (page.session?.sessionId !== id) throw new Error("This session's name cannot be asked for in an address.");
      pages.push(page);
      if (page.requests.length < MOST_ROWS) break;
    }
    return pages;
  }

  function show(data) {
    recover();
    stage.removeAttribute("aria-busy");
    status = data.status;
    progress.update(data.status);
    if (data.kind === "session") return showSession(data);
    range.update(data.span, data.now);
    const isEmpty = data.status.requests === 0 && data.summary.eventCount === 0;
    if (isEmpty) return showNothing(data);
    turn("overview", [range.element, ...counted, progress.card]);
    totals.update(data);
    bars.update(data);
    tables.update(data);
  }

  function showNothing(data) {
    const { lookedAt, tick, ...lasting } = data.status;
    renew(blank, lasting, () => nothingYet(data.status, api));
    turn("empty", [blank, progress.card]);
  }

  function showSession(data) {
    const arrived = shows !== `session ${data.id}`;
    turn(`session ${data.id}`, [session.element]);
    session.update(data);
    if (!arrived) return;
    scrollTo({ top: 0 });
    session.focus();
  }

  // Puts another view on the stage; the way back leads to where one was.
  function turn(next, elements) {
    if (shows === next) return;
    const left = shows;
    shows = next;
    replace(stage, elements);
    if (next !== "overview" || left === null) return;
    const link = [...stage.querySelectorAll("[data-session]")].find((one) => `session ${one.dataset.session}` === left);
    link?.focus();
  }

  // The same trouble again is not read out again, and leaves the focus where it is.
  function fail(error, pauseMs) {
    stage.removeAttribute("aria-busy");
    const instead = shows === null || shows === "failed" || pauseMs === null;
    const what = pauseMs !== null && error.status === 0 ? "Is `instar serve` still running?" : error.message;
    const said = JSON.stringify([instead, error.title, what, api.params.session]);
    if (told?.said !== said) {
      const pause = h("span", { class: "small muted" });
      (instead ? showFailure : showNotice)(error.title, what, pause);
      told = { said, pause };
    }
    replace(told.pause, pauseMs !== null && `Trying again in ${api.format.duration(pauseMs)}.`);
  }

  function showFailure(title, message, pause) {
    shows = "failed";
    replace(notice);
    const back = api.params.session !== undefined && h("button", { type: "button", class: "button button-quiet", onclick: () => api.navigate({ session: null }) }, "← All sessions");
    replace(stage, api.failed({ title, message }, refresh.now), pause, back);
  }

  function showNotice(title, message, pause) {
    const words = h("p", { role: "alert" }, h("strong", null, title ?? "These numbers are not up to date"), ". ", message);
    replace(notice, h("div", { class: "note", "data-tone": "bad" }, h("div", null, words, pause), h("button", { type: "button", class: "button button-small", onclick: refresh.now }, "Try now")));
  }

  function recover() {
    const here = notice.contains(document.activeElement) || (shows === "failed" && stage.contains(document.activeElement));
    told = null;
    replace(notice);
    if (here) heading.focus({ preventScroll: true });
  }

  function showMore(name) {
    limits[name] = limits[name] < 50 ? 50 : MOST_ROWS;
    refresh.now();
  }

  function showMoreRequests() {
    requestRows += requestRows < MOST_ROWS ? MOST_ROWS - requestRows : MOST_ROWS;
    refresh.now();
  }

  function heard({ event, data }) {
    if (event === "progress") progress.progress(data);
    if (event === "trouble") progress.trouble(data.reason);
    if (event === "committed" || event === "hello" || event === "lagged") changed();
    if (event === "progress" && status?.requests === 0 && data.state === "up-to-date") changed();
  }

  function changed() {
    if (!document.hidden) refresh.soon();
  }

  // While another process reads, its commits are not told here: look whether there is something new.
  async function follow() {
    if (document.hidden || !status || status.lease.held) return;
    const next = await api.get("tokens/status").catch(() => null);
    if (next && (next.requests !== status.requests || next.bytes.read !== status.bytes.read || next.lease.held)) refresh.soon();
  }

  const timers = [setInterval(changed, ROLL_MS), setInterval(follow, FOLLOW_MS)];
  api.signal.addEventListener("abort", () => timers.forEach(clearInterval));
  document.addEventListener("visibilitychange", changed, { signal: api.signal });
  api.onNavigate(() => {
    if (api.params.session === undefined) requestRows = PAGE_ROWS;
    refresh.now();
  });
  api.stream("tokens/events", heard, { again: refresh.soon });
  await refresh.now();
}

// Loads a style sheet that lies beside this module, once.
function dressed(sheet, { h }) {
  const href = new URL(sheet, import.meta.url).pathname.slice(new URL("./", document.baseURI).pathname.length);
  if ([...document.querySelectorAll("link[rel=stylesheet]")].some((one) => one.getAttribute("href") === href)) return null;
  const link = h("link", { rel: "stylesheet", href });
  const loaded = new Promise((resolve) => {
    link.addEventListener("load", resolve, { once: true });
    link.addEventListener("error", resolve, { once: true }); // without its looks the page still tells everything
  });
  document.head.append(link);
  return loaded;
}
