// One episode of an alert: what happened, where, what to do, and its course.
import { href, modelPage, pathOf } from "./address.js";
import { alertPage, detailsOf, drifted, headline, intervalOf, lasted, targetName } from "./alert_words.js";
import { get } from "./api.js";
import { h, widthOf } from "./dom.js";
import { episodeLanes, episodeLegend, episodesTable } from "./episode_lanes.js";
import { figuresTable } from "./figures_table.js";
import * as f from "./format.js";
import { fineTag, severityTag, statusText, time, valued } from "./marks.js";
import { now } from "./now.js";
import { later, panel } from "./panel.js";
import { newest, performancePlot, pointsOf, stateOf } from "./performance_plot.js";
import { graphicWidth, segmentRows, segmentsTable } from "./segments.js";
import { command, nothing } from "./states.js";

const CHANGES = {
  firing: "Alert fires", escalated: "It gets worse", joined: "More is affected", acknowledged: "Taken on", unacknowledged: "Given back",
  silenced: "A silence begins", unsilenced: "The silence ends", accepted: "Accepted as the new level", resolved: "Resolved",
};

const figureStrip = ({ alert, around }) => {
  const { metric } = alert, last = around ? newest(pointsOf(around)) : null, pair = intervalOf(alert);
  const item = (name, value, more) => (value === null || value === undefined ? null : h("div", h("dt", name), h("dd.value", value), h("dd", more)));
  const targets = drifted(alert.details);
  if (!metric) {
    return h("dl.strip", item("Severity", f.capital(alert.severity), statusText(alert.status)), item("Window", alert.window, "that was judged"),
      item("Affected", targets.length ? f.count(targets.length) : null, targets.map(([target, level]) => `${targetName(target)} ${level}`).join(", ")), alert.n ? item("Rests on", f.count(alert.n), "rows") : null);
  }
  return h("dl.strip",
    item("When it fired", alert.first_value === null ? null : f.figure(metric, alert.first_value, pair), f.stamp(f.ms(alert.starts_at))),
    item(alert.status === "resolved" ? "When it was judged last" : "Judged last", f.figure(metric, alert.value, pair), [f.interval(metric, pair), alert.window ? ` ${alert.window}` : "", alert.maturity ? ` at ${alert.maturity}` : ""]),
    item("Before", alert.baseline === null ? null : f.figure(metric, alert.baseline), "what it is compared with"),
    item("Alert line", alert.threshold === null ? null : f.figure(metric, alert.threshold), alert.comparator ? `fires ${alert.comparator.startsWith("<") ? "below" : "above"} this` : ""),
    last && last.value !== null && last.value !== alert.value ? item("Newest window", f.figure(metric, last.value, last.pair), [f.interval(metric, last.pair), " ", f.windowName(last.start, last.end)]) : null,
    alert.n ? item("Rests on", f.count(alert.n), "rows") : null);
};

const course = ({ alert, records, answers, actions, together }) => {
  const events = records.map((each) => ({ at: f.ms(each.at), bead: each.change === "resolved" ? "fine" : each.change === "firing" || each.change === "escalated" ? each.severity : "main", title: CHANGES[each.change] ?? each.change, text: each.summary }));
  const changed = f.ms(alert.details?.changed_at);
  if (changed) events.push({ at: changed, bead: "plain", title: "The change began about here", text: "As the rule dates it, looking back from when it fired." });
  for (const each of together) events.push({ at: f.ms(each.starts_at), bead: each.severity, title: h("a", { href: alertPage(each) }, `${f.capital(f.words(each.rule))} fires too`), text: headline(each) });
  for (const each of actions) events.push({ at: f.ms(each.at), bead: "main", title: `Response: ${f.words(each.action)}`, text: each.reason ?? each.outcome });
  for (const each of answers) if (each.error) events.push({ at: f.ms(each.at), bead: "plain", title: `${f.capital(f.words(each.event))}`, text: each.error });
  if (alert.status !== "resolved") events.push({ at: Infinity, bead: "due", title: `Still ${statusText(alert.status)}`, text: "It is judged again with each new window." });
  return h("ol.course", events.sort((a, b) => a.at - b.at).map((each) => h("li", Number.isFinite(each.at) ? time(each.at) : h("time", "now"), h(`span.bead.${each.bead}`), h("div", h("strong", each.title), each.text ? h("div.small.soft", each.text) : null))));
};

