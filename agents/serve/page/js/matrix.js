// What happened against what the model said. Fill is the share of the row.
import { get } from "./api.js";
import { h } from "./dom.js";
import { figuresTable } from "./figures_table.js";
import * as f from "./format.js";
import { chosen, SERIES, seriesOf } from "./model_choices.js";
import { panel } from "./panel.js";
import { nothing } from "./states.js";

const MOST = 10, LISTED = 10;
const sum = (list) => list.reduce((total, each) => total + each, 0);

const box = (number, total, hit, word) => {
  const share = total ? number / total : 0;
  const node = h(`div.box${hit ? ".hit" : ""}`, h("i", { "aria-hidden": "true" }), h("b", f.count(number)), word ? h("span", word) : null, h("span", total ? f.percent(share) : "–"));
  node.style.setProperty("--share", `${100 * share}%`);
  return node;
};

/** The four cells of a decision, in words. */
export const twoByTwo = ({ tp, fp, fn, tn }, positive, negative) => h("table.matrix",
  h("caption.spoken", "What happened, by what the model said"),
  h("thead", h("tr", h("td"), h("th", { scope: "col" }, `said ${positive}`, h("span", f.count(tp + fp))), h("th", { scope: "col" }, `said ${negative}`, h("span", f.count(fn + tn))))),
  h("tbody",
    h("tr", h("th", { scope: "row" }, `was ${positive}`, h("span", f.count(tp + fn))), h("td", box(tp, tp + fn, true, "caught")), h("td", box(fn, tp + fn, false, "missed"))),
    h("tr", h("th", { scope: "row" }, `was ${negative}`, h("span", f.count(fp + tn))), h("td", box(fp, fp + tn, false, "false alarms")), h("td", box(tn, fp + tn, true, "rightly cleared")))));

const square = (labels, matrix) => h("table.matrix.many",
  h("caption.spoken", "Actual class by row, predicted class by column"),
  h("thead", h("tr", h("td"), labels.map((label, place) => h("th", { scope: "col", title: label }, `said ${label}`, h("span", f.count(sum(matrix.map((row) => row[place])))))))),
  h("tbody", matrix.map((row, place) => h("tr", h("th", { scope: "row", title: labels[place] }, `was ${labels[place]}`, h("span", f.count(sum(row)))), row.map((number, column) => h("td", box(number, sum(row), place === column)))))));

const worst = (labels, matrix) => matrix.flatMap((row, place) => row.map((number, column) => ({ was: labels[place], said: labels[column], number, share: number / (sum(row) || 1) })).filter((each, column) => column !== place))
  .sort((a, b) => b.number - a.number).filter((each) => each.number);

const confusions = (labels, matrix) => figuresTable("Confusions", ["Was", "Said", "Rows", "Share of the class"], () => worst(labels, matrix).slice(0, 200).map((each) => [each.was, each.said, f.count(each.number), f.percent(each.share, 1)]));

export const matrixPanel = ({ about }) => panel({ id: "matrix", title: "Confusion matrix", height: 220, uses: SERIES,
  load: async () => {
    const facts = await about(), now = chosen(facts);
    return now && now.lane.lane !== "traffic" ? get("/window", seriesOf(facts, now)) : null;
  },
  draw: (answer) => {
    const record = answer?.record;
    if (!record?.matrix?.length || !record.n) return nothing("No labelled rows", answer ? "There are none in the newest window of this choice." : "Traffic has no truths: choose to count by prediction.");
    const { labels, matrix, positive_label: positive } = record;
    const note = h("p.small.quiet", `${f.windowName(f.ms(record.window_start), f.ms(record.window_end))}${record.maturity ? ` at ${record.maturity}` : ""}: ${f.count(record.n)} outcomes; fill is the share of the row`);
    const strays = Object.entries(record.strays ?? {});
    const stray = strays.length ? h("p.small.quiet", `In no cell: ${strays.map(([label, number]) => `${f.count(number)} rows with the label ${label}`).join(", ")}.`) : null;
    if (labels.length === 2) {
      const at = positive === labels[1] ? 1 : 0, other = 1 - at;
      return [note, h("div.matrix-room", twoByTwo({ tp: matrix[at][at], fn: matrix[at][other], fp: matrix[other][at], tn: matrix[other][other] }, labels[at], labels[other])), stray, confusions(labels, matrix)];
    }
    if (labels.length <= MOST) return [note, h("div.scroll", { tabindex: "0", role: "region", "aria-label": "Confusion matrix" }, square(labels, matrix)), stray, confusions(labels, matrix)];
    return [note, h("p.soft", `${f.count(labels.length)} classes. The most frequent confusions:`),
      h("table.table.plain", h("caption.spoken", "The most frequent confusions"), h("thead", h("tr", ["Was", "Said", "Rows", "Share of the class"].map((text) => h("th", { scope: "col" }, text)))),
        h("tbody", worst(labels, matrix).slice(0, LISTED).map((each) => h("tr", h("th", { scope: "row" }, each.was), h("td", each.said), h("td", f.count(each.number)), h("td", f.percent(each.share, 1)))))), stray, confusions(labels, matrix)];
  } });
