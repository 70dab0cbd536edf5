// Alerts in words: what is wrong, and with which figures.
import { h } from "./dom.js";
import * as f from "./format.js";
import { href, pathOf } from "./address.js";

export const alertPage = (alert) => href(pathOf("alerts", alert.alert_id));
export const intervalOf = (row) => (row.low === null || row.low === undefined || row.high === null || row.high === undefined ? null : [row.low, row.high]);

const LEVELS = { severe: 3, moderate: 2, mild: 1 };
export const drifted = (details) => Object.entries(details?.targets ?? {}).sort((a, b) => (LEVELS[b[1]] ?? 0) - (LEVELS[a[1]] ?? 0));
/** Details of the newest record of an episode that names targets. */
export const detailsOf = (records) => records.findLast((each) => drifted(each.details).length)?.details ?? {};
export const targetName = (target) => target.replace(/^feature:/, "");

const subject = (alert) => (alert.segment && alert.segment !== "all" ? `${alert.model_name} for ${alert.segment.replace("=", " ")}` : alert.model_name);

/** What an alert says in a few words. */
export const headline = (alert) => {
  const { metric, baseline, rule } = alert;
  // What is over is called by what it was, not by the figure that ended it.
  const value = alert.status === "resolved" ? alert.first_value ?? alert.value : alert.value;
  if (metric && value !== null && baseline) {
    const change = value / baseline - 1;
    return `${f.metricName(metric)} of ${subject(alert)} ${change < 0 ? "fell" : "rose"} ${f.percent(Math.abs(change))} ${change < 0 ? "below" : "above"} what it was`;
  }
  if (metric && value !== null) return `${f.metricName(metric)} of ${subject(alert)} is ${f.figure(metric, value, intervalOf(alert))}`;
  // The first clause of the record's own sentence says what no field does.
  return (alert.why ?? alert.resolution ?? `${f.capital(f.words(rule))} of ${subject(alert)}`).split(/ over the | \(|: |; |\. /)[0].replace(/\.$/, "");
};

/** The figures behind the headline. */
export const evidence = (alert) => {
  const { metric, value, baseline, threshold, n } = alert;
  if (!metric || value === null) return null;
  if (alert.status === "resolved") return `${f.figure(metric, alert.first_value ?? value)} when it fired${baseline ? `, before ${f.figure(metric, baseline)}` : ""}`;
  const pair = intervalOf(alert);
  return [`${f.figure(metric, value, pair)} `, h("span.interval", f.interval(metric, pair)), baseline ? `, before ${f.figure(metric, baseline)}` : threshold !== null ? `, alert line ${f.figure(metric, threshold)}` : "", n ? `, ${f.count(n)} rows` : ""];
};

/** How long an episode has lasted, or lasted. */
export const lasted = (alert, now) => {
  const start = f.ms(alert.starts_at), end = f.ms(alert.ends_at) ?? now;
  return end === null ? null : f.span(Math.max(0, end - start));
};
