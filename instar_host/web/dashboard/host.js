// The host's own tab: which plugins run, how their ticks fare, who writes.

export async function mount(element, api) {
  const { h, format, replace, failed } = api;
  let timer = null;
  api.signal.addEventListener("abort", () => clearTimeout(timer));

  async function refresh() {
    try {
      const view = await api.get("plugins");
      replace(element, h("h1", { class: "visually-hidden" }, "Host"), lease(view), plugins(view), ticks(view));
    } catch (error) {
      if (api.signal.aborted || error.locked) return;
      replace(element, failed(error, refresh));
      return;
    }
    timer = setTimeout(refresh, 5000);
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
    return h("section", { class: "card" }, h("h2", null, title), rows.length ? h("div", { class: "scroll-x", tabindex: "0", role: "region", "aria-label": title }, table) : h("p", { class: "muted" }, nothing));
  }

  await refresh();
}

function tone(state) {
  return { loaded: "good", waiting: "quiet", disabled: "quiet" }[state] ?? "bad";
}
