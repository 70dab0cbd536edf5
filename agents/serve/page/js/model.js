// One version of a model: how good, whether the early figure was right, which threshold, which segment, what drifted.
import { go, href, modelPage } from "./address.js";
import { get } from "./api.js";
import { h, picker } from "./dom.js";
import * as f from "./format.js";
import { fineTag, severityTag, time } from "./marks.js";
import { later, panel } from "./panel.js";
import { performancePanel } from "./performance.js";
import { remember } from "./shell.js";

export const view = ([name, version]) => {
  const about = () => get("/model", { model: name, version: version ?? null });
  const first = panel({ kind: "lead", height: 60,
    load: () => Promise.all([about(), get("/alerts", { model: name, version, status: "open", limit: 50 })]),
    draw: ([facts, alerts]) => {
      remember(facts.model_name, facts.version);
      const mine = facts.versions.find((each) => each.model_version === facts.version) ?? {};
      const worst = ["critical", "error", "warning", "info"].find((each) => alerts.n_open[each]);
      const number = Object.values(alerts.n_open).reduce((sum, each) => sum + each, 0);
      const positive = facts.labels?.positive_label ?? facts.labels?.settled?.positive_label;
      const since = mine.deployed_at ?? mine.registered_at;
      return [
        h("p.about", worst ? h("a", { href: href("/alerts", { model: name, status: "open" }), "aria-label": f.plural(number, "open alert") }, severityTag(worst)) : fineTag("No open alert"),
          mine.stage ? h("span", mine.stage, since ? [" since ", time(f.ms(since), f.date(f.ms(since)))] : null) : h("span", "not registered"),
          mine.threshold !== null && mine.threshold !== undefined ? h("span", `threshold ${mine.threshold}`) : null, positive ? h("span", `positive: ${positive}`) : null,
          h("span", `${f.count(mine.n_predictions)} predictions`), mine.owner ? h("span", `owner: ${mine.owner}`) : null),
        h("h1", name, " ", h("span.quiet", facts.version)),
        facts.versions.length > 1 ? h("div.controls", picker("Version", "version", facts.versions.map((each) => [each.model_version, `${each.model_version}${each.stage ? `, ${each.stage}` : ""}`]), facts.version,
          (other) => go(`${modelPage(name, other)}${location.search}`))) : null];
    } });
  const shared = { name, version, about };
  const part = (id, height, load, make) => later(id, height, async () => (await load())[make](shared));
  const parts = {
    performance: performancePanel(about),
    ripening: part("ripening", 420, () => import("./ripening.js"), "ripeningPanel"),
    early: part("early", 340, () => import("./early.js"), "earlyPanel"),
    threshold: part("threshold", 460, () => import("./threshold.js"), "thresholdPanel"),
    curves: part("curves", 360, () => import("./curves.js"), "curvesPanel"),
    matrix: part("matrix", 240, () => import("./matrix.js"), "matrixPanel"),
    segments: part("segments", 420, () => import("./segments.js"), "segmentsPanel"),
    drift: part("drift", 340, () => import("./drift.js"), "driftPanel"),
    delays: part("delays", 300, () => import("./traffic.js"), "delayPanel"),
    traffic: part("traffic", 300, () => import("./traffic.js"), "trafficPanel"),
    compare: part("compare", 0, () => import("./compare.js"), "comparePanel"),
  };
  return {
    title: `${name} ${version ?? ""}`.trim(),
    panels: [first, ...Object.values(parts)],
    nodes: [first.node, parts.performance.node, h("div.two", parts.ripening.node, parts.early.node), parts.threshold.node, parts.curves.node,
      parts.segments.node, parts.drift.node, h("div.even", parts.matrix.node, parts.delays.node), parts.traffic.node, parts.compare.node],
  };
};
