// The range picker: which span of time the page shows. The choice lives in the address and nowhere else.

import { addDays, customParams, dateText, RANGES } from "./ranges.js";

export function picker(api) {
  const { h, replace } = api;
  const buttons = RANGES.map((range) =>
    h("button", { type: "button", class: "segment", "data-key": `range ${range.id}`, title: range.words, onclick: () => choose(range.id) }, range.label),
  );
  const from = h("input", { type: "date", class: "field", id: "range-from", required: true });
  const to = h("input", { type: "date", class: "field", id: "range-to", required: true });
  const form = h(
    "form",
    { class: "range-custom", onsubmit: apply, onkeydown: leave },
    h("label", { for: "range-from" }, "From"),
    from,
    h("label", { for: "range-to" }, "to"),
    to,
    h("button", { class: "button" }, "Show"),
  );
  const words = h("p", { class: "range-words" });
  let shown = null; // what the address chose when it was shown last

  function choose(id) {
    if (id === "custom") {
      mark(id);
      form.hidden = false;
      from.focus();
    } else {
      form.hidden = true;
      mark(id);
      api.navigate({ range: id, from: null, to: null, bucket: null });
    }
  }

  // Escape gives up a form that was opened but not used.
  function leave(event) {
    if (event.key !== "Escape" || shown?.range === "custom") return;
    form.hidden = true;
    mark(shown?.range);
    buttons.at(-1).focus();
  }

  function apply(event) {
    event.preventDefault();
    const [first, last] = [from.value, to.value].sort();
    if (first && last) api.navigate({ range: "custom", from: first, to: last, bucket: null });
  }

  function mark(id) {
    buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(RANGES[at].id === id)));
  }

  function update(next, now) {
    const { range, from: first, to: last } = api.params;
    const chosen = JSON.stringify([range, first, last]);
    const again = shown?.chosen === chosen;
    tell(spanWords(next), again || shown === null);
    shown = { chosen, range: next.range };
    if (again && !form.hidden) return; // somebody may be writing there
    mark(next.range);
    form.hidden = next.range !== "custom";
    from.value = dateText(next.since || addDays(now, -6));
    to.value = dateText((next.until ?? now + 1) - 1);
    from.max = to.max = dateText(now);
  }

  // "The last 24 hours" begin later every minute: only a choice is worth reading out.
  function tell(text, quietly) {
    if (words.textContent === text) return;
    words.setAttribute("aria-live", quietly ? "off" : "polite");
    replace(words, text);
  }

  const element = h(
    "div",
    { class: "toolbar" },
    h("div", { class: "segments", role: "group", "aria-label": "Range" }, buttons),
    form,
    words,
  );
  form.hidden = true;
  return { element, update, zoom: (since, until) => api.navigate(customParams(since, until)) };
}

// "since 16 Nov 2026, 00:00": exactly what is counted, in the reader's own zone.
export function spanWords(span) {
  const said = (at) => new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }).format(at);
  if (span.range === "all") return "Everything in the ledger";
  if (span.until === null) return `Since ${said(span.since)}`;
  return `${said(span.since)} – ${said(span.until)}`;
}
