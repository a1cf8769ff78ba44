// Replaces what an element holds without taking the keyboard away: the focus returns to the element with the same
// `data-key`, and what has not changed is not touched.

// renew(element, state, make): shows in the element what `make` gives, unless `state` is what was shown last.
export function renewer(replace) {
  const shown = new WeakMap();
  return (element, state, make) => {
    const said = JSON.stringify(state);
    if (shown.get(element) === said) return;
    shown.set(element, said);
    keeping(element, () => replace(element, make()));
  };
}

function keeping(element, change) {
  const active = document.activeElement;
  const key = element.contains(active) ? active.dataset.key : undefined;
  change();
  if (key === undefined) return;
  const again = [...element.querySelectorAll("[data-key]")].find((one) => one.dataset.key === key);
  again?.focus({ preventScroll: true });
}
