// Alert episodes over time, one lane for each rule.
import { graphic, h, s } from "./dom.js";
import * as f from "./format.js";
import { alertPage, headline } from "./alert_words.js";
import { monthsOf } from "./marks.js";
import { figuresTable } from "./figures_table.js";

const LANE = 26;

export const episodeLanes = (alerts, from, until, width, { now = null, selected = null } = {}) => {
  const rules = [...new Set(alerts.map((each) => each.rule))].sort();
  const left = Math.min(132, Math.max(84, ...rules.map((rule) => f.words(rule).length * 6.6 + 10)));
  const height = Math.max(1, rules.length) * LANE + 22;
  const x = (at) => left + ((at - from) / (until - from || 1)) * (width - left - 6);
  const tall = (each) => (each.severity === "info" ? 7 : 14) + (each.alert_id === selected ? 5 : 0);
  const months = monthsOf(from, until), every = Math.ceil(months.length / Math.max(1, Math.floor((width - left) / 46)));
  return graphic(width, height, `${f.plural(alerts.length, "alert episode")} from ${f.date(from)} to ${f.date(until)}`,
    months.map((at, place) => [
      s("line.grid", { x1: x(at), x2: x(at), y1: 0, y2: height - 18 }),
      place % every ? null : s("text", { x: x(at) + 3, y: height - 5 }, f.month(at))]),
    rules.map((rule, place) => [
      s("text.ink-2", { x: 0, y: place * LANE + 17 }, f.words(rule)),
      s("line.axis", { x1: left, x2: width - 6, y1: place * LANE + 13, y2: place * LANE + 13 })]),
    alerts.map((each) => {
      const start = Math.max(from, f.ms(each.starts_at)), end = Math.min(f.ms(each.ends_at) ?? now ?? until, until);
      const text = `${f.words(each.rule)}, ${each.severity}: ${headline(each)}. ${f.date(f.ms(each.starts_at))} to ${each.ends_at ? f.date(f.ms(each.ends_at)) : "now"}`;
      return s("a", { href: alertPage(each), "aria-label": text }, s("title", text),
        s(`rect.episode.${each.severity}`, { x: x(start), width: Math.max(4, x(end) - x(start)), y: rules.indexOf(each.rule) * LANE + 13 - tall(each) / 2, height: tall(each), rx: 2.5 }));
    }),
    now !== null && now < until ? s("line.now-line", { x1: x(now), x2: x(now), y1: 0, y2: height - 18 }) : null);
};

export const episodeLegend = () => h("div.legend",
  h("span", h("i.key.critical"), "critical or error"), h("span", h("i.key.warning"), "warning"), h("span", h("i.key.info"), "info"));

export const episodesTable = (alerts) => figuresTable("Alert episodes", ["Fired", "Resolved", "Rule", "Severity", "What"],
  () => alerts.map((each) => [f.stamp(f.ms(each.starts_at)), each.ends_at ? f.stamp(f.ms(each.ends_at)) : each.status, f.words(each.rule), each.severity, headline(each)]));
