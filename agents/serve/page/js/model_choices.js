// What a model page looks at: the parts of the query, with what the API would choose where one is left out.
import { query } from "./address.js";

export const RANGES = [["30d", "30 d"], ["90d", "90 d"], ["366d", "1 year"], ["all", "All"]];
/** The parts of the query that name a series. */
export const SERIES = ["lane", "metric", "window", "maturity", "segment"];

const oneOf = (value, options, otherwise) => (options.includes(value) ? value : otherwise);

export const chosen = (about) => {
  const asked = query();
  const lanes = about.lanes.filter((each) => each.windows.length);
  const lane = lanes.find((each) => each.lane === asked.get("lane")) ?? lanes.find((each) => each.lane === "decisions") ?? lanes[0];
  if (!lane) return null;
  return {
    lane, lanes,
    metric: oneOf(asked.get("metric"), lane.metrics, lane.judged_metric ?? lane.metrics[0]),
    window: oneOf(asked.get("window"), lane.windows, lane.judged_window ?? lane.windows.at(-1)),
    maturity: lane.maturities.length ? oneOf(asked.get("maturity"), lane.maturities, lane.judged_maturity ?? lane.maturities.at(-1)) : null,
    segment: oneOf(asked.get("segment"), lane.segments, "all"),
    range: oneOf(asked.get("range"), RANGES.map(([value]) => value), "90d"),
  };
};

/** The question for a series of a version. */
export const seriesOf = (about, choice) => ({
  model: about.model_name, version: about.version, lane: choice.lane.lane, window: choice.window, maturity: choice.maturity, segment: choice.segment,
});

/** The question for the chosen metric over the chosen range. */
export const overTime = (about, choice) => ({ ...seriesOf(about, choice), metric: choice.metric, since: choice.range === "all" ? null : choice.range, points: 400 });

/** Whether there are scores of the chosen segment. */
export const hasScores = (choice) => Boolean(choice?.lane.scored_segments.includes(choice.segment));
export const NO_SCORES = "Scores are kept of predictions that carry one and have their truth; for all rows together, not for each segment.";

const DAYS = 28;
/** The question for the scores of the last four weeks, added up. */
export const scoresOf = (about, choice) => ({
  model: about.model_name, version: about.version, segment: choice.segment, maturity: choice.maturity, windows: DAYS, rows: query().get("rows") ?? "all",
});
