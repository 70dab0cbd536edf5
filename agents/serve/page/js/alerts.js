// All episodes of alerts, the newest first.
import { choose, href, modelPage, query } from "./address.js";
import { alertPage, evidence, headline, lasted } from "./alert_words.js";
import { get } from "./api.js";
import { choice, h, picker, widthOf } from "./dom.js";
import { episodeLanes, episodeLegend } from "./episode_lanes.js";
import * as f from "./format.js";
import { fineTag, severityTag, statusText, time } from "./marks.js";
import { now } from "./now.js";
import { panel } from "./panel.js";
import { nothing } from "./states.js";

const STATES = [["all", "All"], ["open", "Open"], ["resolved", "Resolved"]];
const ask = () => {
  const status = query().get("status");
  return get("/alerts", { status: ["open", "resolved"].includes(status) ? status : "all", model: query().get("model"), limit: 200 });
};

export const view = () => {
  const uses = ["status", "model"];
  const first = panel({ kind: "lead", height: 60, uses, load: () => get("/alerts", { status: "all", limit: 1 }),
    draw: (answer) => {
      const open = Object.values(answer.n_open).reduce((sum, each) => sum + each, 0);
      const worst = ["critical", "error", "warning", "info"].find((each) => answer.n_open[each]);
      return [h("p.about", worst ? severityTag(worst) : fineTag("No open alert"), h("span", `${f.plural(answer.page.n, "episode")} so far`)), h("h1", open ? f.capital(f.plural(open, "open alert")) : "No open alert"),
        h("p", "Each row is one episode, from firing to resolved. Open one to see what happened, where, and what to do.")];
    } });
  const lanes = panel({ id: "time", title: "Over time", height: 120, uses, load: () => Promise.all([ask(), now()]),
    draw: ([answer, at]) => {
      if (!answer.alerts.length) return nothing("No alert here", query().has("model") || query().has("status") ? "None fits this choice." : "No alert has fired so far.");
      const from = Math.min(...answer.alerts.map((each) => f.ms(each.starts_at))), until = Math.max(at ?? 0, ...answer.alerts.map((each) => f.ms(each.ends_at) ?? f.ms(each.at)));
      const room = Math.max(2 * f.DAY, (until - from) * 0.04);
      return [episodeLanes(answer.alerts, from - room, until + room, widthOf(lanes.node, 280) - (innerWidth > 760 ? 48 : 32), { now: at }), episodeLegend()];
    } });
  const list = panel({ id: "episodes", title: "Episodes", height: 300, uses, load: () => Promise.all([ask(), now(), get("/models", { limit: 500 })]),
    draw: ([answer, at, models]) => {
      const names = [...new Set(models.versions.map((each) => each.model_name))];
      const controls = h("div.controls.gap", choice("Show", "status", STATES, query().get("status") ?? "all", (value) => choose({ status: value === "all" ? null : value })),
        names.length > 1 ? picker("Model", "model", [["", "all models"], ...names.map((each) => [each, each])], query().get("model") ?? "", (value) => choose({ model: value || null })) : null);
      if (!answer.alerts.length) return [controls, nothing("No alert here", "None fits this choice.")];
      return [controls, h("table.table.cards", h("caption.spoken", "Alert episodes, the newest first"),
        h("thead", h("tr", ["Severity", "What", "Model", "Fired", "Lasted", "Status"].map((text) => h("th", { scope: "col" }, text)))),
        h("tbody", answer.alerts.map((each) => h("tr",
          h("td", { "data-label": "Severity" }, severityTag(each.severity)),
          h("th.full", { scope: "row" }, h("a", { href: alertPage(each) }, headline(each)), h("span.under", evidence(each) ?? f.words(each.rule))),
          h("td", { "data-label": "Model" }, h("a", { href: href(modelPage(each.model_name, each.model_version)) }, each.model_name), h("span.quiet", ` ${each.model_version}`)),
          h("td.keep", { "data-label": "Fired" }, time(f.ms(each.starts_at))),
          h("td.keep", { "data-label": "Lasted" }, lasted(each, at)),
          h("td", { "data-label": "Status" }, each.status === "resolved" ? h("span.quiet", "resolved") : h("strong", statusText(each.status)))))),
        ), answer.page.n > answer.alerts.length ? h("p.small.quiet.over", `The newest ${f.count(answer.alerts.length)} of ${f.count(answer.page.n)} episodes.`) : null];
    },
    shape: ([answer]) => answer.alerts.map((each) => each.alert_id).join() });
  return { title: "Alerts", panels: [first, lanes, list], nodes: [first.node, lanes.node, list.node] };
};
