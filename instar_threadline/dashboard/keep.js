// Replaces what an element holds without taking the keyboard away: the focus returns to the element with the same
// `data-key`, and what has not changed is not touched.

// keeper(replace) gives renew(element, state, make): shows in the element what `make` gives, unless `state` is
// what was shown last.
export function keeper(replace) {
  const shown = new WeakMap();
  return (element, state, make) => {
    const said = JSON.stringify(state);
    if (shown.get(element) === said) return;
    shown.set(element, said);
    const active = document.activeElement;
    const key = element.contains(active) ? active.dataset.key : undefined;
    replace(element, make());
    if (key !== undefined) [...element.querySelectorAll("[data-key]")].find((one) => one.dataset.key === key)?.focus({ preventScroll: true });
  };
}
