// Two versions of a model in one window, side by side, with the difference and how sure it is.
import { choose, query } from "./address.js";
import { get } from "./api.js";
import { h, picker } from "./dom.js";
import * as f from "./format.js";
import { chosen, seriesOf } from "./model_choices.js";
import { panel } from "./panel.js";
import { nothing } from "./states.js";

const SAYS = { better: "better", worse: "worse", more: "more", less: "less", not_clear: "no clear difference", no_value: "–" };
const pair = (low, high) => (low === null || high === null ? null : [low, high]);

export const comparePanel = ({ name, version, about }) => {
  const made = panel({ id: "compare", title: "Against another version", height: 160, uses: ["with", "window", "maturity", "segment", "lane"],
    load: async () => {
      const facts = await about(), now = chosen(facts);
      const others = facts.versions.filter((each) => each.model_version !== facts.version && each.n_predictions);
      made.node.hidden = !others.length || !now;
      if (made.node.hidden) return null;
      const other = others.find((each) => each.model_version === query().get("with")) ?? others[0];
      const { version: mine, ...series } = seriesOf(facts, now);
      const options = { others, other: other.model_version, mine };
      try {
        return { ...options, answer: await get("/compare", { ...series, version: other.model_version, other_version: mine }) };
      } catch (error) {
        if (error.status !== 404) throw error;
        return { ...options, answer: null, why: error.message };
      }
    },
    draw: (figures) => {
      if (!figures) return null;
      const { others, other, mine, answer, why } = figures;
      const choices = h("div.controls", picker("Compare with", "with", others.map((each) => [each.model_version, each.model_version]), other, (value) => choose({ with: value })));
      if (!answer) return [choices, nothing("Nothing to compare", why)];
      const value = (metric, number, interval, reason) => (number === null ? h("span.quiet", reason ?? "–") : [h("strong", f.figure(metric, number, interval)), " ", h("span.interval", f.interval(metric, interval))]);
      return [choices, h("p.small.quiet.over", `${f.windowName(f.ms(answer.b.window_start), f.ms(answer.b.window_end))}: ${f.count(answer.a.n)} outcomes of ${other}, ${f.count(answer.b.n)} of ${mine}${answer.same_window ? "" : "; the windows are not of the same time"}`),
        h("div.scroll", h("table.table", h("caption.spoken", `Version ${mine} against ${other}`), h("thead", h("tr", ["Metric", other, mine, "Difference", ""].map((text) => h("th", { scope: "col" }, text || h("span.spoken", "Verdict"))))),
          h("tbody", answer.metrics.map((each) => h("tr", h("th", { scope: "row" }, f.metricName(each.metric)), h("td.keep", value(each.metric, each.a, pair(each.a_low, each.a_high), each.a_null_reason)), h("td.keep", value(each.metric, each.b, pair(each.b_low, each.b_high), each.b_null_reason)),
            h("td.keep", each.difference === null ? "–" : f.isDuration(each.metric) ? f.span(each.difference) : [f.signed(each.difference, each.low === null ? 3 : f.decimals(each.low, each.high)), " ", h("span.interval", each.low === null ? "" : `[${f.signed(each.low)}, ${f.signed(each.high)}]`)]),
            h(`td.verdict${["better", "worse"].includes(each.direction) ? `.${each.direction}` : ""}`, SAYS[each.direction] ?? each.direction))))))];
    } });
  made.node.hidden = true;
  return made;
};
