// What each threshold would give on rows that have their truth. Trying changes nothing.
import { choose, query } from "./address.js";
import { get } from "./api.js";
import { choice, graphic, h, put, s, widthOf } from "./dom.js";
import { figuresTable } from "./figures_table.js";
import * as f from "./format.js";
import { twoByTwo } from "./matrix.js";
import { chosen, hasScores, NO_SCORES, scoresOf } from "./model_choices.js";
import { panel } from "./panel.js";
import { nothing } from "./states.js";

const HALVES = [["all", "all rows"], ["holdout", "rows that judge"], ["fit", "rows that choose"]];
const UP = 96, DOWN = 66;

// Counts are gathered into bars of equal width, which neighbouring bins share.
const gathered = (answer, label, bars) => {
  const sums = new Array(bars).fill(0), found = answer.histograms.find((each) => each.label === label);
  const low = answer.edges[0], high = answer.edges.at(-1);
  found?.counts.forEach((number, bin) => {
    if (number) sums[Math.min(bars - 1, Math.floor(((answer.edges[bin] - low) / (high - low || 1)) * bars))] += number;
  });
  return sums;
};

const nearest = (list, wanted) => {
  let best = 0;
  list.forEach((each, place) => { if (Math.abs(each - wanted) < Math.abs(list[best] - wanted)) best = place; });
  return best;
};

