// What was in force, when, and why: bands over time, the state at an instant, and every change.
import { choose, href, modelPage, query } from "./address.js";
import { get } from "./api.js";
import { choice, graphic, h, picker, put, s, widthOf } from "./dom.js";
import * as f from "./format.js";
import { monthsOf, time } from "./marks.js";
import { now } from "./now.js";
import { panel } from "./panel.js";
import { remember } from "./shell.js";
import { command, nothing } from "./states.js";

const EVENTS = {
  register: "Registered", promote: "Promoted", record_reference: "Reference recorded", record_baseline: "Baseline recorded", set_threshold: "Threshold set",
  archive: "Archived", rollback: "Rolled back", rejected: "Rejected", set_labels: "Labels set", set_rule_level: "Rule level set", delete: "Deleted", update: "Updated",
};
const eventName = (event) => EVENTS[event] ?? f.capital(f.words(event));

const plain = (value) => {
  if (value === null || value === undefined) return "none";
  if (typeof value === "string") return /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value) ? f.whole_time(f.ms(value)) : value;
  if (typeof value !== "object") return `${value}`;
  if (value.metrics) return [Object.entries(value.metrics).filter(([, number]) => number !== null).slice(0, 3).map(([name, number]) => `${f.metricName(name)} ${f.figure(name, number)}`).join(", "), value.n ? `${f.count(value.n)} outcomes` : null].filter(Boolean).join(", ");
  if (value.labels) return `${value.labels.join(", ")}${value.positive_label ? `; positive: ${value.positive_label}` : ""}`;
  const text = JSON.stringify(value);
  return text.length > 120 ? `${text.slice(0, 120)}…` : text;
};
// The name of a recorded reference holds its span.
const reference = (id) => {
  const [, from, until] = /@(\d{4}-[^/]+Z)\/(\d{4}-[^/]+Z)$/.exec(id ?? "") ?? [];
  return from ? `${f.date(f.ms(from))} ${f.year(f.ms(from))} to ${f.date(f.ms(until) - 1)} ${f.year(f.ms(until) - 1)}` : id;
};
const fieldName = (field) => f.words(field).replace("baselines.-", "baseline of traffic").replace("baselines.", "baseline at ");

const shownValue = (each, value) => (each.field === "reference_id" && value ? reference(value) : plain(value));
const diffs = (changes) => changes.map((each) => h("div", h("span.quiet", fieldName(each.field)), h("del", shownValue(each, each.before)), h("span", { "aria-label": "becomes", role: "img" }, "→"), h("ins", shownValue(each, each.after))));

// Runs of recorded baselines fold into one entry.
const folded = (changes) => {
  const found = [];
  for (const each of changes) {
    const last = found.at(-1);
    if (each.event === "record_baseline" && last?.[0].event === "record_baseline" && last[0].model_version === each.model_version) last.push(each);
    else found.push([each]);
  }
  return found;
};

// A field of each version over time: spans of its values, from the changes in the order of time.
const bands = (changes, field) => {
  const open = new Map(), found = [];
  for (const each of changes.toReversed()) {
    if (!each.accepted || each.dry_run) continue;
    for (const change of each.changes) {
      if (change.field !== field) continue;
      const at = f.ms(each.at), before = open.get(change.model_version);
      if (before) before.until = at;
      const band = { version: change.model_version, value: change.after, from: at, until: null };
      open.set(change.model_version, band);
      found.push(band);
    }
  }
  return found.filter((each) => each.value !== null);
};

