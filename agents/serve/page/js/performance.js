// The judged figure of a version over time, with everything that it has to be seen with.
import { choose, instant } from "./address.js";
import { get } from "./api.js";
import { choice, h, picker } from "./dom.js";
import { episodeLegend } from "./episode_lanes.js";
import { figuresTable } from "./figures_table.js";
import * as f from "./format.js";
import { intervalOf } from "./alert_words.js";
import { time, valued } from "./marks.js";
import { chosen, overTime, RANGES, SERIES, seriesOf } from "./model_choices.js";
import { panel } from "./panel.js";
import { newest, performancePlot, pointsOf, stateOf } from "./performance_plot.js";
import { nothing } from "./states.js";
import { verdictText } from "./verdicts.js";

const LANES = { decisions: "by prediction", arrivals: "by truth", traffic: "traffic" };
const SHORT = ["roc_auc", "f1", "precision", "recall", "balanced_accuracy", "accuracy", "specificity"];

const windowText = (name) => {
  const [size, , step] = name.split(/(\/)/);
  const long = size.replace(/^(\d+)d$/, (_, days) => (days === "1" ? "1 day" : `${days} days`)).replace(/^(\d+)h$/, "$1 h").replace(/^last_(\d+)$/, "last $1");
  return step ? long : f.words(long);
};

const controls = (now) => {
  const pick = (name) => (value) => choose({ [name]: value });
  const metrics = now.lane.metrics.filter((each) => each !== "label_coverage");
  const named = metrics.toSorted((a, b) => (SHORT.indexOf(a) + 99) % 99 - (SHORT.indexOf(b) + 99) % 99);
  return h("div.controls",
    picker("Metric", "metric", named.map((each) => [each, f.metricName(each)]), now.metric, pick("metric")),
    now.lane.segments.length > 1 ? picker("Segment", "segment", now.lane.segments.map((each) => [each, each === "all" ? "all" : each.replace("=", " ")]), now.segment, pick("segment")) : null,
    now.lanes.length > 1 ? choice("Count", "lane", now.lanes.map((each) => [each.lane, LANES[each.lane] ?? each.lane]), now.lane.lane, (lane) => choose({ lane, metric: null, window: null, maturity: null })) : null,
    now.lane.windows.length > 1 ? choice("Window", "window", now.lane.windows.map((each) => [each, windowText(each)]), now.window, pick("window")) : null,
    choice("Range", "range", RANGES, now.range, pick("range")));
};

// Newer windows that have not reached this rung, at the best one that they have.
const youngOf = (ripening, maturity, last) => {
  if (!ripening) return [];
  const place = ripening.rungs.indexOf(maturity);
  return ripening.rows.filter((row) => f.ms(row.window_end) > last && row.cells[place]?.state === "due").map((row) => {
    const best = row.cells.findLastIndex((cell) => cell.state === "known" && cell.value !== null);
    const cell = row.cells[best];
    return cell ? { start: f.ms(row.window_start), end: f.ms(row.window_end), value: cell.value, pair: intervalOf(cell), n: cell.n, all: cell.n_predictions, rung: ripening.rungs[best], baseline: ripening.baselines[best]?.value ?? null, final: false } : null;
  }).filter(Boolean).reverse();
};