export const thresholdPanel = ({ name, version, about }) => {
  let at = 0;
  const made = panel({ id: "threshold", title: "Threshold", tools: h("span.small.quiet", "Trying changes nothing"), height: 420, uses: ["segment", "maturity", "rows", "lane"],
    load: async () => {
      const facts = await about(), now = chosen(facts);
      return hasScores(now) ? get("/scores", scoresOf(facts, now)) : null;
    },
    draw: (answer) => {
      if (!answer) return nothing("No scores", NO_SCORES);
      const table = answer.at_threshold;
      if (!table || !table.threshold.length) return nothing("No threshold to try", answer.null_reason ?? "There are no labelled rows with a score yet.");
      const wanted = Number(query().get("threshold") ?? NaN);
      const force = answer.threshold ?? 0.5;
      at = nearest(table.threshold, Number.isFinite(wanted) ? wanted : force);
      const positive = answer.positive_label, negative = answer.labels.find((each) => each !== positive) ?? "others";
      const host = h("div.rows"), side = h("div.rows"), live = h("p.spoken", { "aria-live": "polite" });
      const room = widthOf(made.node, 280) - (innerWidth > 760 ? 48 : 32);
      const width = innerWidth > 1100 ? Math.floor(room * 0.55) : room;
      const low = answer.edges[0], high = answer.edges.at(-1), x = (score) => ((score - low) / (high - low || 1)) * width;
      const bars = Math.max(20, Math.min(60, Math.floor(width / 12))), step = width / bars;
      const ups = gathered(answer, positive, bars), downs = gathered(answer, negative, bars);
      const most = Math.max(1, ...ups), least = Math.max(1, ...downs);
      const f1s = table.f1.map((each) => each ?? 0), best = Math.max(...f1s, 0.01);

      const picture = () => {
        const cut = table.threshold[at];
        const bar = (number, place, up) => {
          const pale = low + ((place + 0.5) / bars) * (high - low) < cut ? ".pale" : "", tall = up ? (number / most) * UP : (number / least) * DOWN;
          return number ? s(`rect.column.${up ? "positive" : "negative"}${pale}`, { x: place * step + 0.5, width: step - 1, y: up ? 20 + UP - tall : 21 + UP, height: Math.max(1, tall), rx: 1 },
            s("title", `scores about ${f.fixed(low + ((place + 0.5) / bars) * (high - low), 2)}: ${f.count(number)} ${up ? positive : negative}`)) : null;
        };
        const height = 24 + UP + DOWN;
        return graphic(width, height, `Scores of ${positive} above, of ${negative} below, cut at ${f.fixed(cut)}`,
          ups.map((number, place) => bar(number, place, true)), downs.map((number, place) => bar(number, place, false)),
          s("line.axis", { x1: 0, x2: width, y1: 20.5 + UP, y2: 20.5 + UP }),
          s("line.cut", { x1: x(cut), x2: x(cut), y1: 14, y2: height }),
          s("text.bold", { x: Math.max(14, Math.min(width - 14, x(cut))), y: 10, "text-anchor": "middle" }, f.fixed(cut)),
          s("text", { x: width, y: 32, "text-anchor": "end" }, `was ${positive} ↑`.slice(0, 40)), s("text", { x: width, y: 36 + UP + 12, "text-anchor": "end" }, `was ${negative} ↓`.slice(0, 40)));
      };
      const curve = () => {
        const y = (value) => 40 - (value / best) * 32;
        const points = table.threshold.map((each, place) => `${x(each).toFixed(1)} ${y(f1s[place]).toFixed(1)}`);
        const mark = (value, text) => (value === null || value === undefined ? null : s("g", s("path.mark", { d: `M${x(value) - 4} 52 L${x(value) + 4} 52 L${x(value)} 46Z` }), s("text", { x: Math.max(0, Math.min(width, x(value))), y: 64, "text-anchor": x(value) > width * 0.8 ? "end" : x(value) < 60 ? "start" : "middle" }, text)));
        const close = answer.proposed && Math.abs(x(answer.proposed.threshold) - x(force)) < 130;
        return graphic(width, close ? 82 : 68, `F1 by threshold, at most ${f.fixed(best)}`,
          s("path.area", { d: `M${x(table.threshold[0])} 40L${points.join("L")}L${x(table.threshold.at(-1))} 40Z` }), s("path.spark", { d: `M${points.join("L")}` }),
          s("circle.mark", { cx: x(table.threshold[at]), cy: y(f1s[at]), r: 4.5 }),
          s("text", { x: width, y: 8, "text-anchor": "end" }, `F1 by threshold, at most ${f.fixed(best)}`),
          mark(answer.threshold, `in force ${answer.threshold}`), answer.proposed ? s("g", { transform: close ? "translate(0 15)" : null }, mark(answer.proposed.threshold, `proposed ${answer.proposed.threshold}`)) : null);
      };
      const measure = (text, key, more) => {
        const pair = table[`${key}_low`]?.[at] === null || !table[`${key}_low`] ? null : [table[`${key}_low`][at], table[`${key}_high`][at]];
        return h("tr", h("th", { scope: "row" }, text), h("td.keep", h("b", { "data-measure": key }, f.figure(key, table[key][at], pair)), " ", h("span.interval", f.interval(key, pair))), h("td.quiet", more));
      };
      const figures = () => h("table.measures", h("caption.spoken", "Figures at the threshold"), h("tbody",
        measure("Precision", "precision", `of the flagged, ${positive}`), measure("Recall", "recall", `of the ${positive}, flagged`), measure("F1", "f1", at === nearest(table.threshold, force) ? "as in force" : "at this threshold"),
        h("tr", h("th", { scope: "row" }, "Flagged"), h("td.keep", h("b", { "data-measure": "flagged" }, f.percent(table.flagged_share[at], 1))), h("td.quiet", `of all rows, ${f.count(table.tp[at] + table.fp[at])}`)),
        costRow()));
      const costRow = () => {
        const ratio = Number(query().get("cost") ?? 1);
        const cost = (place) => table.fp[place] + ratio * table.fn[place];
        const cheapest = table.threshold.reduce((found, _, place) => (cost(place) < cost(found) ? place : found), 0);
        return h("tr", h("th", { scope: "row" }, "Cost"), h("td.keep", h("b", { "data-measure": "cost" }, f.count(cost(at)))), h("td.quiet", `false alarms, and misses times ${ratio}; least at ${f.fixed(table.threshold[cheapest])}`));
      };
      const says = () => `${f.fixed(table.threshold[at])}: F1 ${f.fixed(table.f1[at])}, precision ${f.fixed(table.precision[at])}, recall ${f.fixed(table.recall[at])}`;
      const slider = h("input.slider", { type: "range", name: "threshold", min: low, max: high, step: (high - low) / 200, value: table.threshold[at], "data-focus": "threshold", "aria-label": "Threshold", "aria-valuetext": says(),
        oninput: () => {
          at = nearest(table.threshold, Number(slider.value));
          choose({ threshold: table.threshold[at] }, { replace: true });
          show();
        } });
      // The middle of the thumb stands at its score.
      slider.style.setProperty("width", `${width + 16}px`);
      const top = h("div"), under = h("div");
      const show = () => {
        put(top, picture());
        put(under, curve());
        put(side, twoByTwo({ tp: table.tp[at], fp: table.fp[at], fn: table.fn[at], tn: table.tn[at] }, positive, negative, "said"), figures());
        slider.setAttribute("aria-valuetext", says());
      };
      const costs = h("label.picker", h("span", "A miss costs"), h("select", { name: "cost", "data-focus": "cost", onchange: (event) => { choose({ cost: event.target.value === "1" ? null : event.target.value }); show(); } },
        [1, 2, 5, 10, 20, 50, 100].map((each) => h("option", { value: each, selected: Number(query().get("cost") ?? 1) === each }, each === 1 ? "as much as a false alarm" : `${each} false alarms`))));
      put(host, top, slider, under, h("div.legend", h("span", h("i.key.positive"), positive), h("span", h("i.key.negative"), `${negative}, own scale`), h("span", "pale: not flagged")));
      show();
      return [
        h("div.controls.gap", choice("Rows", "rows", HALVES, answer.rows, (rows) => choose({ rows: rows === "all" ? null : rows })), costs,
          h("span.small.quiet", `${f.windowName(f.ms(answer.window_start), f.ms(answer.window_end))} at ${answer.series.maturity}: ${f.count(answer.n)} outcomes`)),
        h("div.split", host, side), live,
        answer.proposed ? h("p.note", answer.proposed.reason, " A proposal is chosen on one half of the rows and judged on the other.") : null,
        figuresTable("Figures by threshold", ["Threshold", "Precision", "Recall", "F1", "Flagged"], () => table.threshold.map((each, place) => [f.fixed(each, 4),
          `${f.fixed(table.precision[place])}`, f.fixed(table.recall[place]), f.fixed(table.f1[place]), f.percent(table.flagged_share[place], 1)]))];
    } });
  return made;
};
