// The figure over time on three strips with one time axis: the figure, the alerts, the share of truths in.
import * as f from "./format.js";
import { headline } from "./alert_words.js";
import { CLEAR, colour, draw, hatch, plain } from "./plot.js";

const at = (ms) => new Date(ms).toISOString().slice(0, 16);
const partial = (point) => point.verdict === "covered_in_part" || point.provisional;

/** Points of a series from the columns of an answer. */
export const pointsOf = (answer, ripening = null) => {
  const column = answer.metrics[0];
  // Older windows than those that still ripen have all their rungs.
  const green = new Map((ripening?.rows ?? []).filter((row) => row.cells.at(-1).state === "due").map((row) => [f.ms(row.window_end), f.ms(row.cells.at(-1).due)]));
  return answer.window_end.map((end, place) => ({
    start: f.ms(answer.window_start[place]), end: f.ms(end), value: column.value[place],
    pair: column.low[place] === null ? null : [column.low[place], column.high[place]],
    n: answer.n[place], all: answer.n_predictions[place], ripe: !green.has(f.ms(end)), final: answer.final[place], due: green.get(f.ms(end)) ?? null, provisional: answer.provisional[place],
    usual: column.usual_low.length ? [column.usual_low[place], column.usual_high[place]] : null,
    line: column.alert_lines.length ? column.alert_lines[place] : null,
    verdict: column.verdict[place], reason: column.null_reasons[place],
  }));
};

/** The newest point that can be judged, else the newest one. */
export const newest = (points) => points.findLast((each) => !partial(each)) ?? points.at(-1) ?? null;

/** Pieces of a list without the entries that break it. */
const unbroken = (points, keep) => {
  const found = [[]];
  for (const each of points) keep(each) ? found.at(-1).push(each) : found.at(-1).length && found.push([]);
  return found.filter((each) => each.length);
};

const hover = (metric, point, maturity, lane) => [
  f.windowName(point.start, point.end),
  `${plain(f.metricName(metric))} ${f.figure(metric, point.value, point.pair)} ${f.interval(metric, point.pair)}`,
  lane === "traffic" ? `${f.count(point.all)} predictions` : `${f.count(point.n)} of ${f.count(point.all)} truths`,
  stateOf(point, maturity),
].join("<br>");

/** How far a point has come, in words. */
export const stateOf = (point, maturity) => {
  if (point.provisional) return "provisional, window open";
  if (point.verdict === "covered_in_part") return "window only covered in part";
  if (point.final || !maturity) return "final";
  return point.ripe ? `at ${maturity}` : `at ${maturity}, not final`;
};

// Names of lines stand in the right margin, pushed apart where they would touch.
const margin = (entries, low, high, pixels) => {
  const least = 30 * (high - low) / pixels, placed = entries.toSorted((a, b) => b.value - a.value);
  placed.forEach((each, place) => { each.y = place ? Math.min(each.value, placed[place - 1].y - least) : each.value; });
  return placed.map(({ y, text, colour: name }) => ({ xref: "paper", x: 1, xanchor: "left", xshift: 8, y, yanchor: "middle", text, align: "left", showarrow: false, font: { size: 11, color: colour(name) } }));
};

/**
 * Draw the chart. `young` are newer windows that have not reached this rung, with their own rung and baseline;
 * `focus` is an alert whose span is shaded.
 */
