// What the chart draws, from what the route answers. Pure: no DOM, no clock.

import { addDays, HOUR_MS } from "./ranges.js";

const HOUR_S = 3600;
const DAY_S = 24 * HOUR_S;
const LABEL_STEPS_S = [
  ...[1, 2, 3, 4, 6, 8, 12].map((hours) => hours * HOUR_S),
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15].map((days) => days * DAY_S),
  ...[1, 2, 3, 4, 6].map((months) => months * 30 * DAY_S), // the plot makes calendar months and years of these
  ...[1, 2, 5, 10, 25].map((years) => years * 365 * DAY_S),
];

// Every hour or local day from the first to the last with something in it, or of the span where it has an end:
// those that the answer leaves out are empty. At most `max` of them, the latest.
export function filled(series, { bucket, since, until, now, max = 4000 }) {
  const known = new Map(series.map((one) => [one.start, one]));
  const first = since > 0 ? startOf(since, bucket) : series[0]?.start;
  if (first === undefined) return [];
  const end = until ?? now;
  const starts = new Set();
  for (let at = first; at < end && starts.size < 100_000; at = next(at, bucket)) starts.add(at);
  for (const start of known.keys()) starts.add(start);
  return [...starts]
    .sort((a, b) => a - b)
    .slice(-max)
    .map((start) => known.get(start) ?? { start, eventCount: 0, input: 0, output: 0, cacheCreate: 0, cacheRead: 0 });
}

// Columns for a stacked chart: instants in seconds, then for each kind what it and those below it add up to.
export function stacked(buckets, kinds) {
  const sums = buckets.map(() => 0);
  const columns = kinds.map((kind) => buckets.map((bucket, at) => (sums[at] += bucket[kind])));
  return [buckets.map((bucket) => bucket.start / 1000), ...columns];
}

// How far apart labels of the time axis may be, in seconds: never closer than its buckets.
export function labelSteps(bucket) {
  return LABEL_STEPS_S.filter((step) => step >= (bucket === "hour" ? HOUR_S : DAY_S));
}

// When the bucket that begins at `start` ends.
export function next(start, bucket) {
  return bucket === "hour" ? start + HOUR_MS : addDays(start, 1);
}

// The place of the bucket that holds an instant; -1 before the first.
export function placeOf(buckets, at) {
  let low = 0;
  let high = buckets.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (buckets[middle].start <= at) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function startOf(at, bucket) {
  if (bucket === "day") return addDays(at, 0);
  const date = new Date(at);
  return at - ((date.getMinutes() * 60 + date.getSeconds()) * 1000 + date.getMilliseconds());
}
