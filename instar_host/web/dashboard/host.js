// The host's own tab: which plugins run, how their ticks fare, who writes.

const EVERY_MS = 5000;

export async function mount(element, api) {
  const { h, format, replace, failed } = api;
  const places = new Map(); // title of a table -> the element that scrolls, which stays
  let wrong = null; // the trouble that is shown
  let timer = null;
  api.signal.addEventListener("abort", () => clearTimeout(timer));
  document.addEventListener("visibilitychange", () => document.hidden || refresh(), { signal: api.signal });

  async function refresh() {
    clearTimeout(timer);
    timer = setTimeout(refresh, EVERY_MS);
    if (document.hidden) return;
    try {
      show(await api.get("plugins"));
    } catch (error) {
      if (api.signal.aborted || error.locked) return clearTimeout(timer);
      if (wrong === error.message) return; // said once
      wrong = error.message;
      places.clear();
      replace(element, failed(error, refresh));
    }
  }

  // What scrolls and may have the focus is put in place once; only what it holds is made anew.
  function show(view) {
    const parts = [h("h1", { class: "visually-hidden" }, "Host"), lease(view), plugins(view), ticks(view)];
    const stand = element.querySelectorAll(":scope > section").length === 2 && wrong === null;
    wrong = null;
    if (!stand) return replace(element, parts);
    const old = element.querySelector(":scope > .lede");
    if (old.textContent !== parts[1].textContent) old.replaceWith(parts[1]);
  }

  function lease({ host, lease: holder }) {
    const who = holder.held
      ? "This process writes."
      : holder.pid
        ? `Process ${holder.pid} writes${holder.address ? ` (${holder.address})` : ""}. This one only reads, and takes over when that one ends.`
        : "Nobody writes at this moment.";
    return h("p", { class: "lede" }, `${host.name} ${host.version}. `, who);
  }

  function plugins(view) {
    const rows = view.plugins.map((one) =>
      h(
        "tr",
        null,
        h("th", { scope: "row" }, one.name),
        h("td", null, h("span", { class: "chip", "data-tone": tone(one.state) }, one.state)),
        h("td", { class: "muted" }, [one.distribution, one.version].filter(Boolean).join(" ") || "–"),
        h("td", null, one.error ?? (one.dropped ? `${format.number(one.dropped)} events dropped` : "")),
      ),
    );
    return section("Plugins", ["Name", "State", "Package", "Notes"], rows, "No plugin is installed.");
  }

  function ticks(view) {
    const rows = view.ticks.map((one) =>
      h(
        "tr",
        null,
        h("th", { scope: "row" }, one.name),
        h("td", null, h("span", { class: "chip", "data-tone": one.failuresInRow ? "bad" : "good" }, one.running ? "running" : one.failuresInRow ? "failing" : one.runs ? "ok" : "waiting")),
        h("td", { class: "num" }, format.ago(one.lastRunAtMs)),
        h("td", { class: "num" }, one.lastDurationMs === null ? "–" : `${format.number(one.lastDurationMs)} ms`),
        h("td", { class: "num" }, format.number(one.runs)),
        h("td", null, one.failuresInRow ? one.lastError : ""),
      ),
    );
    return section("Ticks", ["Name", "State", "Last run", "Took", "Runs", "Notes"], rows, "No plugin brings a tick.");
  }

  function section(title, heads, rows, nothing) {
    const table = h(
      "table",
      { class: "data" },
      h("thead", null, h("tr", null, heads.map((head) => h("th", { scope: "col", class: ["Last run", "Took", "Runs"].includes(head) && "num" }, head)))),
      h("tbody", null, rows),
    );
    const filling = rows.length ? table : h("p", { class: "muted" }, nothing);
    const place = places.get(title);
    if (place) {
      const at = place.scrollLeft;
      replace(place, filling).scrollLeft = at;
      return place;
    }
    places.set(title, h("div", { class: "scroll-x", tabindex: "0", role: "region", "aria-label": title }, filling));
    return h("section", { class: "card" }, h("h2", null, title), places.get(title));
  }

  await refresh();
}

function tone(state) {
  return { loaded: "good", waiting: "quiet", disabled: "quiet" }[state] ?? "bad";
}
