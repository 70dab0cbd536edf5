// Segments of the newest window, the surest weakness first.
import { choose } from "./address.js";
import { intervalOf } from "./alert_words.js";
import { get } from "./api.js";
import { h } from "./dom.js";
import { figuresTable } from "./figures_table.js";
import * as f from "./format.js";
import { intervalGraphic, reach } from "./marks.js";
import { chosen, overTime, seriesOf } from "./model_choices.js";
import { panel } from "./panel.js";
import { nothing } from "./states.js";

/** Rows of segments with their interval on one axis. */
export const segmentRows = (answer, width, { most = 100, pick = null } = {}) => {
  const { metric, baseline } = answer.all, usual = baseline?.value ?? null, shown = answer.segments.slice(0, most);
  const [low, high] = reach([...shown.flatMap((each) => [each.value, each.low, each.high]), usual, answer.all.value]);
  // A weakness is sure where the whole interval lies on the worse side of the line.
  const line = usual ?? answer.all.value;
  const worse = (each) => each.low !== null && (answer.higherIsBetter === true ? each.high < line : answer.higherIsBetter === false ? each.low > line : false);
  return h("div.scroll", h("table.table",
    h("caption.spoken", `${f.metricName(metric)} by segment, the surest weakness first`),
    h("thead", h("tr", h("th", { scope: "col" }, "Segment"), h("th.right", { scope: "col" }, "Outcomes"), h("th", { scope: "col" }, f.metricName(metric)), h("th.grow", { scope: "col" }, h("span.spoken", "Interval")))),
    h("tbody", shown.map((each) => {
      const [dimension, ...value] = each.segment.split("="), pair = intervalOf(each);
      const name = [h("span.quiet", `${dimension} `), value.join("=")];
      return h("tr", h("th", { scope: "row" }, pick ? h("button.link", { type: "button", "data-focus": `segment ${each.segment}`, onclick: () => pick(each.segment) }, name) : name),
        h("td.right", f.count(each.n)), h("td.keep", h("strong", f.figure(metric, each.value, pair)), " ", h("span.interval", f.interval(metric, pair))),
        h("td", intervalGraphic({ metric, value: each.value, interval: pair, baseline: line, low, high, width, worse: worse(each) })));
    }))));
};

export const segmentsTable = (answer) => figuresTable(`${f.metricName(answer.all.metric)} by segment`, ["Segment", "Outcomes", "Predictions", f.metricName(answer.all.metric), "95 % interval"], () => answer.segments.map((each) => [
  each.segment, f.count(each.n), f.count(each.n_predictions), f.figure(answer.all.metric, each.value, intervalOf(each)), f.interval(answer.all.metric, intervalOf(each))]));

/** What is left for the graphic beside the columns of a panel. */
export const graphicWidth = (panel) => (innerWidth > 760 ? Math.max(140, panel.clientWidth - 470) : 88);

export const segmentsPanel = ({ about }) => {
  const made = panel({ id: "segments", title: "Segments", note: h("span.quiet.small", "the surest weakness first"), height: 320, uses: ["metric", "window", "maturity", "lane"],
  load: async () => {
    const facts = await about(), now = chosen(facts);
    if (!now || now.lane.segments.length < 2) return null;
    const { segment, ...series } = seriesOf(facts, now);
    const [answer, columns] = await Promise.all([get("/segments", { ...series, metric: now.metric, limit: 100 }), get("/metrics", overTime(facts, now))]);
    return { ...answer, higherIsBetter: columns.metrics[0].higher_is_better };
  },
  draw: (answer) => {
    if (!answer) return nothing("No segments", "Name dimensions under `segments` in the configuration, and send them with the predictions.");
    const window = h("p.small.quiet", `${f.metricName(answer.all.metric)}, ${f.windowName(f.ms(answer.all.window_start), f.ms(answer.all.window_end))}${answer.all.series.maturity ? ` at ${answer.all.series.maturity}` : ""}`);
    const small = answer.n_small ? `${f.plural(answer.n_small, "segment")} with few outcomes or without a value ${answer.n_small === 1 ? "is" : "are"} not ranked. ` : "";
    if (!answer.segments.length) return [window, nothing("No segment has enough outcomes yet", small)];
    return [window, segmentRows(answer, graphicWidth(made.node), { pick: (segment) => choose({ segment }) }),
      h("p.small.quiet.over", small, `Dashed: ${answer.all.baseline ? `baseline of all rows, ${f.figure(answer.all.metric, answer.all.baseline.value)}` : "the figure of all rows"}. ${f.capital(answer.baseline_note)}.`), segmentsTable(answer)];
  } });
  return made;
};
