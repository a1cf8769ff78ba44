// Tokens by kind over time: stacked bars, drawn on a canvas, with the same numbers in a table for whoever does not
// see it. Drag over bars, or press one, to look closer.

import uPlot from "./vendor/uPlot.esm.js";

import { filled, labelSteps, next, placeOf, stacked } from "./buckets.js";
import { renewer } from "./keep.js";
import { KINDS } from "./kinds.js";

const HEIGHT_PX = 240;
const DRAG_PX = 6;
const EDGE_PX = 26;
const HINT = "Press a kind to hide it; drag over bars to look closer";

export function chart(api, zoom) {
  const { h, replace } = api;
  const renew = renewer(replace);
  const title = h("h2", null, "Tokens");
  const legend = h("div", { class: "legend", role: "group", "aria-label": "Kinds of tokens shown" });
  const when = h("p", { class: "legend-when small muted" });
  const canvas = h("div", { class: "chart", "aria-hidden": "true" });
  const hourly = bucketButtons();
  const numbers = h("div");
  const element = h(
    "section",
    { class: "card", "aria-label": "Use over time" },
    h("div", { class: "card-head" }, title, hourly.element),
    h("div", { class: "legend-row" }, legend, when),
    canvas,
    h("details", { class: "numbers" }, h("summary", { "data-key": "numbers" }, "The same in numbers"), numbers),
  );
  const keys = KINDS.map((kind) => legendKey(kind));
  replace(legend, keys.map((key) => key.element));

  let plot = null;
  let shown = { buckets: [], span: null, kinds: [] };

  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", () => draw(), { signal: api.signal });
  const observer = new ResizeObserver(() => plot?.setSize({ width: canvas.clientWidth, height: HEIGHT_PX }));
  observer.observe(canvas);
  api.signal.addEventListener("abort", () => (observer.disconnect(), plot?.destroy()));

  function update({ series, span, now }) {
    const hidden = hiddenKinds(api.params);
    const buckets = filled(series, { ...span, now });
    const kinds = KINDS.filter((kind) => !hidden.has(kind.id));
    const same = plot && shown.span.bucket === span.bucket && shown.kinds.length === kinds.length && shown.kinds.every((kind, at) => kind === kinds[at]);
    shown = { buckets, span, kinds };
    replace(title, span.bucket === "hour" ? "Tokens per hour" : "Tokens per day");
    keys.forEach((key) => key.press(!hidden.has(key.kind.id)));
    hourly.update(span);
    if (same) plot.setData(columns(), true);
    else draw();
    read(null);
    renew(numbers, [buckets, span.bucket], () => table(buckets, span));
  }

  // Drawn from the tallest sum to the lowest, so that each kind shows above the ones below it.
  function columns() {
    const [at, ...sums] = stacked(shown.buckets, shown.kinds.map((kind) => kind.id));
    return [at, ...sums.reverse()];
  }

  function draw() {
    plot?.destroy();
    plot = null;
    replace(canvas);
    if (canvas.clientWidth === 0 && !canvas.isConnected) return;
    const look = getComputedStyle(canvas);
    const colour = (name) => look.getPropertyValue(name).trim();
    const font = `12px ${look.fontFamily}`;
    const band = h("div", { class: "chart-band" });
    const axis = { font, stroke: colour("--ink-faint"), ticks: { show: false } };
    const bars = uPlot.paths.bars({ size: [0.8, 64], align: 1 });
    const series = shown.kinds.toReversed().map((kind) => ({ fill: colour(kind.colour), stroke: "transparent", width: 0, paths: bars, points: { show: false } }));
    plot = new uPlot(
      {
        width: Math.max(canvas.clientWidth, 120),
        height: HEIGHT_PX,
        padding: [12, 0, 0, 0],
        legend: { show: false },
        scales: { x: { time: true, range: xRange }, y: { range: (_, __, most) => [0, Math.max(1, most * 1.04)] } },
        axes: [
          { ...axis, size: 30, gap: 8, grid: { show: false }, space: 70, incrs: labelSteps(shown.span.bucket), values: ticks },
          { ...axis, size: 52, space: 44, grid: { stroke: colour("--line"), width: 1 }, values: (_, splits) => splits.map((value) => (value ? api.format.compact(value) : "0")) },
        ],
        cursor: { x: false, y: false, points: { show: false }, drag: { x: true, y: false, setScale: false }, dataIdx: bucketAt },
        series: [{}, ...series],
        hooks: { setCursor: [(u) => follow(u, band)] },
      },
      columns(),
      canvas,
    );
    plot.under.append(band);
    listen(plot);
  }

  // Labels below the bars, but none that the right edge would cut.
  function ticks(u, splits, _, __, stepSeconds) {
    const last = shown.buckets.length ? u.scales.x.max : Infinity;
    const room = ((last - u.scales.x.min) * EDGE_PX) / Math.max(1, canvas.clientWidth);
    return splits.map((at, place) => (last - at < room ? "" : tick(at * 1000, stepSeconds, place)));
  }

  function xRange() {
    const { buckets, span } = shown;
    if (buckets.length === 0) return [0, 1];
    return [buckets[0].start / 1000, next(buckets.at(-1).start, span.bucket) / 1000];
  }

  function bucketAt(_, __, ___, atSeconds) {
    return Math.max(0, placeOf(shown.buckets, atSeconds * 1000));
  }

  function follow(u, band) {
    const inside = u.cursor.left >= 0 && shown.buckets.length > 0;
    const place = inside ? placeOf(shown.buckets, u.posToVal(u.cursor.left, "x") * 1000) : -1;
    band.hidden = place < 0;
    read(shown.buckets[place] ?? null);
    if (place < 0) return;
    const { start } = shown.buckets[place];
    const left = u.valToPos(start / 1000, "x");
    band.style.left = `${left}px`;
    band.style.width = `${u.valToPos(next(start, shown.span.bucket) / 1000, "x") - left}px`;
  }

  // The legend tells the bucket under the pointer, or the whole span.
  function read(bucket) {
    const { buckets, span } = shown;
    replace(when, bucket ? bucketWords(bucket.start, span.bucket) : h("span", { class: "faint wide-only" }, HINT));
    for (const key of keys) {
      const total = bucket ? bucket[key.kind.id] : buckets.reduce((sum, one) => sum + one[key.kind.id], 0);
      key.say(api.format.compact(total));
    }
  }

  function listen(u) {
    let from = null;
    u.over.addEventListener("pointerdown", (event) => (from = event.button === 0 ? event.offsetX : null));
    u.over.addEventListener("pointerup", (event) => {
      if (from === null) return;
      const [low, high] = [from, event.offsetX].sort((a, b) => a - b);
      from = null;
      u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
      if (high - low < DRAG_PX && (event.pointerType === "touch" || shown.span.bucket === "hour")) return;
      const first = shown.buckets[Math.max(0, placeOf(shown.buckets, u.posToVal(low, "x") * 1000))];
      const last = shown.buckets[Math.max(0, placeOf(shown.buckets, u.posToVal(high, "x") * 1000))];
      if (first && last) zoom(first.start, next(last.start, shown.span.bucket));
    });
  }

  function legendKey(kind) {
    const value = h("span", { class: "legend-value" });
    const button = h(
      "button",
      { type: "button", class: "legend-key", "data-kind": kind.id, "data-key": `kind ${kind.id}`, title: "Show or hide this kind", onclick: () => toggle(kind.id) },
      h("span", { class: "swatch", "data-kind": kind.id }),
      h("span", null, kind.label),
      value,
    );
    return { kind, element: button, say: (text) => replace(value, text), press: (on) => button.setAttribute("aria-pressed", String(on)) };
  }

  function toggle(id) {
    const hidden = hiddenKinds(api.params);
    if (!hidden.delete(id)) hidden.add(id);
    if (hidden.size === KINDS.length) hidden.clear();
    api.navigate({ hide: [...hidden].join("+") || null }, { replace: true });
  }

  function bucketButtons() {
    const choices = ["hour", "day"].map((id) => ({
      id,
      button: h("button", { type: "button", class: "segment", "data-key": `bucket ${id}`, onclick: () => api.navigate({ bucket: id }, { replace: true }) }, id === "hour" ? "Hours" : "Days"),
    }));
    const group = h("div", { class: "segments segments-small", role: "group", "aria-label": "Size of a bar" }, choices.map((one) => one.button));
    function update(span) {
      group.hidden = !span.hourly;
      for (const one of choices) one.button.setAttribute("aria-pressed", String(one.id === span.bucket));
    }
    return { element: group, update };
  }

  function table(buckets, span) {
    const used = buckets.filter((one) => one.eventCount || KINDS.some((kind) => one[kind.id])).toReversed();
    if (used.length === 0) return h("p", { class: "muted small" }, "Nothing in this range.");
    const look = (one) => h("button", { type: "button", class: "link", "data-key": `bucket ${one.start}`, onclick: () => zoom(one.start, next(one.start, span.bucket)) }, bucketWords(one.start, span.bucket));
    return h(
      "div",
      { class: "scroll-x scroll-y", tabindex: "0", "data-key": "numbers table", role: "region", "aria-label": "Use over time, in numbers" },
      h(
        "table",
        { class: "data" },
        h("thead", null, h("tr", null, ["When", ...KINDS.map((kind) => kind.label), "Requests"].map((head, at) => h("th", { scope: "col", class: at ? "num" : null }, head)))),
        h("tbody", null, used.map((one) =>
          h(
            "tr",
            null,
            h("th", { scope: "row" }, look(one)),
            KINDS.map((kind) => h("td", { class: "num" }, api.format.number(one[kind.id]))),
            h("td", { class: "num" }, api.format.number(one.eventCount)),
          ),
        )),
      ),
    );
  }

  return { element, update };
}

