// The chosen metric by day and rung.
import { get } from "./api.js";
import { h } from "./dom.js";
import * as f from "./format.js";
import { chosen } from "./model_choices.js";
import { panel } from "./panel.js";
import { ripeningTable } from "./ripening_table.js";
import { nothing } from "./states.js";

export const ripeningPanel = ({ name, version, about }) => panel({ id: "ripening", title: "Ripening", note: h("span.quiet.small", "by window, as the truth arrives"), height: 380, uses: ["metric", "segment", "lane"],
  load: async () => {
    const now = chosen(await about());
    if (!now?.lane.maturities.length) return null;
    return get("/ripening", { model: name, version, metric: now.metric, segment: now.segment, limit: 10 });
  },
  draw: (answer) => {
    if (!answer) return nothing("This lane does not ripen", "Only figures of predictions wait for their truth: choose to count by prediction.");
    if (!answer.rows.length) return nothing("No complete window yet", "Rows appear here once the first window is over.");
    return [h("p.small.quiet.gap", `${f.metricName(answer.metric)}, each compared with what was usual at the same maturity`), ripeningTable(answer, 8)];
  },
  shape: (answer) => answer?.rows[0]?.window_start ?? "" });