export const view = ([id]) => {
  const ask = () => get("/alert", { id });
  const first = panel({ kind: "lead", height: 80, load: () => Promise.all([ask(), now()]),
    draw: ([answer, at]) => {
      const { alert } = answer;
      const since = f.ms(alert.starts_at);
      return [h("p.about", severityTag(alert.severity), h("a", { href: href(modelPage(alert.model_name, alert.model_version)) }, `${alert.model_name} ${alert.model_version}`), h("span", f.words(alert.rule)), h("span", alert.segment === "all" ? "all predictions" : alert.segment.replace("=", " ")),
        alert.status === "resolved" ? fineTag("Resolved") : alert.status === "firing" ? null : h("span.tag.info", statusText(alert.status))),
      h("h1", headline(alert)),
      h("p", alert.status === "resolved" ? `Fired ${f.stamp(since)}, resolved ${f.stamp(f.ms(alert.ends_at))} ${f.zoneName(since)}, after ${lasted(alert, at)}. ` : `${f.capital(statusText(alert.status))} since ${f.stamp(since)} ${f.zoneName(since)}, ${lasted(alert, at)} ago. `, alert.why ?? alert.resolution)];
    } });
  const strip = panel({ kind: "bare", height: 80, load: ask, draw: (answer) => figureStrip(withDetails(answer)) });

  const chart = h("div.plot.low", { role: "img" });
  const what = panel({ id: "what", title: "What happened", height: 380, load: () => Promise.all([ask(), now()]),
    draw: ([answer]) => {
      const { alert, around } = answer;
      what.node.hidden = !alert.metric;
      if (!alert.metric) return null;
      if (!around?.window_end.length) return nothing("No figures around the episode", "The judged metric is of no series that is known here.");
      const column = around.metrics[0];
      return [h("p.small.quiet", `${f.metricName(column.metric)}, windows of ${around.series.window}${around.series.maturity ? ` at ${around.series.maturity}` : ""}`), chart,
        h("div.legend", h("span", h("i.key.line"), f.metricName(column.metric)), h("span", h("i.key.band"), "95 % interval of the window"), column.baseline ? [h("span", h("i.key.dash"), "baseline"), h("span", h("i.key"), "usual range of such windows")] : alert.baseline === null ? null : h("span", h("i.key.dash"), "level before"), column.alert_lines.length || alert.threshold !== null ? h("span", h("i.key.alarm"), "alert line") : null, h("span", h(`i.key.${alert.severity === "error" ? "critical" : alert.severity}`), "this episode")),
        h("p.note.over", column.baseline ? "Two ranges, two questions. The band along the line says how well its rows pin a window down; the grey one how far windows differ anyway. " : "The band says how well its rows pin a window down. The rule gathers evidence over many windows, so that it fires though single ones differ. ", answer.budget ? `It may raise ${answer.budget} false alarms a year.` : ""),
        figuresTable(`${f.metricName(column.metric)} around the episode`, ["Window", f.metricName(column.metric), "95 % interval", "Rows", "State"], () => pointsOf(around).toReversed().map((each) => [f.windowName(each.start, each.end), f.figure(column.metric, each.value, each.pair), f.interval(column.metric, each.pair), f.count(each.n || each.all), stateOf(each, around.series.maturity)]))];
    },
    after: ([answer, at]) => {
      const { alert, around, together } = answer;
      if (!alert.metric || !around?.window_end.length) return;
      const column = around.metrics[0], judges = alert.metric === column.metric;
      const points = pointsOf(around).map((each) => ({ ...each, line: each.line ?? (judges ? alert.threshold : null) })), from = points[0].end, until = points.at(-1).end + f.DAY;
      chart.setAttribute("aria-label", `${f.metricName(column.metric)} around the episode`);
      performancePlot(chart, { metric: column.metric, points, baseline: column.baseline ?? (judges && alert.baseline !== null ? { value: alert.baseline, text: "before" } : null), maturity: around.series.maturity, lane: around.series.lane, alerts: [alert, ...together], from, until, now: at ?? until, shares: false, key: alert.alert_id,
        focus: { from: Math.max(from, f.ms(alert.starts_at)), until: Math.min(until, f.ms(alert.ends_at) ?? until), severity: alert.severity } }).catch((error) => chart.setAttribute("aria-label", error.message));
    } });

  const where = panel({ id: "where", title: "Where", note: h("span.quiet.small", "the surest weakness first"), height: 260,
    load: async () => {
      const { alert, around } = await ask();
      where.node.hidden = !around || alert.segment !== "all" || around.series.lane === "traffic";
      if (where.node.hidden) return null;
      const points = pointsOf(around), last = newest(points.filter((each) => each.end <= (f.ms(alert.ends_at) ?? Infinity) + f.DAY));
      const { model_name: model, model_version: version, lane, window, maturity } = around.series;
      const answer = await get("/segments", { model, version, lane, window, maturity, metric: around.metrics[0].metric, start: last ? new Date(last.start).toISOString() : null, limit: 10 });
      return { ...answer, higherIsBetter: around.metrics[0].higher_is_better };
    },
    draw: (answer) => {
      if (!answer) return null;
      if (!answer.segments.length) return nothing("No segment has enough outcomes", answer.n_small ? `${f.plural(answer.n_small, "segment")} with few outcomes.` : "No segments are configured.");
      return [h("p.small.quiet", f.windowName(f.ms(answer.all.window_start), f.ms(answer.all.window_end))), segmentRows(answer, graphicWidth(where.node), { most: 8 }), segmentsTable(answer)];
    } });
  const drift = targetsPanel(ask);
  const heat = later("drift", 340, async () => {
    const { alert, records } = await ask();
    if (alert.metric || !drifted(detailsOf(records)).length) return null;
    const { driftPanel } = await import("./drift.js");
    const about = () => get("/model", { model: alert.model_name, version: alert.model_version });
    return driftPanel({ name: alert.model_name, version: alert.model_version, about });
  });

  const steps = panel({ id: "do", title: "What to do", height: 160, load: ask,
    draw: (answer) => {
      const { alert } = answer;
      return h("ol.steps", answer.what_to_do.map((each) => h("li", h("div", each))), answer.runbook_url && /^https?:\/\//.test(answer.runbook_url) ? h("li", h("div", h("a", { href: answer.runbook_url, rel: "noreferrer noopener", target: "_blank" }, "The runbook of this rule"))) : answer.runbook_url ? h("li", h("div", `Runbook: ${answer.runbook_url}`)) : null,
        h("li", h("div", "Look at ", h("a", { href: `${href(modelPage(alert.model_name, alert.model_version))}#segments` }, "segments"), ", ", h("a", { href: `${href(modelPage(alert.model_name, alert.model_version))}#drift` }, "drift"), " and ", h("a", { href: href(pathOf("registry", alert.model_name)) }, "what was in force"), ".")),
        h("li", h("div", "In a terminal:", command(`driftline alerts show ${alert.alert_id}`))));
    } });
  const life = panel({ id: "course", title: "Course", height: 240, load: ask, draw: (answer) => course(withDetails(answer)) });
  const force = panel({ id: "force", title: "In force when it fired", height: 60,
    load: async () => {
      const { alert } = await ask();
      force.node.hidden = !alert.model_name;
      return get("/registry", { model: alert.model_name, at: alert.starts_at });
    },
    draw: (answer) => {
      const entry = answer.entries.find((each) => each.stage === "production") ?? answer.entries[0];
      if (!entry) return h("p.quiet", "Nothing was registered under this name.");
      const fact = (name, value) => h("div", h("dt", name), h("dd", value ?? "–"));
      return h("dl.facts", fact("Version", entry.model_version), fact("Stage", entry.stage), fact("Threshold", entry.threshold), fact("Revision", entry.revision));
    } });
  const others = panel({ id: "others", title: "Other episodes", height: 120, load: () => Promise.all([ask().then(({ alert }) => get("/alerts", { model: alert.model_name, status: "all", limit: 200 })), now()]),
    draw: ([answer, at]) => {
      const from = Math.min(...answer.alerts.map((each) => f.ms(each.starts_at))), until = Math.max(at ?? 0, ...answer.alerts.map((each) => f.ms(each.at)));
      const room = Math.max(2 * f.DAY, (until - from) * 0.04);
      return [episodeLanes(answer.alerts, from - room, until + room, widthOf(others.node, 280) - (innerWidth > 760 ? 48 : 32), { now: at, selected: id }), episodeLegend(), episodesTable(answer.alerts)];
    } });
  return { title: "Alert", panels: [first, strip, what, where, drift, heat, steps, life, force, others],
    nodes: [first.node, strip.node, h("div.two.episode-parts", h("div.pile", what.node, where.node, drift.node, heat.node), h("div.pile", steps.node, life.node, force.node)), others.node] };
};

// The rows of lists have no details; those of the episode stand beside it.
const withDetails = (answer) => ({ ...answer, alert: { ...answer.alert, details: { ...answer.details, ...detailsOf(answer.records) } } });

const targetsPanel = (ask) => {
  const made = panel({ id: "targets", title: "What drifted", height: 120, load: ask,
    draw: (answer) => {
      const targets = drifted(detailsOf(answer.records)), { alert } = answer;
      made.node.hidden = Boolean(alert.metric) || !targets.length;
      if (made.node.hidden) return null;
      const page = href(modelPage(alert.model_name, alert.model_version));
      return h("table.table", h("caption.spoken", "Targets that drifted"), h("tbody", targets.map(([target, level]) => h("tr", h("th", { scope: "row" }, targetName(target)), h("td", h(`span.tag.${level === "severe" ? "severe" : "warning"}`, level)), h("td", h("a", { href: `${page}${page.includes("?") ? "&" : "?"}${new URLSearchParams({ target })}#drift` }, "Against the reference"))))));
    } });
  return made;
};
