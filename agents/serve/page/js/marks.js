// Small signs that mean the same on every page.
import { graphic, h, icon, s } from "./dom.js";
import * as f from "./format.js";

const ORDER = ["info", "warning", "error", "critical"];
export const severer = (a, b) => ORDER.indexOf(b.severity) - ORDER.indexOf(a.severity);

export const severityTag = (severity) => h(`span.tag.${ORDER.includes(severity) ? severity : "info"}`, icon(severity === "info" ? "info" : "warning"), f.capital(severity));
export const fineTag = (text) => h("span.tag.fine", icon("fine"), text);
export const proposalTag = () => h("span.tag.proposal", icon("proposal"), "Proposal");

const STATUS = { firing: "firing", acknowledged: "acknowledged", silenced: "silenced", resolved: "resolved" };
export const statusText = (status) => STATUS[status] ?? status;

/** A time as text, with the whole of it, in UTC, as its tooltip. */
export const time = (ms, text = f.stamp(ms)) => h("time", { datetime: new Date(ms).toISOString(), title: `${new Date(ms).toUTCString().replace("GMT", "UTC")}` }, text);

/** A value with its interval. */
export const valued = (metric, value, interval, size = "value", cell = null) => [
  h(`span.${size}`, { "data-cell": cell }, f.figure(metric, value, interval)), " ", h("span.interval", f.interval(metric, interval))];

/** One estimate on an axis with what it is compared with; `low` and `high` are the ends of the axis. */
export const intervalGraphic = ({ metric, value, interval, baseline, line, low, high, width = 240, worse = false, labels = false }) => {
  const x = (number) => 5 + ((Math.max(low, Math.min(high, number)) - low) / (high - low || 1)) * (width - 10);
  const y = labels ? 24 : 10, height = labels ? 44 : 20;
  const label = [`${f.metricName(metric)} ${f.figure(metric, value, interval)} ${f.interval(metric, interval)}`, baseline !== null && baseline !== undefined ? `baseline ${f.figure(metric, baseline)}` : null, line !== null && line !== undefined ? `alert line ${f.figure(metric, line)}` : null].filter(Boolean).join(", ");
  const tick = (number, kind) => s(`line.${kind}`, { x1: x(number), x2: x(number), y1: y - 9, y2: y + 9 });
  const word = (number, at, text) => s("text", { x: Math.max(0, Math.min(width, x(number))), y: at, "text-anchor": x(number) > width * 0.7 ? "end" : x(number) < width * 0.3 ? "start" : "middle" }, text);
  const has = (number) => number !== null && number !== undefined;
  return graphic(width, height, label,
    s("title", label),
    s("line.axis", { x1: 5, x2: width - 5, y1: y, y2: y }),
    has(baseline) ? tick(baseline, "usual-line") : null,
    has(line) ? tick(line, "alert-line") : null,
    has(value) ? s(worse ? "g.worse" : "g", interval ? s("line.reach", { x1: x(interval[0]), x2: x(interval[1]), y1: y, y2: y }) : null, s("circle.mark", { cx: x(value), cy: y, r: 4 })) : null,
    labels && has(baseline) ? word(baseline, 11, `baseline ${f.figure(metric, baseline)}`) : null,
    labels && has(line) ? word(line, 43, `alert line ${f.figure(metric, line)}`) : null);
};

/** How many of the rungs of a window are in. */
export const pips = (done, all) => graphic(all * 11 + 2, 12, `${done} of ${all} rungs in`,
  Array.from({ length: all }, (_, place) => s(place < done ? "circle.mark" : "circle.mark.open", { cx: 6 + place * 11, cy: 6, r: 3.6, "stroke-dasharray": place < done ? null : "2 1.77" })));

/** A line over time in the space of a word, with its band, what is usual, and episodes beneath. */
export const sparkline = ({ label, points, from, until, baseline = null, episodes = [], width = 250, height = 52, tip }) => {
  const known = points.filter((each) => each.value !== null);
  if (!known.length) return h("span.quiet.small", "no figure yet");
  const all = [...known.flatMap((each) => [each.value, each.low ?? each.value, each.high ?? each.value]), ...(baseline === null ? [] : [baseline])];
  const low = Math.min(...all), high = Math.max(...all), foot = episodes.length ? 9 : 4;
  const x = (at) => 3 + ((at - from) / (until - from || 1)) * (width - 8);
  const y = (value) => height - foot - ((value - low) / (high - low || 1)) * (height - foot - 5);
  const at = (each, field) => `${x(each.at).toFixed(1)} ${y(each[field] ?? each.value).toFixed(1)}`;
  const last = known.at(-1);
  return graphic(width, height, label,
    s("title", label),
    s("path.spark-band", { d: `M${known.map((each) => at(each, "high")).join("L")}L${known.toReversed().map((each) => at(each, "low")).join("L")}Z` }),
    baseline === null ? null : s("line.usual-line", { x1: 3, x2: width - 5, y1: y(baseline), y2: y(baseline) }),
    s("path.spark", { d: `M${known.map((each) => at(each, "value")).join("L")}` }),
    episodes.map((each) => s(`rect.episode.${each.severity}`, { x: x(Math.max(from, each.from)), width: Math.max(2, x(Math.min(each.until ?? until, until)) - x(Math.max(from, each.from))), y: height - 4, height: each.severity === "info" ? 2 : 4, rx: 1 })),
    s(last.final === false ? "circle.mark.open" : "circle.mark", { cx: x(last.at), cy: y(last.value), r: 3.2 }),
    // Wide strips over the points say what each of them is.
    tip ? known.map((each, place) => {
      const start = place ? (x(known[place - 1].at) + x(each.at)) / 2 : x(each.at) - 3;
      const end = place + 1 < known.length ? (x(known[place + 1].at) + x(each.at)) / 2 : x(each.at) + 3;
      return s("rect", { x: start, width: Math.max(0.5, end - start), y: 0, height, fill: "transparent" }, s("title", tip(each)));
    }) : null);
};

/** The ends of an axis that holds all numbers, with room. */
export const reach = (numbers) => {
  const known = numbers.filter((each) => typeof each === "number" && !Number.isNaN(each));
  const low = Math.min(...known), high = Math.max(...known), room = (high - low || 0.1) * 0.08;
  return [low - room, high + room];
};

/** First days of the months of a span, in the zone of the page. */
export const monthsOf = (from, until) => {
  const found = [];
  for (let at = new Date(from); ;) {
    at = new Date(Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + 1, 1));
    if (+at >= until) return found;
    found.push(+at);
  }
};
