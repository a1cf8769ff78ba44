// The Telegram bridge's settings: three switches and two lists, each change sent by itself and shown as it was taken.

import { keeper } from "./keep.js";

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
  const renew = keeper(replace);
  const status = h("span", { class: "chip" }, "…");
  const problem = h("p", { class: "complaint", role: "alert" });
  const switches = SWITCHES.map(switchOf);
  const lists = LISTS.map(listOf);
  const controls = [switches.map((one) => one.element), h("div", { class: "tl-lists" }, lists.map((one) => one.element))];
  const body = h("div", { class: "tl-settings" });
  const element = h("section", { "aria-label": "Settings of the bridge" }, problem, body);
  let lost = false; // whether they could not be had
  let queue = Promise.resolve(); // one change after another

  async function load() {
    try {
      show(await api.get(PATH));
    } catch (error) {
      if (error.name === "AbortError" || error.locked) return;
      lost = true;
      replace(status, "Unknown");
      replace(body, api.failed(error, load));
    }
  }

  // What somebody is typing stays: only what the settings say changes.
  function show(now) {
    lost = false;
    status.dataset.tone = now.enabled ? "good" : "";
    replace(status, now.enabled ? "On" : "Off");
    for (const one of [...switches, ...lists]) one.update(now);
    if (!body.contains(lists[0].element)) replace(body, controls);
  }

  function switchOf([key, label, help]) {
    const box = h("input", { type: "checkbox", id: `tl-${key}`, "aria-describedby": `tl-${key}-help`, onchange: turn });
    const row = h("div", { class: "tl-switch" }, box, h("label", { for: `tl-${key}` }, label), h("p", { class: "small muted", id: `tl-${key}-help` }, help));

    function turn() {
      const wanted = box.checked;
      change(() => ({ [key]: wanted }));
    }

    return { element: row, update: (now) => (box.checked = now[key]) };
  }

  function listOf([key, label, help]) {
    const field = h("input", { class: "field mono", id: `tl-${key}`, autocomplete: "off", spellcheck: "false", maxlength: "512", placeholder: "fingerprint" });
    const entries = h("div");
    const add = (event) => {
      event.preventDefault();
      const entry = field.value.trim();
      if (!entry) return;
      field.value = "";
      change((now) => ({ [key]: [...now[key].filter((one) => one !== entry), entry] }), () => (field.value ||= entry));
    };
    const form = h("form", { class: "tl-list-editor", onsubmit: add }, h("label", { for: `tl-${key}` }, h("h3", null, label)), h("p", { class: "small muted" }, help), entries, h("div", { class: "tl-add" }, field, h("button", { class: "button" }, "Add")));

    function entryOf(entry) {
      const remove = () => change((now) => ({ [key]: now[key].filter((one) => one !== entry) }));
      return h("li", null, h("span", { class: "mono small" }, entry), h("button", { type: "button", class: "button button-quiet", "data-key": entry, "aria-label": `Remove ${entry}`, onclick: remove }, "Remove"));
    }

    function update(now) {
      const here = entries.contains(document.activeElement);
      renew(entries, now[key], () => (now[key].length ? h("ul", null, now[key].map(entryOf)) : h("p", { class: "small faint" }, "(empty)")));
      if (here && !entries.contains(document.activeElement)) field.focus({ preventScroll: true });
    }

    return { element: form, update };
  }

  // Made on what the settings say now: another page may have changed them since they were shown here.
  function change(make, undo = () => {}) {
    queue = queue.then(async () => {
      replace(problem);
      try {
        show(await api.patch(PATH, make(await api.get(PATH))));
      } catch (error) {
        if (error.name === "AbortError" || error.locked) return;
        undo();
        replace(problem, `Not saved: ${error.message}`);
        await load();
      }
    });
    return queue;
  }

  return { element, status, load, again: () => lost && load() };
}
