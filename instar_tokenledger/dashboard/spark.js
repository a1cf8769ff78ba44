// A row of small bars: the course of one number, on a scale of its own, for a glance beside the total.

const MOST_BARS = 48;
const HEIGHT = 24;
const GAP = 0.25;

// `values` in order of time; many are drawn as fewer, each the sum of its neighbours.
export function spark(values, kind, { s }) {
  const bars = joined(values);
  const most = Math.max(...bars, 0);
  if (most === 0) return null;
  const path = bars.map((value, at) => bar(at, (value / most) * HEIGHT)).join("");
  return s(
    "svg",
    { class: "spark", "data-kind": kind, viewBox: `0 0 ${bars.length} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    s("path", { d: path }),
  );
}

function joined(values) {
  const width = Math.ceil(values.length / MOST_BARS);
  if (width <= 1) return values;
  const sums = [];
  for (let at = 0; at < values.length; at += width) sums.push(values.slice(at, at + width).reduce((a, b) => a + b, 0));
  return sums;
}

// What is not nothing is seen: at least one of the 24 steps high.
function bar(at, height) {
  if (height === 0) return "";
  const top = HEIGHT - Math.max(1, height);
  return `M${at} ${HEIGHT}V${top.toFixed(2)}H${at + 1 - GAP}V${HEIGHT}Z`;
}
