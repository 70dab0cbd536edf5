// Drift by target over time as a map; a cell shows what lies behind it.
import { choose, query } from "./address.js";
import { targetName } from "./alert_words.js";
import { get } from "./api.js";
import { h, picker, put, widthOf } from "./dom.js";
import { figuresTable } from "./figures_table.js";
import * as f from "./format.js";
import { panel } from "./panel.js";
import { nothing } from "./states.js";

const RANK = { insufficient_data: 0, none: 1, mild: 2, moderate: 3, severe: 4 };
const WORDS = { none: "none", mild: "mild", moderate: "moderate", severe: "severe", insufficient_data: "no verdict" };

// Tests of one target side by side: each window shows the worst of them.
const byTarget = (lines) => {
  const found = new Map();
  for (const line of lines) found.set(line.target, [...(found.get(line.target) ?? []), line]);
  const weight = (tests) => tests.flatMap((each) => each.level).reduce((sum, level) => sum + Math.max(0, RANK[level ?? "none"] - 1), 0);
  return [...found].map(([target, tests]) => ({ target, tests, weight: weight(tests) })).sort((a, b) => b.weight - a.weight);
};
const worstAt = (tests, place) => tests.filter((each) => each.level[place] !== null)
  .sort((a, b) => RANK[b.level[place]] - RANK[a.level[place]])[0] ?? null;

// So many columns fit; of more windows, each column shows the newest window of its group that drifted most.
const columnsOf = (answer, targets, most) => {
  const size = Math.max(1, Math.ceil(answer.window_end.length / most)), groups = [];
  for (let end = answer.window_end.length; end > 0; end -= size) groups.unshift([Math.max(0, end - size), end]);
  return groups.map(([from, until]) => ({ from, until, pick: (tests) => {
    let best = until - 1, rank = -1;
    for (let place = from; place < until; place += 1) {
      const test = worstAt(tests, place), now = test ? RANK[test.level[place]] : -1;
      if (now >= rank) { best = place; rank = now; }
    }
    return best;
  } }));
};

