// A command to take to a terminal: what is shown is what is copied, and nothing else can come along.

const PLAIN = /^[A-Za-z0-9_][A-Za-z0-9_.:@/-]*$/;
const SAID_MS = 2000;

// The command that traces a request; null for an id that would not be safe to paste into a terminal.
export function traceCommand(request, visible) {
  const id = request.requestId || request.messageId || request.uuid;
  if (!id || visible(id) !== id || /[\n\r\t]/.test(id)) return null;
  return `instar tokens trace ${quoted(id)}`;
}

// The command with a button that copies it.
export function copyable(text, { h, replace }) {
  const code = h("code", { class: "command-text", tabindex: "0", "data-key": `command ${text}` }, text);
  const button = h("button", { type: "button", class: "button button-small", "data-key": `copy ${text}`, onclick: copy }, "Copy");
  const said = h("span", { class: "faint small", role: "status" });

  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      replace(said, "Copied");
    } catch {
      getSelection().selectAllChildren(code); // the clipboard is closed to pages without TLS
      replace(said, "Selected; copy it with the keyboard");
    }
    setTimeout(() => replace(said), SAID_MS);
  }

  return h("p", { class: "command" }, code, button, said);
}

function quoted(id) {
  const safe = PLAIN.test(id) ? id : `'${id.replaceAll("'", "'\\''")}'`;
  return id.startsWith("-") ? `-- ${safe}` : safe;
}
