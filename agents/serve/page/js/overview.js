// All models at a glance: what is wrong, since when, how sure.
import { href, modelPage } from "./address.js";
import { alertPage, drifted, evidence, headline, intervalOf, lasted, targetName } from "./alert_words.js";
import { get } from "./api.js";
import { h, graphic, icon, s, widthOf } from "./dom.js";
import { episodeLanes, episodeLegend, episodesTable } from "./episode_lanes.js";
import * as f from "./format.js";
import { fineTag, intervalGraphic, pips, proposalTag, reach, severityTag, sparkline, statusText, time, valued } from "./marks.js";
import { now } from "./now.js";
import { panel } from "./panel.js";
import { ripeningTable } from "./ripening_table.js";
import { command, nothing } from "./states.js";
import { verdictText } from "./verdicts.js";

const MANY = 12;
const PERIOD = 90 * f.DAY;
const overview = async () => {
  const [answer, at] = await Promise.all([get("/overview"), now()]);
  return { ...answer, now: at };
};

const worstOf = (answer) => answer.alerts.find((each) => each.status === "firing") ?? answer.alerts[0];
const rowOf = (answer, alert) => answer.rows.find((row) => row.model_name === alert.model_name && row.model_version === alert.model_version);

const judgedText = (row) => {
  const { metric, value, baseline, series, window_start, window_end } = row.judged;
  const pair = intervalOf(row.judged);
  return `${f.metricName(metric)} ${f.figure(metric, value, pair)} ${f.interval(metric, pair).replaceAll(" ", "\u00a0")} ${f.during(f.ms(window_start), f.ms(window_end))}${series.maturity ? `, each given ${series.maturity} for its truth` : ""}${baseline ? `, against ${f.figure(metric, baseline.value)} in its reference period` : ""}.`;
};

const lead = (answer) => {
  const { now: at } = answer, worst = worstOf(answer);
  if (!answer.rows.length) return [h("h1", "No predictions so far"), h("p", "Driftline listens. The first model appears here with its first prediction.")];
  const about = (tag) => h("p.about", tag, at === null ? null : h("span", f.whole_time(at)));
  if (worst) {
    const row = rowOf(answer, worst), since = f.ms(worst.starts_at);
    return [about(severityTag(worst.severity)), h("h1", headline(worst)),
      h("p", `Since ${f.date(since)}, ${lasted(worst, at)} ago`, evidence(worst) ? [": ", evidence(worst), ". "] : `. ${worst.why ?? ""} `, row?.judged && row.judged.value !== null && row.judged.metric !== worst.metric ? judgedText(row) : null)];
  }
  const row = answer.rows.find((each) => each.judged?.value !== null && each.judged);
  const production = answer.rows.filter((each) => each.stage === "production").length;
  return [about(fineTag("No open alert")), h("h1", "All quiet"),
    h("p", `${f.plural(production, "version")} in production. `, row ? judgedText(row) : row, answer.last_alert ? ` The last alert ended ${f.date(f.ms(answer.last_alert))}.` : " No alert has fired so far.")];
};

const mini = (alert) => {
  if (alert.value === null || (alert.baseline === null && alert.threshold === null)) return null;
  const pair = intervalOf(alert), [low, high] = reach([alert.value, ...(pair ?? []), alert.baseline, alert.threshold]);
  return intervalGraphic({ metric: alert.metric, value: alert.value, interval: pair, baseline: alert.baseline, line: alert.threshold, low, high, width: 264, worse: true, labels: true });
};

const because = (alert, answer) => {
  const figures = evidence(alert);
  if (figures) return figures;
  const targets = drifted(alert.details);
  if (targets.length) return targets.map(([target, level]) => `${targetName(target)} ${level}`).join(", ");
  const row = rowOf(answer, alert);
  return alert.why ?? (row?.drift_target ? `${targetName(row.drift_target)} ${row.drift_level}` : null);
};

