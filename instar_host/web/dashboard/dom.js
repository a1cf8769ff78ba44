// Elements from data: text only, never markup.
//
// Promises that no string that came over the wire is ever parsed as HTML, runs as a script or changes the
// direction of the text around it. No markup is ever made from text here, nor in any panel of ours.

const HIDDEN = new RegExp(
  "[\\u0000-\\u0008\\u000B-\\u001F\\u007F-\\u009F\\u00AD\\u061C\\u180E\\u200B\\u200E\\u200F" +
    "\\u2028-\\u202E\\u2060-\\u206F\\uFEFF\\uFFF9-\\uFFFB\\u{E0000}-\\u{E007F}]" +
    "|(?<=^|[\\u0000-\\u007F])[\\u200C\\u200D]|\\p{Surrogate}",
  "gu",
);

const SAFE_LINK = /^(?:#|\?|\.\/|[a-z0-9_-]+(?:[/?#]|$))/i;

// Text with what cannot be seen made visible: control characters, bidi overrides, zero-width characters and
// lone surrogates. Line breaks and tabs stay; joiners stay where a script needs them.
export function visible(text) {
  return String(text ?? "").replace(HIDDEN, (found) => {
    const code = found.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    return `‹U+${code}›`;
  });
}

// h("p", {class: "muted"}, "text", element, ...): strings become visible text; null and false are left out.
// A function under `onclick` and the like becomes a listener; a string there is refused, as are `style` and
// addresses that lead elsewhere.
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  apply(element, attributes ?? {});
  fill(element, children);
  return element;
}

// The same for SVG.
export function s(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  apply(element, attributes ?? {});
  fill(element, children);
  return element;
}

// Replaces what an element holds.
export function replace(element, ...children) {
  element.replaceChildren();
  fill(element, children);
  return element;
}

// Something is on its way.
export function loading(text = "Loading …") {
  return h("div", { class: "state state-loading", role: "status" }, h("p", null, text));
}

// There is nothing, and what would change that.
export function empty(title, ...hints) {
  return h("div", { class: "state" }, h("h2", null, title), ...hints.map((hint) => h("p", null, hint)));
}

// It did not work: what to do, and a way to try again.
export function failed(error, retry) {
  const title = error?.title ?? "This could not be loaded";
  const button = retry && h("button", { type: "button", class: "button", onclick: retry }, "Try again");
  const words = error?.message ?? String(error);
  return h("div", { class: "state state-failed", role: "alert" }, h("h2", null, title), h("p", null, words), button);
}

function apply(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function" && name.startsWith("on")) {
      element.addEventListener(name.slice(2), value);
    } else if (name.startsWith("on") || name === "style" || name === "srcdoc") {
      throw new TypeError(`h(): ${name} is set with a function or through CSS`);
    } else if ((name === "href" || name === "src") && !SAFE_LINK.test(value)) {
      throw new TypeError("h(): a link stays on this page or host");
    } else if (name === "class") {
      element.setAttribute("class", value);
    } else if (name === "value" || name === "checked" || name === "selected") {
      element[name] = value;
    } else {
      element.setAttribute(name, value === true ? "" : visible(value));
    }
  }
}

function fill(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(visible(child)));
  }
}