const TESTS = { psi: "PSI", ks: "KS", missing: "Missing values", unseen: "Unseen values" };
const testName = (method) => TESTS[method] ?? f.words(method);
const chance = (p) => (p === null || p === undefined ? "–" : p < 0.001 ? "< 0.001" : f.fixed(p));
// The evidence of the tests of one target, in their own words and numbers.
const evidenceOf = (tests) => {
  const [first] = tests, details = Object.assign({}, ...tests.map((each) => each.details ?? {}));
  const fact = (name, value) => h("div", h("dt", name), h("dd", value));
  const texts = [...new Set(tests.flatMap((each) => [each.reason && `${testName(each.method)}: ${each.reason}`, each.action && f.capital(each.action)]).filter(Boolean))];
  return [h("div.scroll", h("table.table", h("caption.spoken", "Tests of this target"), h("thead", h("tr", ["Test", "Level", "Effect", "Adjusted p", "As independent rows"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", tests.map((each) => h("tr", h("th", { scope: "row" }, testName(each.method)), h("td", WORDS[each.level]), h("td", f.fixed(each.effect)), h("td.keep", chance(each.p_adjusted ?? each.p_value)), h("td", each.n_effective === null ? "–" : f.count(Math.round(each.n_effective)))))))),
  h("dl.facts", fact("Rows", f.count(first.n_current)), fact("Rows of the reference", f.count(first.n_reference)),
    details.missing_share === undefined ? null : fact("Missing", h("span", f.percent(details.missing_share, 1), h("span.quiet", `, ${f.percent(details.reference_missing_share, 1)} before`)))),
  texts.map((text) => h("p.small.soft", `${text}.`)),
  tests.some((each) => each.losses?.length || each.reference_losses?.length) ? h("p.small.soft", "Rows were lost before they were read; these tests lack them.") : null];
};

export const driftPanel = ({ name, version, about }) => {
  const made = panel({ id: "drift", title: "Drift", note: h("span.quiet.small", "against the reference, the worst test of each target"), height: 320, uses: ["drift"],
    load: async () => {
      const facts = await about();
      if (!facts.drift_windows.length) return { facts, answer: null };
      const window = facts.drift_windows.includes(query().get("drift")) ? query().get("drift") : facts.drift_windows[0];
      return { facts, window, answer: await get("/drift/history", { model: name, version, window, since: "182d" }) };
    },
    draw: ({ facts, window, answer }) => {
      if (!answer?.window_end.length) return nothing("No drift test yet", "Tests begin once the reference is complete and the first detection window is over.");
      const targets = byTarget(answer.lines), narrow = innerWidth <= 760, room = widthOf(made.node, 300) - (narrow ? 32 : 48);
      const columns = columnsOf(answer, targets, narrow ? 26 : 30), buttons = new Map(), detail = h("div.rows", { "aria-live": "polite" });
      let target = targets.some((each) => each.target === query().get("target")) ? query().get("target") : targets[0].target;
      const asked = answer.window_end.findIndex((end) => end.startsWith(query().get("week") ?? "–"));
      // The newest window with a verdict is shown first: one that is covered in part has none.
      const judged = columns.findLastIndex((each) => targets.some(({ tests }) => (worstAt(tests, each.until - 1)?.level[each.until - 1] ?? "insufficient_data") !== "insufficient_data"));
      let column = asked >= 0 ? columns.findIndex((each) => each.from <= asked && asked < each.until) : judged >= 0 ? judged : columns.length - 1;

      let turn = 0;
      const show = async (focus = false) => {
        for (const [key, button] of buttons) {
          const on = key === `${target}|${column}`;
          button.setAttribute("aria-pressed", `${on}`);
          button.tabIndex = on ? 0 : -1;
          if (on && focus) button.focus();
        }
        const tests = targets.find((each) => each.target === target).tests, place = columns[column].pick(tests), worst = worstAt(tests, place);
        const start = answer.window_start[place], level = worst?.level[place] ?? "insufficient_data";
        const head = [h("h3", targetName(target), " ", h(`span.tag${level === "severe" ? ".severe" : ["moderate", "mild"].includes(level) ? ".warning" : ""}`, WORDS[level])),
          h("p.small.quiet", `${f.windowName(f.ms(start), f.ms(answer.window_end[place]))} against the reference`)];
        const mine = (turn += 1);
        try {
          const evidence = await get("/drift", { model: name, version, window, target, start });
          if (mine === turn) put(detail, head, evidence.tests.length ? evidenceOf(evidence.tests) : h("p.quiet", "No test of this window."));
        } catch (error) {
          if (mine === turn) put(detail, head, h("p.small.quiet", `The evidence did not load: ${error.message}.`));
        }
      };
      const pick = (wanted, place, focus) => {
        target = wanted;
        column = place;
        const tests = targets.find((each) => each.target === target).tests;
        choose({ target, week: answer.window_end[columns[column].pick(tests)].slice(0, 10) }, { replace: true });
        show(focus);
      };
      const onkeydown = (event) => {
        const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -1e4], End: [0, 1e4] }[event.key];
        if (!steps) return;
        event.preventDefault();
        const at = targets.findIndex((each) => each.target === target);
        pick(targets[Math.max(0, Math.min(targets.length - 1, at + steps[0]))].target, Math.max(0, Math.min(columns.length - 1, column + steps[1])), true);
      };
      let month = "";
      const heads = columns.map((each, place) => {
        const name_ = f.month(f.ms(answer.window_end[each.until - 1]) - 1), text = name_ === month || place > columns.length - 2 ? "" : name_;
        month = name_;
        return h("th", { scope: "col" }, text ? h("span", { "aria-hidden": "true" }, text) : null, h("span.spoken", f.windowName(f.ms(answer.window_start[each.until - 1]), f.ms(answer.window_end[each.until - 1]))));
      });
      const grid = h("table.heat", { onkeydown }, h("caption.spoken", "Drift by target and window; arrow keys move"),
        h("thead", h("tr", h("td"), heads)),
        h("tbody", targets.map(({ target: each, tests }) => h("tr", h("th", { scope: "row", title: targetName(each) }, targetName(each)), columns.map((group, place) => {
          const at = group.pick(tests), test = worstAt(tests, at), level = test?.level[at] ?? "insufficient_data";
          const button = h(`button.${level}`, { type: "button", "aria-label": `${targetName(each)}, ${f.windowName(f.ms(answer.window_start[at]), f.ms(answer.window_end[at]))}: ${WORDS[level]}`, title: `${targetName(each)}, ${f.windowName(f.ms(answer.window_start[at]), f.ms(answer.window_end[at]))}: ${WORDS[level]}${test && test.effect[at] !== null ? `, ${testName(test.method)} ${f.fixed(test.effect[at])}, n = ${f.count(test.n_current[at])}` : ""}`, "data-focus": `${each}|${place}`, onclick: () => pick(each, place, false) });
          buttons.set(`${each}|${place}`, button);
          return h("td", button);
        })))));
      show();
      return [h("div.split.wide-left", h("div.rows",
        facts.drift_windows.length > 1 ? picker("Window", "drift", facts.drift_windows.map((each) => [each, each]), window, (value) => choose({ drift: value })) : null,
        h("div.scroll", { tabindex: "0", role: "region", "aria-label": "Drift by target and window" }, grid),
        h("div.legend", h("span", h("i.key"), "none"), h("span", h("i.key.mild"), "mild"), h("span", h("i.key.moderate"), "moderate"), h("span", h("i.key.severe"), "severe"), h("span", h("i.key.due"), "no verdict"), h("span", columns[0].until - columns[0].from > 1 || columns.at(-1).until - columns.at(-1).from > 1 ? `a column is the worst of ${columns.at(-1).until - columns.at(-1).from} windows` : ""))), detail),
        figuresTable("Drift over time", ["Window", "Target", "Test", "Level", "Effect", "Adjusted p", "Rows"], () => answer.window_end.flatMap((end, place) => answer.lines.filter((line) => ["mild", "moderate", "severe"].includes(line.level[place])).map((line) => [
          f.windowName(f.ms(answer.window_start[place]), f.ms(end)), targetName(line.target), testName(line.method), line.level[place], f.fixed(line.effect[place]), line.p_adjusted[place] === null ? "–" : line.p_adjusted[place] < 0.001 ? "< 0.001" : f.fixed(line.p_adjusted[place]), f.count(line.n_current[place])])).toReversed())];
    } });
  return made;
};
