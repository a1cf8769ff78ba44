// Replaces what an element holds without taking the keyboard away: the focus returns to the element with the same
// `data-key`, or to the last one where that is gone, what was scrolled stays scrolled, and what has not changed is not
// touched.

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
  const scrolled = keyed(element).filter((one) => one.scrollTop || one.scrollLeft);
  const places = new Map(scrolled.map((one) => [one.dataset.key, [one.scrollTop, one.scrollLeft]]));
  change();
  if (key === undefined && places.size === 0) return;
  const now = keyed(element);
  for (const one of now) if (places.has(one.dataset.key)) [one.scrollTop, one.scrollLeft] = places.get(one.dataset.key);
  if (key !== undefined) (now.find((one) => one.dataset.key === key) ?? now.at(-1))?.focus({ preventScroll: true });
}

function keyed(element) {
  return [...element.querySelectorAll("[data-key]")];
}
