// How far the early figures were from the final ones.
import { get } from "./api.js";
import { graphic, h, s, widthOf } from "./dom.js";
import { figuresTable } from "./figures_table.js";
import * as f from "./format.js";
import { chosen } from "./model_choices.js";
import { panel } from "./panel.js";
import { nothing } from "./states.js";

const ROW = 46, LEFT = 92;

const sentence = (answer) => {
  const name = f.metricName(answer.metric), held = answer.rungs.find((each) => each.rung === answer.holds_from);
  const first = answer.rungs.find((each) => each.mean !== null);
  const begin = !first ? "" : Math.abs(first.mean) < 0.005 ? `${name} after ${first.rung} was close to the final figure on average. ` : `${name} after ${first.rung} was ${f.fixed(Math.abs(first.mean), 2)} too ${first.mean < 0 ? "low" : "high"} on average. `;
  return begin + (held ? `From ${held.rung} on it held: the final figure lay within the early interval in ${f.percent(held.held_share)} of the windows.`
    : `No early rung held in ${f.percent(answer.held_share)} of the windows.`);
};

const drawing = (answer, width) => {
  const rows = answer.rungs.filter((each) => each.mean !== null);
  const low = Math.min(-0.02, ...rows.map((each) => each.low)), high = Math.max(0.02, ...rows.map((each) => each.high));
  const x = (value) => LEFT + ((value - low) / (high - low)) * (width - LEFT - 16), height = ROW * rows.length + 34;
  const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1].find((each) => (high - low) / each < Math.max(3, width / 90)) ?? 2;
  const ticks = [];
  for (let k = Math.ceil(low / step); k <= high / step; k += 1) ticks.push(k * step);
  return graphic(width, height, sentence(answer),
    ticks.map((tick) => [s(Math.abs(tick) < 1e-9 ? "line.usual-line" : "line.grid", { x1: x(tick), x2: x(tick), y1: 0, y2: height - 24 }),
      s("text", { x: x(tick), y: height - 8, "text-anchor": "middle" }, Math.abs(tick) < 1e-9 ? "as final" : f.signed(tick, step < 0.1 ? 2 : 1))]),
    rows.map((each, place) => {
      const y = 26 + place * ROW;
      const text = `After ${each.rung}: ${f.signed(each.mean, 3)} on average, nine of ten windows ${f.signed(each.low, 3)} to ${f.signed(each.high, 3)}, n = ${f.count(each.n_windows)}`;
      return s("g", s("title", text), s("text.bold", { x: 0, y: y - 1 }, `after ${each.rung}`), s("text", { x: 0, y: y + 13 }, each.coverage === null ? "" : `${f.percent(each.coverage)} in`),
        // Each window as a faint dot, so that the range is seen to be made of windows.
        each.differences.filter((difference) => difference >= low && difference <= high).map((difference) => s("circle.dust", { cx: x(difference), cy: y, r: 2 })),
        s("line.reach.thin", { x1: x(each.low), x2: x(each.high), y1: y, y2: y }), s("circle.mark", { cx: x(each.mean), cy: y, r: 4.5 }));
    }));
};

export const earlyPanel = ({ name, version, about }) => {
  const made = panel({ id: "early", title: "Was the early figure right?", height: 300, uses: ["metric", "segment", "lane"],
    load: async () => {
      const now = chosen(await about());
      return now?.lane.maturities.length > 1 ? get("/early", { model: name, version, metric: now.metric, segment: now.segment }) : null;
    },
    draw: (answer) => {
      if (!answer) return nothing("Nothing to compare", "Only figures of predictions ripen, and only over several rungs.");
      if (!answer.rungs.some((each) => each.n_windows)) return nothing("No window is final yet", "Early figures are compared with final ones as soon as there are some.");
      return [h("p.soft.gap", sentence(answer)), drawing(answer, widthOf(made.node, 260) - (innerWidth > 760 ? 48 : 32)),
        h("div.legend", h("span", "large point: mean"), h("span", "line: nine of ten windows"), h("span", "small points: windows"), h("span", `${f.count(answer.window_end.length)} final windows`)),
        figuresTable("Early against final", ["Maturity", "Windows", "Mean difference", "Nine of ten windows", "Final within the early interval"], () => answer.rungs.map((each) => [
          each.rung, f.count(each.n_windows), f.signed(each.mean, 3), `${f.signed(each.low, 3)} to ${f.signed(each.high, 3)}`, `${f.percent(each.held_share)} (${f.count(each.n_held)})`]))];
    } });
  return made;
};