function hiddenKinds(params) {
  const known = new Set(KINDS.map((kind) => kind.id));
  return new Set((params.hide ?? "").split(/[+ ,]/).filter((id) => known.has(id)));
}

function bucketWords(start, bucket) {
  const thisYear = new Date(start).getFullYear() === new Date().getFullYear();
  const day = { weekday: "short", day: "numeric", month: "short", ...(thisYear ? {} : { year: "numeric" }) };
  return new Intl.DateTimeFormat(undefined, bucket === "hour" ? { ...day, hour: "2-digit", minute: "2-digit" } : day).format(start);
}

// Labels below the bars: the hour while hours are told apart, the date at midnight, the year where it begins.
function tick(at, stepSeconds, place) {
  const date = new Date(at);
  const midnight = date.getHours() === 0 && date.getMinutes() === 0;
  const newYear = midnight && date.getMonth() === 0 && date.getDate() === 1;
  if (stepSeconds < 86_400 && !midnight) return new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" }).format(date);
  if (stepSeconds >= 365 * 86_400) return String(date.getFullYear());
  if (stepSeconds >= 28 * 86_400) return new Intl.DateTimeFormat(undefined, newYear || place === 0 ? { month: "short", year: "numeric" } : { month: "short" }).format(date);
  return new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" }).format(date);
}
