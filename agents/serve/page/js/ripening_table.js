// Windows by rung: a row shows one ripen, a column compares like with like.
import { h } from "./dom.js";
import * as f from "./format.js";
import { tone } from "./verdicts.js";
import { intervalOf } from "./alert_words.js";

const due = (ms, now) => {
  const soon = now !== null && ms - now < f.DAY && f.date(ms) === f.date(now);
  return soon ? `due ${f.clock(ms)}` : `due ${f.date(ms)}`;
};

const tip = (answer, cell, rung, baseline) => [
  `${f.metricName(answer.metric)} at ${rung}: ${f.figure(answer.metric, cell.value, intervalOf(cell))} ${f.interval(answer.metric, intervalOf(cell))}`,
  `${f.count(cell.n)} of ${f.count(cell.n_predictions)} truths in${cell.final ? ", final" : ""}`,
  baseline ? `baseline at ${rung} ${f.figure(answer.metric, baseline.value)}` : "no baseline at this rung",
].join("\n");

const known = (answer, cell, place, last) => {
  const rung = answer.rungs[place], baseline = answer.baselines[place], mood = tone(cell.verdict);
  const second = cell.value === null ? cell.null_reason ?? "no value" : cell.difference === null ? "no baseline" : f.isDuration(answer.metric) ? f.span(Math.abs(cell.difference)) : f.signed(cell.difference);
  return h(`div.cell${mood ? `.${mood}` : ""}${last ? ".final" : ""}`, { title: tip(answer, cell, rung, baseline) },
    h("b", { "data-cell": `${cell.key}` }, f.figure(answer.metric, cell.value, intervalOf(cell))), h("span", second),
    mood ? h("span.sign", { "aria-hidden": "true" }, cell.difference < 0 ? "▼" : "▲") : null,
    mood ? h("span.spoken", `${mood} than usual`) : null);
};

export const ripeningTable = (answer, rows) => {
  const now = f.ms(answer.frontier), shown = answer.rows.slice(0, rows);
  // How ripe rungs usually are, from the newest row that has them all.
  const whole = answer.rows.find((row) => row.cells.every((cell) => cell.state === "known" && cell.n_predictions));
  const share = (place) => (whole ? [f.percent(whole.cells[place].n / whole.cells[place].n_predictions), h("span.after", " in")] : "");
  const days = shown.every((row) => f.ms(row.window_end) - f.ms(row.window_start) === f.DAY);
  return h("div",
    h("table.ripening",
      h("caption.spoken", `${f.metricName(answer.metric)} of the newest ${f.plural(shown.length, "window")} at each maturity`),
      h("thead", h("tr", h("th", { scope: "col" }, "Predictions of"), answer.rungs.map((rung, place) =>
        h("th", { scope: "col" }, h("span.after", "after "), rung, h("small", share(place)))))),
      h("tbody", shown.map((row) => {
        const start = f.ms(row.window_start), end = f.ms(row.window_end);
        return h("tr",
          h("th", { scope: "row" }, days ? [h("span.spoken", `${f.weekday(start)} `), h("b.day-name", { "aria-hidden": "true" }, `${f.weekday(start)} `), f.date(start)] : f.windowName(start, end),
            h("span", `${f.count(Math.max(...row.cells.map((cell) => cell.n_predictions)))} pred.`)),
          row.cells.map((cell, place) => h("td", cell.state === "known"
            ? known(answer, { ...cell, key: `${row.window_start} ${place}` }, place, place === answer.rungs.length - 1)
            : cell.state === "due" ? h("div.cell.due", { title: `The figures after ${answer.rungs[place]} come at ${f.whole_time(f.ms(cell.due))}` }, h("span", due(f.ms(cell.due), now)))
              : h("div.cell", { title: "These figures should be there, and are not" }, h("span", "absent")))));
      }))),
    h("div.legend", h("span", h("i.key.worse"), "worse than the usual range at this maturity"), h("span", h("i.key.better"), "better"),
      h("span", h("i.key"), "usual"), h("span", h("i.key.due"), "not due yet"), h("span", h("i.key.final"), "final"), h("span", "second line: difference from the baseline")));
};
