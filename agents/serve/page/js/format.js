// Numbers say no more than their interval allows; times name their zone.

const MINUTE = 60_000, HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
const NONE = "–";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const absent = (value) => value === null || value === undefined || Number.isNaN(value);

export const count = (value) => (absent(value) ? NONE : whole.format(value));

/** Decimals that half an interval leaves room for: its first digit, and one more after a 1 or 2. */
export const decimals = (low, high, least = 2, most = 4) => {
  const half = (high - low) / 2;
  if (!(half > 0)) return 3;
  const place = Math.floor(Math.log10(half) + 1e-9);
  return Math.max(least, Math.min(most, -place + (half / 10 ** place < 3 ? 1 : 0)));
};

const minus = (text) => text.replace("-", "−");
export const fixed = (value, digits = 3) => (absent(value) ? NONE : minus(value.toFixed(digits)));
export const signed = (value, digits = 2) => {
  if (absent(value)) return NONE;
  const text = Math.abs(value).toFixed(digits);
  return Number(text) === 0 ? `±${text}` : `${value < 0 ? "−" : "+"}${text}`;
};

/** A share as percent; one that is not all is never rounded to all, nor one above none to none. */
export const percent = (value, digits = 0) => {
  if (absent(value)) return NONE;
  for (let more = digits; more < 4; more += 1) {
    const text = (100 * value).toFixed(more);
    if ((Number(text) < 100 || value >= 1) && (Number(text) > 0 || value <= 0)) return `${minus(text)} %`;
  }
  return value > 0.5 ? "> 99.99 %" : "< 0.01 %";
};

const DURATIONS = /^(delay|latency)_/;
/** Whether a metric is a time in milliseconds. */
export const isDuration = (metric) => DURATIONS.test(metric ?? "");

/** A span of time in the largest unit that says enough; days from 48 h on. */
export const span = (ms) => {
  if (absent(ms)) return NONE;
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  if (ms < MINUTE) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < HOUR) return `${Math.round(ms / MINUTE)} min`;
  if (ms < 2 * DAY) return `${ms % HOUR && ms < 10 * HOUR ? (ms / HOUR).toFixed(1) : Math.round(ms / HOUR)} h`;
  return `${whole.format(Math.floor(ms / DAY))} days`;
};

/** A value of a metric, to the digits of its interval. */
export const figure = (metric, value, interval) => {
  if (absent(value)) return NONE;
  if (isDuration(metric)) return span(value);
  return minus(value.toFixed(interval ? decimals(...interval) : 3));
};

export const interval = (metric, pair) => {
  if (!pair) return "";
  if (isDuration(metric)) return `[${span(pair[0])}, ${span(pair[1])}]`;
  const digits = decimals(...pair);
  return `[${minus(pair[0].toFixed(digits))}, ${minus(pair[1].toFixed(digits))}]`;
};

const NAMES = {
  roc_auc: "ROC AUC", pr_auc: "PR AUC", f1: "F1", mcc: "MCC", fpr: "False positive rate", fnr: "False negative rate",
  label_coverage: "Share of truths in", brier: "Brier score", ece: "Calibration error",
};
export const metricName = (metric) => {
  const text = NAMES[metric] ?? (metric ?? "").replaceAll("_", " ").replace(/ p(\d+)$/, ", $1 % below");
  return text.charAt(0).toUpperCase() + text.slice(1);
};
export const words = (name) => (name ?? "").replaceAll("_", " ");
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

// Times. Windows are days of UTC, so UTC is the zone unless the viewer asks for the one of the clock at hand.
const KEY = "driftline-zone";
let zone = "UTC";
try {
  if (localStorage.getItem(KEY) === "local") zone = "local";
} catch { /* Storage may be off; then the choice lasts as long as the page. */ }
export const zoneChosen = () => zone;
export const chooseZone = (name) => {
  zone = name;
  makers.clear();
  try { localStorage.setItem(KEY, name); } catch { /* as above */ }
};
const makers = new Map();
const parts = (ms, options) => {
  const key = JSON.stringify(options);
  if (!makers.has(key)) makers.set(key, new Intl.DateTimeFormat("en-GB", { hourCycle: "h23", ...(zone === "UTC" ? { timeZone: "UTC" } : {}), ...options }));
  return Object.fromEntries(makers.get(key).formatToParts(ms).map(({ type, value }) => [type, value]));
};
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const fields = (ms) => parts(ms, { year: "numeric", month: "numeric", day: "numeric", hour: "2-digit", minute: "2-digit", weekday: "short", timeZoneName: "short" });
export const date = (ms) => { const at = fields(ms); return `${at.day.replace(/^0/, "")} ${MONTHS[at.month - 1]}`; };
export const weekday = (ms) => fields(ms).weekday;
export const clock = (ms) => { const at = fields(ms); return `${at.hour}:${at.minute}`; };
export const year = (ms) => fields(ms).year;
export const month = (ms) => MONTHS[fields(ms).month - 1];
export const zoneName = (ms = Date.now()) => (zone === "UTC" ? "UTC" : fields(ms).timeZoneName);
export const stamp = (ms) => `${date(ms)}, ${clock(ms)}`;
export const whole_time = (ms) => `${weekday(ms)} ${date(ms)} ${year(ms)}, ${clock(ms)} ${zoneName(ms)}`;
/** RFC 3339 to the minute, as in addresses. */
export const iso = (ms) => `${new Date(ms).toISOString().slice(0, 16)}Z`;
export const ms = (text) => (text ? Date.parse(text) : null);

/** "on 31 Dec", or "over the 7 days to 31 Dec". */
export const during = (start, end) => (end - start === DAY ? `on ${date(start)}` : end - start < DAY ? `from ${windowName(start, end)}` : `over the ${windowName(start, end)}`);

/** A window by the last day that it contains, never by its end, which is not in it. */
export const windowName = (start, end) => {
  const length = end - start;
  if (length < DAY) return `${stamp(start)} to ${clock(end)}`;
  if (length === DAY) return date(start);
  return `${span(length).replace(" h", " hours")} to ${date(end - 1)}`;
};
