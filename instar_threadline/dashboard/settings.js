// The Telegram bridge's settings: three switches and two lists, each change sent by itself and shown as it was taken.

const PATH = "threadline/telegram-bridge/config";
const SWITCHES = [
  ["enabled", "Mirror to Telegram", "The master switch. Off, nothing leaves this machine."],
  ["autoCreateTopics", "Open topics by itself", "A new thread of an agent that is not denied gets a topic."],
  ["mirrorExisting", "Mirror into existing topics", "Further messages of a thread that has a topic."],
];
const LISTS = [
  ["allowList", "Allowed", "Always get a topic; this wins over the other list."],
  ["denyList", "Denied", "Never get a topic."],
];

export function settings(api) {
  const { h, replace } = api;
  const status = h("span", { class: "chip" }, "…");
  const body = h("div", { class: "tl-settings" });
  const problem = h("p", { class: "complaint", role: "alert" });
  const element = h("section", { "aria-label": "Settings of the bridge" }, problem, body);
  let busy = false;

  async function load() {
    try {
      show(await api.get(PATH));
    } catch (error) {
      if (error.name === "AbortError" || error.locked) return;
      replace(status, "Unknown");
      replace(body, api.failed(error, load));
    }
  }

  function show(now) {
    status.dataset.tone = now.enabled ? "good" : "";
    replace(status, now.enabled ? "On" : "Off");
    replace(body, SWITCHES.map((one) => switchOf(one, now)), h("div", { class: "tl-lists" }, LISTS.map((one) => listOf(one, now))));
  }

  function switchOf([key, label, help], now) {
    const box = h("input", { type: "checkbox", id: `tl-${key}`, checked: now[key], "aria-describedby": `tl-${key}-help`, onchange: () => change({ [key]: box.checked }, box) });
    return h("div", { class: "tl-switch" }, box, h("label", { for: `tl-${key}` }, label), h("p", { class: "small muted", id: `tl-${key}-help` }, help));
  }

  function listOf([key, label, help], now) {
    const field = h("input", { class: "field mono", id: `tl-${key}`, autocomplete: "off", spellcheck: "false", maxlength: "512", placeholder: "fingerprint" });
    const add = (event) => {
      event.preventDefault();
      const entry = field.value.trim();
      if (entry) change({ [key]: [...now[key], entry] }, null, `tl-${key}`);
    };
    const entries = now[key].map((entry) =>
      h("li", null, h("span", { class: "mono small" }, entry), h("button", { type: "button", class: "button button-quiet", "aria-label": `Remove ${entry}`, onclick: () => change({ [key]: now[key].filter((one) => one !== entry) }, null, `tl-${key}`) }, "Remove")),
    );
    return h("form", { class: "tl-list-editor", onsubmit: add }, h("label", { for: `tl-${key}` }, h("h3", null, label)), h("p", { class: "small muted" }, help), entries.length ? h("ul", null, entries) : h("p", { class: "small faint" }, "(empty)"), h("div", { class: "tl-add" }, field, h("button", { class: "button" }, "Add")));
  }

  async function change(patch, box, focus) {
    if (busy) {
      if (box) box.checked = !box.checked;
      return;
    }
    busy = true;
    replace(problem);
    try {
      show(await api.patch(PATH, patch));
    } catch (error) {
      if (error.name === "AbortError" || error.locked) return;
      replace(problem, `Not saved: ${error.message}`);
      await load();
    } finally {
      busy = false;
    }
    document.getElementById(focus ?? box?.id)?.focus();
  }

  return { element, status, load };
}
