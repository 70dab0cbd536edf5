// How truths arrive, and how the service does: delays, traffic, latency and errors.
import { get } from "./api.js";
import { graphic, h, s, widthOf } from "./dom.js";
import { figuresTable } from "./figures_table.js";
import * as f from "./format.js";
import { chosen } from "./model_choices.js";
import { sparkline } from "./marks.js";
import { panel } from "./panel.js";
import { nothing } from "./states.js";
import { intervalOf } from "./alert_words.js";

const inner = (made) => widthOf(made.node, 260) - (innerWidth > 760 ? 48 : 32);

export const delayPanel = ({ name, version, about }) => {
  const made = panel({ id: "delays", title: "How truths arrive", height: 240, uses: ["segment"],
    load: async () => {
      const now = chosen(await about());
      return now?.lanes.some((each) => each.maturities.length) ? get("/delays", { model: name, version, segment: now.segment }) : null;
    },
    draw: (answer) => {
      if (!answer?.steps.some((each) => each.coverage !== null)) return nothing("No window is final yet", "The curve of delays appears once the first window has all its truths.");
      const width = inner(made), height = 190, left = 40, right = width - 12, steps = answer.steps;
      // Rungs stand side by side: the axis is a ladder, not a clock.
      const x = (place) => left + ((place + 0.5) / steps.length) * (right - left), y = (share) => 10 + (1 - share) * (height - 44);
      const points = steps.map((each, place) => ({ ...each, x: x(place) })).filter((each) => each.coverage !== null);
      const last = points.at(-1);
      return [h("p.soft", `Of ${f.count(last.n_predictions)} predictions, ${f.percent(points[0].coverage)} had their truth after ${points[0].rung}, and ${f.percent(last.coverage, 1)} in the end.${answer.never_share ? ` The truth of ${f.percent(answer.never_share, 1)} never came.` : ""}`),
        graphic(width, height, `Share of truths in by rung, over ${f.plural(answer.n_windows, "window")}`,
          [0, 0.5, 1].map((tick) => [s("line.grid", { x1: left, x2: right, y1: y(tick), y2: y(tick) }), s("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, f.percent(tick))]),
          s("path.area", { d: `M${points[0].x} ${y(0)}L${points.map((each) => `${each.x} ${y(each.coverage)}`).join("L")}L${last.x} ${y(0)}Z` }),
          s("path.spark", { d: `M${points.map((each) => `${each.x} ${y(each.coverage)}`).join("L")}` }),
          points.map((each) => s("g", s("title", `after ${each.rung}: ${f.percent(each.coverage, 1)}, n = ${f.count(each.n)} of ${f.count(each.n_predictions)}`), s("circle.mark", { cx: each.x, cy: y(each.coverage), r: 4 }), s("text.ink-2", { x: each.x, y: y(each.coverage) - 9, "text-anchor": "middle" }, f.percent(each.coverage)), s("text", { x: each.x, y: height - 10, "text-anchor": "middle" }, each.rung)))),
        figuresTable("Share of truths in by rung", ["After", "Truths in", "95 % interval", "Truths", "Predictions"], () => steps.map((each) => [each.rung, f.percent(each.coverage, 1), each.low === null ? "" : `[${f.percent(each.low, 1)}, ${f.percent(each.high, 1)}]`, f.count(each.n), f.count(each.n_predictions)]))];
    } });
  return made;
};

const TRAFFIC = ["throughput", "error_rate", "latency_p50", "latency_p95", "latency_p99"];

export const trafficPanel = ({ name, version, about }) => {
  const made = panel({ id: "traffic", title: "Traffic, latency and errors", height: 240, uses: ["segment"],
    load: async () => {
      const facts = await about(), now = chosen(facts), lane = facts.lanes.find((each) => each.lane === "traffic");
      const metrics = TRAFFIC.filter((each) => lane?.metrics.includes(each));
      return lane?.windows.length && metrics.length ? get("/metrics", { model: name, version, lane: "traffic", window: lane.judged_window ?? lane.windows[0], segment: now.segment, metric: metrics, since: "90d", points: 120 }) : null;
    },
    draw: (answer) => {
      if (!answer?.window_end.length) return nothing("No traffic yet", "Windows of predictions appear here once the first one is over.");
      const ends = answer.window_end.map(f.ms), width = Math.min(720, Math.max(96, inner(made) - (innerWidth > 760 ? 420 : 250)));
      const row = (title, now, points, unit) => h("tr", h("th", { scope: "row" }, title), h("td.keep", now), h("td", sparkline({ label: `${title} over time`, points, from: ends[0], until: ends.at(-1), width, height: 40, tip: (point) => `To ${f.date(point.at - 1)}: ${unit(point.value)}` })));
      const known = (column) => column.value.some((each) => each !== null);
      const place = answer.verdictless ?? ends.length - 1;
      const whole = answer.metrics[0].verdict.findLastIndex((each) => each !== "covered_in_part"), at = whole < 0 ? place : whole;
      const text = (column) => (number) => (f.isDuration(column.metric) ? f.span(number) : column.metric === "throughput" ? `${f.fixed(number, 4)} a second` : f.percent(number, 2));
      return [h("p.small.quiet", f.windowName(f.ms(answer.window_start[at]), ends[at])),
        h("table.table", h("caption.spoken", "Traffic, latency and errors"), h("tbody",
          row("Predictions", f.count(answer.n_predictions[at]), ends.map((end, each) => ({ at: end, value: answer.n_predictions[each], low: null, high: null })), f.count),
          answer.metrics.filter((column) => column.metric !== "throughput").map((column) => (known(column)
            ? row(f.metricName(column.metric), text(column)(column.value[at]), ends.map((end, each) => ({ at: end, value: column.value[each], low: column.low[each], high: column.high[each] })), text(column))
            : h("tr", h("th", { scope: "row" }, f.metricName(column.metric)), h("td.quiet", { colspan: 2 }, `– ${column.null_reasons[at] ?? "no value"}`)))))),
        figuresTable("Traffic over time", ["Window", "Predictions", ...answer.metrics.map((column) => f.metricName(column.metric))], () => ends.map((end, each) => [f.windowName(f.ms(answer.window_start[each]), end), f.count(answer.n_predictions[each]), ...answer.metrics.map((column) => (column.value[each] === null ? "–" : text(column)(column.value[each])))]).toReversed())];
    } });
  return made;
};
