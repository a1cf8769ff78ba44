// Numbers and times as people read them, in their own zone.

const whole = new Intl.NumberFormat("en");
const brief = { notation: "compact", maximumSignificantDigits: 3 };
const small = new Intl.NumberFormat("en", brief);
const short = new Intl.NumberFormat("en", { ...brief, minimumSignificantDigits: 3 });
const share = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });

// From one unit to the next, of numbers and of bytes: MB and not MiB, as in the terminal.
const STEP = 1000;

const STEPS = [
  ["year", 31_536_000_000],
  ["month", 2_592_000_000],
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
  ["second", 1000],
];

// The IANA name of the reader's time zone.
export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

// 1,234,567
export const number = (value) => (Number.isFinite(value) ? whole.format(value) : "–");

// 1.23M and 1.00M, which stand below each other; 7 and 0.5 as they are
export const compact = (value) => (Number.isFinite(value) ? (Math.round(Math.abs(value)) < STEP ? small : short).format(value) : "–");

// 12.3%
export const percent = (value) => (Number.isFinite(value) ? share.format(value) : "–");

// 1.2 MB
export function bytes(value) {
  if (!Number.isFinite(value)) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = value < STEP ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(value) / 3));
  return `${(value / STEP ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
}

// Epoch milliseconds, or text that a Date understands; null for anything else.
export function instant(value) {
  const at = typeof value === "number" ? value : Date.parse(value);
  return Number.isFinite(at) ? at : null;
}

// 12 Mar 2026, 14:03:11
export function time(value) {
  const at = instant(value);
  return at === null ? "–" : moment.format(at);
}

// 3 min. ago; what is no time is a dash, never NaN.
export function ago(value, now = Date.now()) {
  const at = instant(value);
  if (at === null) return "–";
  const passed = at - now;
  const [unit, size] = STEPS.find(([, ms]) => Math.abs(passed) >= ms) ?? STEPS.at(-1);
  return relative.format(Math.round(passed / size), unit);
}

// 2 h 5 min
export function duration(ms) {
  if (!Number.isFinite(ms)) return "–";
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
