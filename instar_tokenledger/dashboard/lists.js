// The tables of the overview: sessions, projects, models, and sessions that have gone quiet.

import { renewer } from "./keep.js";

export const FIRST_ROWS = 10;
const MOST_ROWS = 500;

// `limits` says how many rows each list wants; `more(list)` asks for longer ones.
export function lists(api, { open, limits, more }) {
  const { h, format, replace } = api;
  const renew = renewer(replace);
  const cards = {
    sessions: card("Sessions", "sessions"),
    projects: card("Projects", "projects"),
    models: card("Models", "models"),
    idle: card("Idle sessions", "idle"),
  };
  const element = h(
    "div",
    { class: "lists" },
    cards.sessions.element,
    h("div", { class: "pair" }, cards.projects.element, cards.models.element),
    cards.idle.element,
  );

  function update(data) {
    const minute = Math.floor(data.now / 60_000); // "3 minutes ago" grows old
    show("sessions", [data.sessions, minute], () => sessionTable(data.sessions), data.sessions.length < data.sessionTotal);
    show("projects", [data.projects, data.summary.totalTokens], () => projectTable(data), data.projects.length >= limits.projects);
    show("models", [data.models, data.summary.totalTokens], () => modelTable(data), data.models.length >= limits.models);
    show("idle", [data.idle, minute], () => idleTable(data.idle), data.idle.length >= limits.idle);
    replace(cards.sessions.count, data.sessionTotal ? `${format.number(data.sessionTotal)} in this range, most tokens first` : "");
    replace(cards.idle.count, "No request for half an hour, whatever the range");
  }

  function show(name, state, make, isCut) {
    const { body } = cards[name];
    renew(body, [state, isCut, limits[name]], () => [make(), isCut && limits[name] < MOST_ROWS && moreButton(name)]);
  }

  function moreButton(name) {
    return h("p", null, h("button", { type: "button", class: "button button-small", "data-key": `more ${name}`, onclick: () => more(name) }, "Show more"));
  }

  function card(title, name) {
    const body = h("div", { class: "list-body" });
    const count = h("p", { class: "small faint" });
    return { element: h("section", { class: "card", "data-list": name, "aria-label": title }, h("div", { class: "card-head" }, h("h2", null, title), count), body), body, count };
  }

  function sessionTable(sessions) {
    if (sessions.length === 0) return nothing("No session in this range.");
    const most = sessions[0].totalTokens;
    return table(
      ["Session", "Tokens", "Requests", "Last active"],
      sessions.map((one) => [
        sessionCell(one),
        tokensCell(one.totalTokens, one.totalTokens / most),
        [format.number(one.eventCount), "num wide-only"],
        [h("time", { datetime: iso(one.lastTs), title: format.time(one.lastTs) }, format.ago(one.lastTs)), "num"],
      ]),
    );
  }

  function idleTable(sessions) {
    if (sessions.length === 0) return nothing("No idle sessions.");
    return table(
      ["Session", "Tokens", "Last active"],
      sessions.map((one) => [
        sessionCell(one),
        [format.compact(one.totalTokens), "num"],
        [h("time", { datetime: iso(one.lastTs), title: format.time(one.lastTs) }, format.ago(one.lastTs)), "num"],
      ]),
    );
  }

  function projectTable({ projects, summary }) {
    if (projects.length === 0) return nothing("No project in this range.");
    return table(
      ["Project", "Tokens"],
      projects.map((one) => [
        [named(lastPart(one.projectPath) ?? "No project", one.projectPath, plural(one.sessionCount, "session")), "main"],
        tokensCell(one.totalTokens, one.totalTokens / summary.totalTokens, true),
      ]),
    );
  }

  function modelTable({ models, summary }) {
    if (models.length === 0) return nothing("No model in this range.");
    return table(
      ["Model", "Tokens"],
      models.map((one) => [
        [named(one.model ?? "Unknown model", null, `${plural(one.eventCount, "request")}, ${format.compact(one.output)} output`), "main"],
        tokensCell(one.totalTokens, one.totalTokens / summary.totalTokens, true),
      ]),
    );
  }

  function sessionCell(one) {
    const link = h(
      "a",
      { class: "row-link", href: `?tab=tokens&session=${encodeURIComponent(wellFormed(one.sessionId))}`, "data-key": `session ${one.sessionId}`, "data-session": one.sessionId, onclick: (event) => follow(event, one.sessionId) },
      lastPart(one.projectPath) ?? "No project",
    );
    return [[link, h("span", { class: "under" }, h("span", { class: "mono" }, shortId(one.sessionId)), one.projectPath && h("span", { class: "path" }, one.projectPath))], "main"];
  }

  function follow(event, id) {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    open(id);
  }

  function named(name, path, note) {
    return [h("span", { class: "name", title: path ?? name }, name), h("span", { class: "under" }, h("span", null, note), path && h("span", { class: "path" }, path))];
  }

  function tokensCell(tokens, share, saysShare = false) {
    const bar = h("span", { class: "share-bar" });
    bar.style.setProperty("--share", String(Number.isFinite(share) ? share : 0));
    const note = saysShare && Number.isFinite(share) ? h("span", { class: "share-note" }, format.percent(share)) : null;
    return [[h("span", { title: format.number(tokens) }, format.compact(tokens)), note, bar], "num tokens"];
  }

  // Cells are [content, class].
  function table(heads, rows) {
    const classes = rows[0].map(([, name]) => name);
    return h(
      "table",
      { class: "data" },
      h("thead", null, h("tr", null, heads.map((head, at) => h("th", { scope: "col", class: classes[at] }, head)))),
      h("tbody", null, rows.map((cells) => h("tr", null, cells.map(([content, name], at) => h(at ? "td" : "th", { class: name, scope: at ? null : "row" }, content))))),
    );
  }

  function nothing(text) {
    return h("p", { class: "muted" }, text);
  }

  function plural(count, word) {
    return `${format.number(count)} ${word}${count === 1 ? "" : "s"}`;
  }

  return { element, update };
}

// The last folder of a path; null when there is none.
export function lastPart(path) {
  const parts = (path ?? "").split(/[/\\]/).filter(Boolean);
  return parts.at(-1) ?? (path || null);
}

// Enough of an id to recognise it by.
export function shortId(id) {
  const points = [...id];
  return points.length > 14 ? points.slice(0, 8).join("") : id;
}

// A string that can stand in an address.
export function wellFormed(text) {
  return text.toWellFormed?.() ?? text;
}

function iso(at) {
  const date = new Date(at);
  return Number.isFinite(date.getTime()) ? date.toISOString() : null;
}
