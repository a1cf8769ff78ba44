// The Telegram bridge's card: how delivery fares in one line, and behind it the queue, what was not delivered, and the
// settings.

import { delivery } from "./delivery.js";
import { settings } from "./settings.js";

const OPEN_MS = 5_000;
const CLOSED_MS = 30_000;

export function bridge(api) {
  const { h } = api;
  const way = delivery(api);
  const rules = settings(api);
  const element = h(
    "details",
    { class: "card tl-card", ontoggle: () => element.open && way.load() },
    h("summary", null, h("h2", null, "Telegram bridge"), rules.status, way.status),
    h("div", { class: "tl-bridge" }, way.element, rules.element),
  );

  // Delivery goes on without a word on the stream of events, so it is asked about: often while somebody looks at it.
  let timer = null;
  function follow() {
    timer = setTimeout(async () => {
      if (!document.hidden) await way.load();
      if (!api.signal.aborted) follow();
    }, element.open ? OPEN_MS : CLOSED_MS);
  }
  element.addEventListener("toggle", () => (clearTimeout(timer), follow()));
  api.signal.addEventListener("abort", () => clearTimeout(timer));

  function load() {
    way.load();
    rules.load();
  }

  // The host is back after a break.
  function again() {
    way.load();
    rules.again();
  }

  return { element, load, again };
}