const proposal = (each) => {
  const { metric, from, to, ci } = each.expected;
  const target = href(modelPage(each.model_name, each.model_version)) + "#threshold";
  const name = each.action === "set_threshold" && each.params.threshold !== undefined
    ? `Threshold ${each.params.threshold} instead of ${each.evidence.threshold_in_force ?? "the one in force"}` : f.capital(f.words(each.action));
  const gain = from === null || to === null ? each.reason
    : `${f.metricName(metric)} of ${each.model_name} would have been ${f.fixed(to)} instead of ${f.fixed(from)}: ${f.signed(to - from, 3)}${ci ? ` [${f.signed(ci[0], 3)}, ${f.signed(ci[1], 3)}]` : ""}${each.evidence.n_holdout ? `, judged on ${f.count(each.evidence.n_holdout)} other outcomes` : ""}.`;
  return h("li.proposal", h("div.side", proposalTag(), each.expires_at ? h("span.small.quiet", `until ${f.date(f.ms(each.expires_at))}`) : null),
    h("div.what", h("h3", h("a", { href: target }, name)), h("p.small.soft", gain)),
    h("div.mini.small.quiet", each.evidence.window_end ? `evidence up to ${f.date(f.ms(each.evidence.window_end) - 1)}` : null), h("a.button", { href: target }, "Try it"));
};

const attention = (answer) => {
  const { now: at } = answer;
  if (!answer.alerts.length && !answer.proposals.length) {
    return h("ul", h("li.fine", h("div.side", fineTag("Quiet")), h("div.what", h("h3", "Nothing needs you"),
      h("p.small.soft", answer.last_alert ? `The last alert ended ${f.date(f.ms(answer.last_alert))}.` : "No alert has fired so far.")), h("div.mini"), h("a.button", { href: href("/alerts") }, "History")));
  }
  return h("ul",
    answer.alerts.map((each) => h(`li.${each.severity}`,
      h("div.side", severityTag(each.severity), h("span.small.quiet", each.status === "firing" ? `for ${lasted(each, at)}` : statusText(each.status))),
      h("div.what", h("h3", h("a", { href: alertPage(each) }, headline(each))), h("p.small.soft", because(each, answer))),
      h("div.mini", mini(each) ?? h("span.small.quiet", `since ${f.date(f.ms(each.starts_at))}`)),
      h("a.button", { href: alertPage(each) }, "Open", h("span.spoken", ` ${headline(each)}`)))),
    answer.n_alerts > answer.alerts.length ? h("li.info", h("div.side"), h("div.what", h("h3", `${f.count(answer.n_alerts - answer.alerts.length)} more`)), h("div.mini"), h("a.button", { href: href("/alerts", { status: "open" }) }, "All")) : null,
    answer.proposals.map(proposal));
};

const LEVELS = { none: "no drift", mild: "mild", moderate: "moderate", severe: "severe", insufficient_data: "no verdict" };

const row = (each, now, width) => {
  const target = href(modelPage(each.model_name, each.model_version)), judged = each.judged;
  const open = ["critical", "error", "warning", "info"].find((severity) => each.alerts[severity]);
  const others = Object.values(each.alerts).reduce((sum, number) => sum + number, 0) - 1;
  const done = each.rungs.filter((rung) => rung.known);
  const line = each.line, key = `${each.model_name} ${each.model_version}`;
  const points = line ? line.window_end.map((end, place) => ({ at: f.ms(end), value: line.value[place], low: line.low[place], high: line.high[place], n: line.n[place] })) : [];
  const until = now ?? points.at(-1)?.at ?? 0;
  const label = judged ? `${f.metricName(judged.metric)} over 90 days, now ${f.figure(judged.metric, judged.value, intervalOf(judged))}` : "";
  return h("tr",
    h("th.full", { scope: "row" }, h("a", { href: target }, each.model_name), h("span.quiet", ` ${each.model_version}`), h("span.under", each.stage ?? "not registered")),
    h("td", { "data-label": judged ? f.metricName(judged.metric) : "Judged figure" }, judged && judged.value !== null
      ? [h("div.tiny.quiet.middle-up", f.metricName(judged.metric)), h("div.keep", valued(judged.metric, judged.value, intervalOf(judged), "value", key)), verdictText(judged.metric, judged.verdict, judged.value, judged.baseline?.value)]
      : h("span.quiet.small", `– ${judged?.null_reason ?? each.judged_null_reason ?? "no figure yet"}`)),
    h("td.full", { "data-label": "90 days" }, judged && line ? h("a", { href: target }, sparkline({
      label, points, from: Math.min(until - PERIOD, points[0]?.at ?? until), until, width, baseline: judged.baseline?.value ?? null,
      episodes: each.episodes.map((episode) => ({ severity: episode.severity, from: f.ms(episode.starts_at), until: f.ms(episode.ends_at) })),
      tip: (point) => `To ${f.date(point.at - 1)}: ${f.figure(judged.metric, point.value, intervalOf(point))} ${f.interval(judged.metric, intervalOf(point))}, n = ${f.count(point.n)}` })) : h("span.quiet.small", "no figure yet")),
    h("td", { "data-label": "Truths in" }, each.truths_in === null ? h("span.quiet", "–") : [h("div.value", f.percent(each.truths_in, 1)), judged ? h("div.small.quiet.keep", `${f.count(judged.n)} of ${f.count(judged.n_predictions)}`) : null]),
    h("td", { "data-label": "Newest day" }, each.rungs.length ? [pips(done.length, each.rungs.length), h("div.small.quiet", done.length === each.rungs.length ? "final" : `final ${f.date(f.ms(each.rungs.at(-1).due))}`)] : h("span.quiet", "–")),
    h("td", { "data-label": "Drift" }, each.drift_level === null ? h("span.quiet", "–") : h("span.small", { title: each.drift_target ? `worst: ${targetName(each.drift_target)}` : null }, ["moderate", "severe"].includes(each.drift_level) ? [h("span.tag.warning", LEVELS[each.drift_level]), h("div.tiny.quiet", targetName(each.drift_target ?? ""))] : h("span.quiet", LEVELS[each.drift_level] ?? each.drift_level))),
    h("td", { "data-label": "Alerts" }, open ? [severityTag(open), others > 0 ? h("div.small.quiet", `and ${f.count(others)} more`) : null] : h("span.quiet", "none")));
};

