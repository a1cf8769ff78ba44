// Spans of time as the address says them, in the reader's own zone. Pure: "now" is always an argument.
//
//   range=24h                                  the last 24 hours, to the millisecond
//   range=7d 30d 90d 1y                        whole local days, today included
//   range=all                                  everything
//   range=custom&from=2026-11-01&to=2026-11-07 whole local days, both included
//   range=custom&from=...T14:00&to=...T18:00   from then on, before then

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;
export const DEFAULT_RANGE = "7d";
export const RANGES = [
  { id: "24h", label: "24 h", words: "the last 24 hours" },
  { id: "7d", label: "7 d", words: "the last 7 days", days: 7 },
  { id: "30d", label: "30 d", words: "the last 30 days", days: 30 },
  { id: "90d", label: "90 d", words: "the last 90 days", days: 90 },
  { id: "1y", label: "1 y", words: "the last year", days: 365 },
  { id: "all", label: "All", words: "everything in the ledger" },
  { id: "custom", label: "Custom", words: "a span of your own" },
];

const MAX_HOURLY_MS = 32 * DAY_MS;
const LOCAL = /^(\d{4})-(\d{2})-(\d{2})(?:T(\d{2}):(\d{2}))?$/;

// {range, since, until, bucket, hourly}: until is null for "up to now"; hourly says whether hours may be shown.
// What cannot be understood is the default range.
export function spanOf(params, now) {
  const span = customSpan(params) ?? presetSpan(params.range, now) ?? presetSpan(DEFAULT_RANGE, now);
  const length = (span.until ?? now) - span.since;
  const hourly = length <= MAX_HOURLY_MS;
  const usual = length <= 2 * DAY_MS ? "hour" : "day";
  const bucket = params.bucket === "day" || (params.bucket === "hour" && hourly) ? params.bucket : usual;
  return { ...span, bucket, hourly };
}

// What to put into the address for a custom span given in instants.
export function customParams(since, until) {
  const whole = isMidnight(since) && isMidnight(until);
  const to = whole ? dateText(addDays(until, -1)) : momentText(until);
  return { range: "custom", from: whole ? dateText(since) : momentText(since), to, bucket: null };
}

// Start of the local day, some days on.
export function addDays(at, days) {
  const date = new Date(at);
  return new Date(date.getFullYear(), date.getMonth(), date.getDate() + days).getTime();
}

// 2026-11-01, as date fields want it.
export function dateText(at) {
  const date = new Date(at);
  return `${String(date.getFullYear()).padStart(4, "0")}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

function presetSpan(id, now) {
  if (id === "24h") return { range: id, since: now - DAY_MS, until: null };
  if (id === "all") return { range: id, since: 0, until: null };
  const days = RANGES.find((range) => range.id === id)?.days;
  return days ? { range: id, since: addDays(now, 1 - days), until: null } : null;
}

function customSpan({ range, from, to }) {
  if (range !== "custom") return null;
  const since = parse(from, 0);
  const until = parse(to, 1);
  return since === null || until === null || since >= until ? null : { range, since, until };
}

function parse(text, daysOn) {
  const found = LOCAL.exec(text ?? "");
  if (!found) return null;
  const [year, month, day] = found.slice(1, 4).map(Number);
  const at = found[4] === undefined
    ? new Date(year, month - 1, day + daysOn)
    : new Date(year, month - 1, day, Number(found[4]), Number(found[5]));
  const ms = at.getTime();
  return Number.isFinite(ms) && ms >= 0 ? ms : null;
}

function isMidnight(at) {
  return addDays(at, 0) === at;
}

function momentText(at) {
  const date = new Date(at);
  return `${dateText(at)}T${two(date.getHours())}:${two(date.getMinutes())}`;
}

function two(value) {
  return String(value).padStart(2, "0");
}