export const view = ([name]) => {
  // `at` is what the whole page may know; `asof` is the instant that the registry is looked at within it.
  const asof = () => { const at = Date.parse(query().get("asof") ?? ""); return Number.isNaN(at) ? null : at; };
  const history = () => get("/registry/changes", { model: name, limit: 500 });
  const proposals = () => get("/recommendations", { model: name, limit: 200 });

  const first = panel({ kind: "lead", height: 60, load: history,
    draw: (answer) => [h("p.about", h("span", "Registry"), h("span", answer.changes.length ? `revision ${answer.changes[0].revision}` : "no change yet")),
      h("h1", name, " ", h("span.quiet", "what was in force, and why")), h("p", "Every change names who asked, what it was before and after, and from which frontier on figures used it.")] });

  const force = panel({ id: "force", title: "In force", height: 200, uses: ["asof"],
    load: async () => {
      const [changes, newest, proposed] = await Promise.all([history(), now(), proposals()]);
      const until = newest ?? Math.max(0, ...changes.changes.map((each) => f.ms(each.at)));
      const at = Math.min(asof() ?? until, until);
      const state = changes.changes.length ? await get("/registry", { model: name, at: new Date(at).toISOString() }) : null;
      return { changes: changes.changes, until, at, state, proposed: proposed.recommendations.map((each, place) => ({ ...each, opened_at: proposed.opened_at[place] })) };
    },
    draw: ({ changes, until, at, state, proposed }) => {
      if (!changes.length) return nothing("Nothing is registered under this name", "Register the first version:", command(`driftline models register ${/^[\w.-]+$/.test(name) ? name : "NAME"} VERSION`));
      const begin = Math.min(...changes.map((each) => f.ms(each.at))), width = widthOf(force.node, 280) - (innerWidth > 760 ? 48 : 32);
      const last = Math.max(until, begin + f.DAY), x = (ms) => 1 + ((Math.max(begin, Math.min(last, ms)) - begin) / (last - begin)) * (width - 2);
      const versions = [...new Set(changes.flatMap((each) => each.changes.map((change) => change.model_version)).filter(Boolean))];
      const lanes = versions.flatMap((version) => [["stage", version], ["threshold", version]]).filter(([field, version]) => bands(changes, field).some((each) => each.version === version));
      const months = monthsOf(begin, last), every = Math.ceil(months.length / Math.max(2, Math.floor(width / 70))), height = lanes.length * 46 + 26;
      const place = (band, y) => {
        const from = x(band.from), to = x(band.until ?? until), text = `${plain(band.value)}`;
        return s("g", s("title", `${text}: ${f.whole_time(band.from)}${band.until ? ` to ${f.whole_time(band.until)}` : ", in force"}`), s(`rect.area${band.value === "production" ? "" : ".plain"}`, { x: from, width: Math.max(2, to - from - 1), y, height: 22, rx: 4 }), to - from > text.length * 6.4 + 12 ? s("text.ink", { x: from + 8, y: y + 15 }, text) : null);
      };
      const proposal = (each, y) => {
        const from = x(f.ms(each.opened_at)), to = Math.max(from + 8, x(Math.min(f.ms(each.expires_at) ?? until, until))), text = `${each.params.threshold}`;
        return s("a", { href: `${href(modelPage(name, each.model_version), { threshold: each.params.threshold })}#threshold`, "aria-label": `Proposed threshold ${text}` }, s("title", each.reason), s("rect.proposed", { x: from, width: to - from, y, height: 22, rx: 4 }), to - from > text.length * 6.4 + 8 ? s("text.ink", { x: from + 6, y: y + 15 }, text) : null);
      };
      const thresholds = proposed.filter((each) => each.action === "set_threshold");
      const picture = graphic(width, height, `Stages and thresholds of ${name} over time`,
        lanes.map(([field, version], row) => { const y = row * 46 + 16; return [s("text", { x: 0, y: y - 5 }, `${field}${versions.length > 1 ? ` of ${version}` : ""}`), bands(changes, field).filter((each) => each.version === version).map((each) => place(each, y)),
          field === "threshold" ? thresholds.filter((each) => each.model_version === version).map((each) => proposal(each, y)) : null]; }),
        months.map((ms, number) => (number % every ? null : [s("line.axis", { x1: x(ms), x2: x(ms), y1: height - 24, y2: height - 18 }), s("text", { x: x(ms) + 3, y: height - 6 }, f.month(ms))])),
        s("line.cut", { x1: x(at), x2: x(at), y1: 2, y2: height - 18 }));
      const slider = h("input.slider", { type: "range", min: begin, max: last, step: 3_600_000, value: at, "data-focus": "asof", "aria-label": "As of", "aria-valuetext": f.whole_time(at),
        oninput: () => slider.setAttribute("aria-valuetext", f.whole_time(Number(slider.value))),
        onchange: () => choose({ asof: Number(slider.value) >= last - 3_600_000 ? null : f.iso(Number(slider.value)) }, { replace: true }) });
      const fact = (title, value) => h("div", h("dt", title), h("dd", value ?? "none"));
      return [picture, slider,
        h("p.small.quiet", `As of ${f.whole_time(at)}`, asof() === null ? "" : [" ", h("button.link.accent", { type: "button", "data-focus": "back", onclick: () => choose({ asof: null }) }, "Back to the newest")]),
        state.entries.length ? state.entries.map((entry) => h("dl.facts.over", fact("Version", entry.model_version), fact("Stage", entry.stage), fact("Threshold", entry.threshold), fact("Reference", reference(entry.reference_id)), fact("Baselines", Object.keys(entry.baselines ?? {}).filter((each) => each !== "-").join(", ") || null), fact("Deployed", entry.deployed_at ? f.stamp(f.ms(entry.deployed_at)) : "not yet"), fact("Revision", entry.revision)))
          : h("p.over", "Nothing was registered yet at this instant."),
        thresholds.length ? h("div.legend", h("span", h("i.key.proposed"), "proposed threshold, not applied"), h("span", "upright line: the instant looked at")) : null];
    } });

  const list = panel({ id: "changes", title: "Changes", note: h("span.quiet.small", "the newest first"), height: 320, uses: ["asof"],
    load: () => Promise.all([history(), now()]),
    draw: ([{ changes, page }, until]) => {
      const at = asof() ?? until ?? Infinity;
      if (!changes.length) return h("p.quiet", "No change yet.");
      return [h("ol.course.wide", folded(changes).map((group) => {
        const [newest] = group, oldest = group.at(-1), later = f.ms(oldest.at) > at, moved = group.flatMap((each) => each.changes);
        const when = f.ms(newest.at), began = f.ms(oldest.at);
        return h(`li${later ? ".later" : ""}`, time(when, group.length > 1 && f.date(when) !== f.date(began) ? `${f.date(began)} to ${f.date(when)}` : f.stamp(when)),
          h(`span.bead.${!newest.accepted ? "critical" : ["promote", "register", "set_threshold", "rollback"].includes(newest.event) ? "main" : "plain"}`),
          h("div", h("div", h("strong", group.length > 1 ? `${group.length} baselines recorded` : eventName(newest.event)), h("span.small.quiet", ` · ${newest.model_version || "the model"} · revision ${group.length > 1 ? `${oldest.revision} to ${newest.revision}` : newest.revision} · by ${newest.requested_by}${newest.dry_run ? " · dry run" : ""}${later ? " · later than the chosen instant" : ""}`)),
            newest.error ? h("p.small.soft", newest.error) : null, newest.reason && group.length === 1 ? h("p.small.soft", newest.reason) : null,
            newest.cause ? h("p.small.soft", `because of ${newest.cause}`) : null,
            newest.frontier ? h("p.tiny.quiet", newest.frontier.startsWith("1970") ? "in use from the first record on" : `in use from frontier ${f.stamp(f.ms(newest.frontier))} ${f.zoneName(f.ms(newest.frontier))} on`) : null),
          moved.length > 5 || group.length > 1 ? h("details.diffs", { "data-keep": newest.command_id }, h("summary.small", `What changed, ${f.plural(moved.length, "field")}`), diffs(moved)) : h("div.diffs", diffs(moved)));
      })), page.n > changes.length ? h("p.small.quiet", `The newest ${f.count(changes.length)} of ${f.count(page.n)} changes.`) : null];
    },
    shape: ([answer]) => answer.changes[0]?.command_id ?? "" });
  remember(name, null);
  return { title: `Registry of ${name}`, panels: [first, force, list], nodes: [first.node, force.node, list.node] };
};