const models = (answer, body, filter) => {
  const { now: at } = answer, narrow = innerWidth <= 760;
  const width = narrow ? Math.min(326, widthOf(body, 260)) : innerWidth > 1240 ? 250 : 160;
  const wanted = filter.toLowerCase();
  const shown = answer.rows.filter((each) => `${each.model_name} ${each.model_version} ${each.stage ?? ""}`.toLowerCase().includes(wanted));
  return h("div.scroll", h("table.table.cards.models",
    h("caption.spoken", "Model versions"),
    h("thead", h("tr", ["Model", "Judged figure", "90 days", "Truths in", "Newest day", "Drift", "Alerts"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", shown.map((each) => row(each, at, width)))), shown.length ? null : h("p.quiet", "No model has this in its name, version or stage."));
};

const bars = (answer, width) => {
  const height = 64, most = Math.max(1, ...answer.n_predictions), step = width / Math.max(1, answer.n_predictions.length);
  return graphic(width, height + 16, `Predictions a day over ${f.plural(answer.n_predictions.length, "day")}, ${f.count(answer.n_predictions.at(-1) ?? 0)} on the last`,
    answer.n_predictions.map((number, place) => s("rect.column", { x: place * step + 1, width: Math.max(1, step - 2), y: height - (number / most) * (height - 4), height: (number / most) * (height - 4), rx: 1.5 },
      s("title", `${f.windowName(f.ms(answer.window_start[place]), f.ms(answer.window_end[place]))}: ${f.count(number)} predictions`))),
    answer.window_start.length ? [s("text", { x: 0, y: height + 13 }, f.date(f.ms(answer.window_start[0]))), s("text", { x: width, y: height + 13, "text-anchor": "end" }, f.date(f.ms(answer.window_start.at(-1))))] : null);
};

const sourceTag = (source) => {
  if (source.state === "away") return h("span.tag.warning", icon("lost"), "Source away");
  if (source.state === "catching_up") return h("span.tag.info", icon("clock"), "Catching up");
  return fineTag("Following");
};

export const view = () => {
  let filter = "";
  const sections = [];
  const add = (options) => { const made = panel(options); sections.push(made); return made; };
  const first = add({ kind: "lead", load: overview, draw: lead, height: 60 });
  const urgent = add({ kind: "panel.attention", load: overview, draw: attention, height: 120, shape: (answer) => answer.alerts.map((each) => each.alert_id).join() });
  urgent.node.setAttribute("aria-label", "Needs attention");

  const search = h("label.filter", { hidden: true }, h("span.spoken", "Filter models"), h("input", { type: "search", placeholder: "Filter models", autocomplete: "off", spellcheck: "false", oninput: (event) => { filter = event.target.value; table.redraw(); } }));
  const table = add({ id: "models", title: "Models", note: h("span.quiet.small", "the judged figure of each version in its newest whole window"), tools: search, load: overview, height: 130,
    draw: (answer) => {
      search.hidden = answer.rows.length <= MANY;
      if (!answer.rows.length) return nothing("No predictions so far", "Send the first one, or look at a recorded year:", command("driftline feed first-log"), command("driftline demo"));
      return models(answer, table.node, filter);
    },
    shape: (answer) => answer.rows.map((each) => `${each.model_name} ${each.model_version}`).join() });

  const looked = async () => {
    const answer = await overview();
    const worst = worstOf(answer);
    return (worst && rowOf(answer, worst)?.judged ? rowOf(answer, worst) : null) ?? answer.rows.find((each) => each.judged) ?? null;
  };
  const ripe = add({ id: "ripening", title: "Ripening", height: 320,
    load: async () => {
      const wanted = await looked();
      if (!wanted) return null;
      const { model_name, model_version, judged } = wanted;
      return get("/ripening", { model: model_name, version: model_version, metric: judged.metric, limit: 8 });
    },
    draw: (answer) => (answer?.rows.length ? [h("p.small.quiet.gap", `${f.metricName(answer.metric)} of ${answer.series.model_name} ${answer.series.model_version}. Early truths are not a fair sample, so each figure is compared with what was usual at the same maturity.`), ripeningTable(answer, 6)]
      : nothing("No truth yet", "Figures appear here as the ground truth of predictions arrives.")),
    shape: (answer) => answer?.rows[0]?.window_start ?? "" });
  const episodes = add({ id: "episodes", title: "Alert episodes", tools: h("a.small", { href: href("/alerts") }, "All alerts"), height: 120,
    load: async () => Promise.all([get("/alerts", { status: "all", limit: 200 }), overview()]),
    draw: ([answer, about]) => {
      const at = about.now;
      if (!answer.alerts.length) return h("p.quiet", "No alert has fired so far.");
      const from = Math.max(Math.min(...answer.alerts.map((each) => f.ms(each.starts_at))) - 30 * f.DAY, at - 366 * f.DAY);
      const shown = answer.alerts.filter((each) => (f.ms(each.ends_at) ?? at) >= from);
      return [episodeLanes(shown, from, at + 2 * f.DAY, widthOf(episodes.node, 280) - (innerWidth > 760 ? 48 : 32), { now: at }), episodeLegend(), episodesTable(shown)];
    } });
  const pipeline = add({ id: "pipeline", title: "Pipeline", tools: h("a.small", { href: href("/pipeline") }, "More"), height: 140,
    load: async () => {
      const answer = await overview(), wanted = answer.rows.find((each) => each.n_predictions);
      const traffic = wanted ? await get("/metrics", { model: wanted.model_name, version: wanted.model_version, lane: "traffic", since: "28d" }) : null;
      return { answer, traffic };
    },
    draw: ({ answer, traffic }) => {
      const { counters, source } = answer;
      const fact = (name, value, more) => h("div", h("dt", name), h("dd", { "data-cell": name }, value, more ? h("span.quiet", ` ${more}`) : null));
      return h("div.rows", h("p.small.soft", sourceTag(source), h("span", ` ${source.problem ?? source.place}`)),
        traffic?.n_predictions.length ? bars(traffic, widthOf(pipeline.node, 280) - (innerWidth > 760 ? 48 : 32)) : null,
        h("dl.facts", fact("Predictions", f.count(counters.predictions)), fact("Truths", f.count(counters.truths)),
          fact("Truth never came", f.count(counters.never_labelled), counters.final_predictions ? f.percent(counters.never_labelled / counters.final_predictions, 1) : null), fact("Rows set aside", counters.rejected === null ? "not known" : f.count(counters.rejected))),
        counters.window_end ? h("p.tiny.quiet", `Predictions and truths of the newest whole window (${counters.window}, to ${f.date(f.ms(counters.window_end) - 1)}); truths that never came of the newest final one; rows set aside since the beginning.`) : null);
    } });
  return {
    title: "Overview",
    panels: sections,
    nodes: [first.node, urgent.node, table.node, h("div.two", ripe.node, h("div.pile", episodes.node, pipeline.node))],
  };
};