export const performancePanel = (about) => {
  const chart = h("div.plot", { role: "img" });
  const label = (text) => chart.setAttribute("aria-label", text);
  let plotted = null;
  const made = panel({ id: "performance", title: "Performance", height: 560, uses: [...SERIES, "range"],
    load: async () => {
      const now = chosen(await about());
      if (!now) return null;
      const facts = await about(), series = seriesOf(facts, now);
      const [answer, alerts, ripening] = await Promise.all([
        get("/metrics", overTime(facts, now)),
        get("/alerts", { model: facts.model_name, version: facts.version, status: "all", limit: 200 }),
        now.lane.maturities.length ? get("/ripening", { model: series.model, version: series.version, segment: series.segment, window: series.window, metric: now.metric, limit: 14 }) : null]);
      return { now, answer, alerts, ripening };
    },
    draw: (figures) => {
      plotted = null;
      if (!figures) return nothing("No figures yet", "Windows appear here as soon as the first one is complete.");
      const { now, answer, ripening } = figures;
      const points = pointsOf(answer, ripening), last = newest(points), column = answer.metrics[0];
      if (!last) return [controls(now), nothing("No complete window in this range", ripening ? dueText(ripening) : "Choose a longer range.")];
      const days = last.end - last.start, ladder = now.lane.maturities;
      plotted = { ...figures, points, last };
      label(`${f.metricName(now.metric)}${now.maturity ? ` at ${now.maturity}` : ""} over time: now ${f.figure(now.metric, last.value, last.pair)}${column.baseline ? `, baseline ${f.figure(now.metric, column.baseline.value)}` : ""}`);
      return [controls(now),
        h("div.headline",
          h("div.keep", valued(now.metric, last.value, last.pair, last.provisional ? "value.huge.young" : "value.huge", "performance")),
          h("div", last.value === null ? h("span.verdict", last.reason ?? "no value") : verdictText(now.metric, last.verdict, last.value, column.baseline?.value),
            h("div.small.quiet", f.windowName(last.start, last.end), now.lane.lane === "traffic" ? ` · ${f.count(last.all)} predictions` : ` · ${f.count(last.n)} of ${f.count(last.all)} truths in (${f.percent(last.n / last.all, 1)})`, " · ", last.due ? `at ${now.maturity}, final ${f.stamp(last.due)}` : stateOf(last, now.maturity))),
          ladder.length > 1 ? h("div.end", choice("Maturity", "maturity", ladder.map((each) => [each, each]), now.maturity, (maturity) => choose({ maturity }))) : null),
        chart,
        h("div.legend", h("span", h("i.key.line"), `${f.metricName(now.metric)}${now.maturity ? ` at ${now.maturity}` : ""}`), h("span", h("i.key.band"), "95 % interval"),
          column.baseline ? [h("span", h("i.key.dash"), "baseline"), h("span", h("i.key"), `usual range of ${days === f.DAY ? "single days" : "such windows"}`)] : h("span", "no baseline at this rung, so no verdict"),
          column.alert_lines.length ? h("span", h("i.key.alarm"), `alert line of ${f.words(column.alert_rule)}`) : null,
          ladder.length ? [h("span", h("i.key.ring"), "in at this maturity, not final"), h("span", h("i.key.diamond"), "greener, with its own baseline (dots)"), h("span", h("i.key.due"), "truth still to come")] : null),
        figures.alerts.alerts.length ? episodeLegend() : null,
        answer.n_windows > points.length ? h("p.tiny.quiet", `${f.count(points.length)} of ${f.count(answer.n_windows)} windows are drawn: the least and the greatest of their neighbours.`) : null,
        figuresTable(`${f.metricName(now.metric)} over time`, ["Window", f.metricName(now.metric), "95 % interval", "Truths in", "Predictions", "Usual range", "State"], () => points.toReversed().map((each) => [
          f.windowName(each.start, each.end), f.figure(now.metric, each.value, each.pair) + (each.value === null ? ` ${each.reason ?? ""}` : ""), f.interval(now.metric, each.pair), f.count(each.n), f.count(each.all), f.interval(now.metric, each.usual),
          stateOf(each, now.maturity)]))];
    },
    after: () => {
      if (!plotted) return;
      const { now, answer, alerts, ripening, points } = plotted;
      const newestEnd = points.at(-1).end, nowMs = instant() ?? f.ms(ripening?.frontier) ?? newestEnd;
      const joinedEnd = newest(points).end;
      const young = youngOf(ripening, now.maturity, joinedEnd);
      const until = Math.max(newestEnd, young.at(-1)?.end ?? 0), from = points[0].end, room = Math.max(f.DAY, (until - from) * 0.02);
      performancePlot(chart, {
        metric: now.metric, points, young, baseline: answer.metrics[0].baseline, maturity: now.maturity, lane: now.lane.lane, side: answer.metrics[0].alert_side,
        alerts: now.segment === "all" ? alerts.alerts.toReversed() : alerts.alerts.filter((each) => each.segment === now.segment), from: from - room / 2, until: until + room, now: nowMs,
        shares: now.lane.lane === "decisions", key: JSON.stringify([now.metric, now.window, now.maturity, now.segment, now.lane.lane, now.range]),
      }).catch((error) => { label(error.message); });
    } });
  return made;
};

const dueText = (ripening) => {
  const next = ripening.rows.flatMap((row) => row.cells).filter((cell) => cell.state === "due").map((cell) => f.ms(cell.due)).sort((a, b) => a - b)[0];
  return next ? h("p.soft", "The next figure is due ", time(next), ".") : "Choose a longer range.";
};
