// Ranking and calibration: ROC, precision against recall, and how often a score comes true.
import { get } from "./api.js";
import { graphic, h, s, widthOf } from "./dom.js";
import { figuresTable } from "./figures_table.js";
import * as f from "./format.js";
import { chosen, hasScores, NO_SCORES, scoresOf } from "./model_choices.js";
import { panel } from "./panel.js";
import { nothing } from "./states.js";

const square = (side, label, names, ...drawn) => {
  const pad = 46, size = side - pad - 8;
  const x = (value) => pad + value * size, y = (value) => 8 + (1 - value) * size;
  return graphic(side, side + 4, label,
    [0, 0.5, 1].map((tick) => [s("line.grid", { x1: x(0), x2: x(1), y1: y(tick), y2: y(tick) }), s("text", { x: pad - 6, y: y(tick) + 4, "text-anchor": "end" }, `${tick}`), s("text", { x: x(tick), y: side - 10, "text-anchor": tick === 0 ? "start" : tick === 1 ? "end" : "middle" }, `${tick}`)]),
    s("text", { x: x(0.5), y: side + 3, "text-anchor": "middle" }, names[0]), s("text", { transform: `translate(9 ${y(0.5)}) rotate(-90)`, "text-anchor": "middle" }, names[1]),
    drawn.map((each) => each(x, y)));
};
const line = (xs, ys) => (x, y) => s("path.spark", { d: `M${xs.map((each, place) => (ys[place] === null ? null : `${x(each).toFixed(1)} ${y(ys[place]).toFixed(1)}`)).filter(Boolean).join("L")}` });
const diagonal = (x, y) => s("line.usual-line", { x1: x(0), y1: y(0), x2: x(1), y2: y(1) });

export const curvesPanel = ({ name, version, about }) => {
  const made = panel({ id: "curves", title: "Ranking and calibration", height: 300, uses: ["segment", "maturity", "rows", "lane"],
    load: async () => {
      const facts = await about(), now = chosen(facts);
      return hasScores(now) ? get("/scores", scoresOf(facts, now)) : null;
    },
    draw: (answer) => {
      if (!answer?.roc_fpr.length) return nothing("No curves", answer?.null_reason ?? NO_SCORES);
      const room = widthOf(made.node, 280) - (innerWidth > 760 ? 48 : 32), side = Math.max(220, Math.min(340, innerWidth > 760 ? Math.floor((room - 64) / 3) : room));
      const { calibration, positive_label: positive } = answer;
      return [h("p.small.quiet", `${f.windowName(f.ms(answer.window_start), f.ms(answer.window_end))} at ${answer.series.maturity}: ${f.count(answer.n)} outcomes with a score`),
        h("div.thirds",
          h("figure", h("figcaption", h("h3", "ROC"), h("span.small.quiet", `area ${f.fixed(answer.roc_auc)}`)), square(side, `ROC curve, area ${f.fixed(answer.roc_auc)}`, ["false positive rate", "recall"], diagonal, line(answer.roc_fpr, answer.roc_tpr))),
          h("figure", h("figcaption", h("h3", "Precision by recall"), h("span.small.quiet", `average precision ${f.fixed(answer.average_precision)}`)), square(side, `Precision by recall, average precision ${f.fixed(answer.average_precision)}`, ["recall", "precision"], line(answer.pr_recall, answer.pr_precision))),
          calibration ? h("figure", h("figcaption", h("h3", "Calibration"), h("span.small.quiet", "on the dashed line, scores are probabilities")), square(side, `Share of ${positive} by score`, ["score", `share of ${positive}`.slice(0, 30)], diagonal,
            (x, y) => calibration.score.map((score, place) => s("g", s("title", `score ${f.fixed(score, 2)}: ${f.percent(calibration.share[place], 1)} ${positive}, ${f.interval("share", [calibration.low[place], calibration.high[place]])}, n = ${f.count(calibration.n[place])}`),
              s("line.reach.thin", { x1: x(score), x2: x(score), y1: y(calibration.low[place]), y2: y(calibration.high[place]) }), s("circle.mark", { cx: x(score), cy: y(calibration.share[place]), r: 3.4 }))))) : null),
        calibration ? figuresTable("Calibration", ["Score", `Share of ${positive}`, "95 % interval", "Rows"], () => calibration.score.map((score, place) => [f.fixed(score), f.percent(calibration.share[place], 1), f.interval("share", [calibration.low[place], calibration.high[place]]), f.count(calibration.n[place])])) : null];
    } });
  return made;
};
