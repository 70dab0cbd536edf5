// Whether everything is counted: the source, how far figures have come, and rows that do not count.
import { href, modelPage } from "./address.js";
import { targetName } from "./alert_words.js";
import { get } from "./api.js";
import { h, icon } from "./dom.js";
import { figuresTable } from "./figures_table.js";
import * as f from "./format.js";
import { fineTag, time } from "./marks.js";
import { panel } from "./panel.js";

const bytes = (number) => (number === null || number === undefined ? "–" : number < 1e6 ? `${f.count(number / 1e3)} kB` : number < 1e9 ? `${(number / 1e6).toFixed(1)} MB` : `${(number / 1e9).toFixed(2)} GB`);
const heads = (...texts) => h("thead", h("tr", texts.map((text) => h("th", { scope: "col" }, text))));

const STATES = { following: "Everything that has come is read", catching_up: "Catching up with what is new", away: "The source cannot be read" };

export const view = () => {
  const ask = () => get("/pipeline", {}, { timeless: true });
  const first = panel({ kind: "lead", height: 60, load: ask,
    draw: ({ source, frontier }) => [h("p.about", source.state === "following" ? fineTag("Following") : h("span.tag.warning", icon(source.state === "away" ? "lost" : "clock"), source.state === "away" ? "Away" : "Catching up"), h("span", source.place)),
      h("h1", STATES[source.state] ?? source.state),
      h("p", frontier ? ["The newest figures are complete at ", time(f.ms(frontier), f.whole_time(f.ms(frontier))), "."] : "No figure is complete yet.", source.problem ? ` Since ${f.whole_time(f.ms(source.since))}: ${source.problem}.` : "", source.changed_at ? ` Something new came last at ${f.whole_time(f.ms(source.changed_at))}, by the clock of the server.` : "")] });
  const models = panel({ id: "models", title: "How far figures have come", height: 160, load: ask,
    draw: ({ models: list }) => (list.length ? h("div.scroll", h("table.table", h("caption.spoken", "Model versions, the one furthest behind first"), heads("Model", "Complete at", "Behind the others"),
      h("tbody", list.slice(0, 100).map((each) => h("tr", h("th", { scope: "row" }, h("a", { href: href(modelPage(each.model_name, each.model_version)) }, each.model_name), h("span.quiet", ` ${each.model_version}`)), h("td.keep", time(f.ms(each.frontier))), h("td", each.lag_seconds ? f.span(1000 * each.lag_seconds) : h("span.quiet", "not behind"))))))) : h("p.quiet", "No figure yet.")) });
  const quality = panel({ id: "quality", title: "Rows that do not count, or not everywhere", height: 200, load: () => get("/quality"),
    draw: (answer) => [answer.uncounted.length ? h("div.scroll", h("table.table", h("caption.spoken", "Rows that do not count"), heads("Rows", "What", "What it means", "What to do"),
      h("tbody", answer.uncounted.map((each) => h("tr", h("th.right.keep", { scope: "row" }, f.count(each.rows)), h("td", h("strong", f.words(each.reason)), each.is_usual ? [" ", h("span.tag", "usual")] : null, each.example ? h("div.tiny.quiet", each.example) : null, h("div.tiny.quiet", each.topic, each.model_name ? ` · ${each.model_name} ${each.model_version ?? ""}` : "")), h("td.small.soft", f.capital(each.meaning)), h("td.small.soft", f.capital(each.remedy))))))) : h("p", fineTag("All counted"), " No row was late, repeated, invalid or set aside."),
    answer.since ? h("p.small.quiet.over", `Counters of windows ${f.during(f.ms(answer.since), f.ms(answer.until))}; rejected rows since the beginning.`) : null, answer.rejected_note ? h("p.small.quiet.over", answer.rejected_note) : null] });
  const features = panel({ id: "features", title: "Missing and unseen values", height: 160, load: () => get("/quality"),
    draw: ({ features: list }) => (list.length ? h("div.scroll", h("table.table", h("caption.spoken", "Features with missing or unseen values"), heads("Feature", "Model", "What", "Share now", "In the reference", "Level"),
      h("tbody", list.map((each) => h("tr", h("th", { scope: "row" }, targetName(each.target)), h("td", `${each.model_name} ${each.model_version}`), h("td", each.method === "unseen" ? `unseen values${Object.keys(each.unseen).length ? `: ${Object.keys(each.unseen).slice(0, 5).join(", ")}` : ""}` : "missing values"), h("td.keep", f.percent(each.current_share, 1)), h("td.keep", f.percent(each.reference_share, 1)), h("td", each.level === "insufficient_data" ? "no verdict" : each.level, each.reason ? h("div.tiny.quiet", each.reason) : null)))))) : h("p.quiet", "No drift test looks at features yet.")) });
  const partitions = panel({ id: "partitions", title: "Partitions", height: 160, load: ask,
    draw: (answer) => [answer.partitions.length ? h("div.scroll", h("table.table", h("caption.spoken", "Partitions of the inputs"), heads("Topic", "Partition", "Read by", "Behind"), h("tbody", answer.partitions.map((each) => h("tr", h("th", { scope: "row" }, each.topic), h("td", each.partition), h("td", each.kind), h("td", f.count(each.lag))))))) : null,
      answer.broker_note ? h("p.small.quiet", `${f.capital(answer.broker_note)}.`) : null,
      Object.keys(answer.source.unreadable).length ? h("p.small.soft", `Not readable: ${Object.entries(answer.source.unreadable).map(([topic, number]) => `${f.count(number)} values of ${topic}`).join(", ")}.`) : null,
      h("p.small.quiet", `The index of this server has ${bytes(answer.index_bytes)}.`),
      figuresTable("How far topics were read", ["Topic", "Partition", "Position"], () => answer.topics.map((each) => [each.topic, each.partition, f.count(each.position)]))] });
  return { title: "Pipeline", panels: [first, models, quality, features, partitions], nodes: [first.node, h("div.even", models.node, partitions.node), quality.node, features.node] };
};
