// What a search found: the newest first, each with its match marked by where it is, not by characters in the text.

export function results(api, { open, more }) {
  const { h, replace, format, visible } = api;
  const title = h("p", { class: "small muted", role: "status" });
  const items = h("ol", { class: "tl-list" });
  const foot = h("div", { class: "tl-foot" });
  const element = h("div", { class: "tl-results" }, title, items, foot);
  let count = 0;

  function begin(query) {
    count = 0;
    replace(title, `Searching for ${query} …`);
    replace(items);
    replace(foot);
  }

  function show(page) {
    count = 0;
    replace(items);
    add(page);
  }

  function add(page) {
    const here = foot.contains(document.activeElement);
    const known = items.childElementCount;
    count += page.count;
    for (const hit of page.hits) items.append(h("li", null, row(hit)));
    const scope = page.scope === "recent" ? " in the most recent messages; three characters search them all" : "";
    const goesOn = page.nextCursor !== null;
    replace(title, count === 0 ? (goesOn ? "Nothing in the newer part" : `No matches${scope}`) : `${format.number(count)}${goesOn ? " or more" : ""} ${count === 1 ? "match" : "matches"}${scope}`);
    replace(foot, goesOn && h("button", { type: "button", class: "button", onclick: () => more(page.nextCursor) }, count === 0 ? "Search further back" : "Show more"));
    if (here) (items.children[known] ?? foot).querySelector("button")?.focus({ preventScroll: true });
  }

  function row({ message, parts }) {
    const [before, match, after] = parts;
    const line = h("span", { class: "tl-line" }, h("span", { class: "tl-name" }, message.direction === "in" ? message.remoteAgentName : `to ${message.remoteAgentName}`), h("span", { class: "tl-age" }, message.at ? format.ago(message.at) : message.timestamp));
    const text = h("span", { class: "tl-snippet" }, before, h("mark", null, match), after);
    const ids = h("span", { class: "tl-ids mono" }, h("span", null, message.threadId || "(empty id)"), h("span", null, message.remoteAgent));
    return h("button", { type: "button", class: "tl-thread", "data-thread": message.threadId, onclick: () => open(message.threadId) }, line, text, ids);
  }

  function failed(error, retry) {
    replace(title);
    replace(foot, api.failed(error, retry));
  }

  function focus(id) {
    const rows = [...items.querySelectorAll("button")];
    (rows.find((one) => one.dataset.thread === visible(id)) ?? rows[0])?.focus();
  }

  return { element, begin, show, add, failed, focus };
}
