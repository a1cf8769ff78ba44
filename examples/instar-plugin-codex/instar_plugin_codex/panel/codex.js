// The tab: how full Codex's rate limits are. `api` is described at the top of the dashboard's shell.js.

export async function mount(element, api) {
  const { limits } = await api.get("codex/limits");
  const rows = Object.entries(limits ?? {}).filter(([, limit]) => limit?.used_percent !== undefined);
  const item = ([name, limit]) => api.h("li", null, `${name}: ${limit.used_percent} % used of ${limit.window_minutes} minutes`);
  api.replace(element, rows.length ? api.h("ul", null, rows.map(item)) : api.h("p", null, "Codex has not said anything about its limits yet."));
}
