// Every record that is bad or gone, one by one, in the order of the log: opened from the integrity badges.

import { latest } from "./latest.js";

const PATH = "threadline/observability/problems";

export function problems(api, { closed }) {
  const { h, replace, format } = api;
  const title = h("p", { class: "small muted", role: "status" });
  const items = h("ol", { class: "tl-problems" });
  const foot = h("div", { class: "tl-foot" });
  const heading = h("h2", { tabindex: "-1" }, "What is wrong");
  const element = h("section", { class: "card tl-card", id: "tl-problems", hidden: true, "aria-label": "What is wrong with the record", onkeydown: leave }, h("div", { class: "card-head" }, heading, h("button", { type: "button", class: "button button-quiet", onclick: close }, "Close")), title, items, foot);
  const asking = latest();
  let count = 0;

  function toggle() {
    if (!element.hidden) return close();
    element.hidden = false;
    heading.focus();
    return load(null);
  }

  function close() {
    const here = element.contains(document.activeElement);
    asking.forget();
    element.hidden = true;
    closed(here);
  }

  function leave(event) {
    if (event.key !== "Escape") return;
    event.preventDefault();
    close();
  }

  async function load(cursor) {
    if (cursor === null) {
      count = 0;
      replace(items);
    }
    replace(foot, api.loading());
    await asking(
      () => api.get(PATH, { cursor }),
      (page) => add(page),
      (error) => replace(foot, api.failed(error, () => load(cursor))),
    );
  }

  function add(page) {
    const known = items.childElementCount;
    count += page.count;
    items.append(...page.problems.map(item));
    if (known > 0 && document.activeElement === document.body) items.children[known]?.querySelector("[tabindex]")?.focus({ preventScroll: true });
    const more = page.nextCursor !== null;
    const unkept = !more && page.total > count ? "; the others are counted, not kept one by one" : "";
    replace(title, page.total === 0 ? "Nothing is wrong any more." : `${format.number(count)} of ${format.number(page.total)}${unkept}`);
    replace(foot, more && h("button", { type: "button", class: "button", onclick: () => load(page.nextCursor) }, "Show more"));
  }

  function item(one) {
    const lines = one.lines > 1 ? `${format.number(one.lines)} records` : null;
    const place = [one.file, `byte ${format.number(one.offset)}`, one.entry > 0 && `entry ${format.number(one.entry)}`, lines].filter(Boolean).join(" · ");
    return h(
      "li",
      null,
      h("p", { class: "tl-problem" }, h("span", { class: "chip", "data-tone": "bad" }, one.kind), h("span", null, one.words)),
      h("p", { class: "mono small muted" }, place),
      one.excerpt && h("pre", { class: "tl-excerpt", tabindex: "0", dir: "ltr" }, one.excerpt),
    );
  }

  return { element, toggle, isOpen: () => !element.hidden };
}