export const performancePlot = (node, { metric, points, young = [], baseline, maturity, lane, side = null, alerts: episodes = [], from, until, now, shares = true, focus = null, key }) => {
  const narrow = node.clientWidth < 520;
  const A = colour("accent"), ground = colour("panel");
  const joined = points.filter((each) => !partial(each)), apart = points.filter((each) => partial(each) && each.value !== null);
  const drawn = joined.filter((each) => each.value !== null);
  const usual = joined.filter((each) => each.usual);
  const lines = joined.filter((each) => each.line !== null);
  const numbers = [...drawn, ...young].flatMap((each) => [each.value, ...(each.pair ?? [])]).concat(baseline ? [baseline.value] : [], usual.flatMap((each) => each.usual), lines.length ? [lines.at(-1).line] : []);
  const least = Math.min(...numbers), most = Math.max(...numbers), room = (most - least || Math.abs(most) || 1) * 0.08;
  const low = least - room, high = most + room;
  const alerts = episodes.filter((each) => f.ms(each.starts_at) <= until && (f.ms(each.ends_at) ?? now) >= from);
  const rules = [...new Set(alerts.map((each) => each.rule))].sort();
  const lanes = rules.length ? Math.min(0.2, 0.045 * rules.length + 0.03) : 0;
  const strip = shares ? 0.14 : 0, gap = 0.05;
  const first = strip + (shares ? gap : 0), second = first + lanes + (rules.length ? gap : 0);
  const height = narrow ? (shares ? 420 : 340) : shares ? 470 : 380;
  const area = (list, top, bottom, fill) => [
    { x: list.map((each) => at(each.end)), y: list.map(top), mode: "lines", line: { width: 0 }, hoverinfo: "skip" },
    { x: list.map((each) => at(each.end)), y: list.map(bottom), mode: "lines", line: { width: 0 }, fill: "tonexty", fillcolor: fill, hoverinfo: "skip" }];
  const traces = [
    ...unbroken(joined, (each) => each.usual).flatMap((list) => area(list, (each) => each.usual[1], (each) => each.usual[0], colour("inset"))),
    ...unbroken(joined, (each) => each.value !== null && each.pair).flatMap((list) => area(list, (each) => each.pair[1], (each) => each.pair[0], colour("band"))),
    ...(baseline ? [{ x: [at(from), at(until)], y: [baseline.value, baseline.value], mode: "lines", line: { color: colour("ink-2"), width: 1.2, dash: "dash" }, hoverinfo: "skip" }] : []),
    { x: joined.map((each) => at(each.end)), y: joined.map((each) => each.value), mode: "lines", connectgaps: false, line: { color: A, width: 2 }, text: joined.map((each) => hover(metric, each, maturity, lane)), hovertemplate: "%{text}<extra></extra>" },
  ];
  const markers = (list, symbol, edge, extra = {}) => list.length && traces.push({ x: list.map((each) => at(each.end)), y: list.map((each) => each.value), mode: "markers", marker: { symbol, size: symbol === "diamond" ? 10 : 9, color: ground, line: { color: edge, width: 2 } }, hoverinfo: "skip", ...extra });
  if (lines.length) traces.push({ x: lines.map((each) => at(each.end)), y: lines.map((each) => each.line), mode: "lines", line: { color: colour("worse-mark"), width: 1.2 }, hoverinfo: "skip" });
  markers(drawn.filter((each) => !each.ripe), "circle", A);
  markers(apart, "circle", colour("line-strong"), { hoverinfo: "text", text: apart.map((each) => hover(metric, each, maturity, lane)) });
  const whiskers = { type: "data", symmetric: false, array: young.map((each) => (each.pair ? each.pair[1] - each.value : 0)), arrayminus: young.map((each) => (each.pair ? each.value - each.pair[0] : 0)), color: A, thickness: 1.2, width: 0 };
  markers(young, "diamond", A, { error_y: whiskers, hoverinfo: "text", text: young.map((each) => `${hover(metric, each, each.rung, lane)}<br>only ${each.rung} old${each.baseline === null ? "" : `, usual then ${f.figure(metric, each.baseline)}`}`) });

  const shapes = [], notes = [];
  const size = young.length ? young[0].end - young[0].start : f.DAY;
  for (const each of young) if (each.baseline !== null) shapes.push({ type: "line", x0: at(each.end - 0.4 * Math.min(size, f.DAY)), x1: at(each.end + 0.4 * Math.min(size, f.DAY)), y0: each.baseline, y1: each.baseline, line: { color: colour("ink-2"), width: 1.6, dash: "dot" } });
  if (focus) shapes.push({ type: "rect", yref: "y domain", y0: 0, y1: 1, x0: at(focus.from), x1: at(focus.until), fillcolor: colour(focus.severity === "warning" ? "warning-soft" : focus.severity === "info" ? "info-soft" : "worse-soft"), opacity: 0.8, line: { width: 0 }, layer: "below" });
  const settled = joined.at(-1)?.end ?? from;
  if (young.length && settled < until) {
    traces.push({ type: "bar", x: [at((settled + until) / 2)], width: [until - settled - 0.5 * f.DAY], y: [high - low], base: [low], marker: hatch(7, 0.12), hoverinfo: "skip" });
    if (!narrow) notes.push({ x: at(until), xanchor: "right", y: high, yanchor: "bottom", yshift: 2, text: "still ripening", showarrow: false, font: { size: 11, color: colour("ink-3") } });
  }
  if (!narrow) {
    notes.push(...margin([
      ...(baseline ? [{ value: baseline.value, text: `${baseline.text ?? "baseline"}<br>${f.figure(metric, baseline.value)}${maturity ? ` at ${maturity}` : ""}`, colour: "ink-2" }] : []),
      ...(lines.length ? [{ value: lines.at(-1).line, text: `alert line<br>${f.figure(metric, lines.at(-1).line)}`, colour: "worse" }] : []),
    ], low, high, height * 0.8 * (1 - second)));
  }
  for (const each of alerts) {
    const thick = each.severity === "info" ? 5 : 11, tint = each.severity === "info" ? "info-mark" : each.severity === "warning" ? "warning-mark" : "worse-mark", row = rules.indexOf(each.rule);
    const ends = [Math.max(f.ms(each.starts_at), from), Math.min(f.ms(each.ends_at) ?? now, until)];
    traces.push({ x: ends.map(at), y: [row, row], yaxis: "y2", mode: "lines", line: { width: thick, color: colour(tint) }, text: `${plain(headline(each))}<br>${f.date(f.ms(each.starts_at))} to ${each.ends_at ? f.date(f.ms(each.ends_at)) : "now"}`, hovertemplate: "%{text}<extra></extra>" });
  }
  if (shares) {
    const all = [...points, ...young].filter((each) => each.all), width = all.length > 1 ? 0.72 * Math.min(...all.slice(1).map((each, place) => each.end - all[place].end).filter((each) => each > 0)) : f.DAY * 0.7;
    const x = all.map((each) => at(each.end)), share = all.map((each) => 100 * each.n / each.all);
    traces.push(
      { type: "bar", yaxis: "y3", x, y: share, width, marker: { color: colour("negative"), opacity: 0.55, line: { width: 0 } }, text: all.map((each) => `${f.percent(each.n / each.all, 1)} of truths in`), textposition: "none", hovertemplate: "%{text}<extra></extra>" },
      { type: "bar", yaxis: "y3", x, y: share.map((each) => 100 - each), base: share, width, marker: hatch(5, 0.2), hoverinfo: "skip" });
    notes.push({ xref: "paper", yref: "paper", x: 0, y: strip, xanchor: "left", yanchor: "bottom", text: "share of truths in", showarrow: false, font: { size: 11, color: colour("ink-3") } });
  }
  const anchor = shares ? "y3" : rules.length ? "y2" : "y";
  return draw(node, traces, {
    height, barmode: "overlay", uirevision: key, margin: { l: rules.length ? (narrow ? 88 : 112) : 56, r: narrow ? 8 : 92, t: 22, b: 26 }, shapes, annotations: notes,
    xaxis: { type: "date", range: [at(from), at(until)], anchor, tickformat: until - from < 3 * f.DAY ? "%H:%M" : until - from > 500 * f.DAY ? "%b %Y" : "%-d %b", nticks: narrow ? 4 : 9, hoverformat: "%-d %b" },
    yaxis: { domain: [second, 1], range: [low, high], ...(f.isDuration(metric) ? { ticksuffix: " ms" } : { tickformat: high - low < 0.08 ? ".3f" : ".2f" }) },
    ...(rules.length ? { yaxis2: { domain: [first, first + lanes], range: [-0.7, rules.length - 0.3], tickvals: rules.map((_, place) => place), ticktext: rules.map((each) => plain(f.words(each).slice(0, 18))), showgrid: false, zeroline: false, fixedrange: true, linecolor: CLEAR, ticks: "", tickfont: { size: narrow ? 9.5 : 11 } } } : {}),
    ...(shares ? { yaxis3: { domain: [0, strip], range: [0, 100], tickvals: [0, 100], ticktext: ["0 %", "100 %"], showgrid: false, zeroline: false, fixedrange: true } } : {}),
  });
};
