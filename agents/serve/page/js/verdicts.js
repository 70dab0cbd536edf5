// How a value lies to the usual range of its baseline, in words: the API judges, the page only says it.
import { h } from "./dom.js";
import * as f from "./format.js";

const WHY_NOT = {
  no_baseline: "no baseline yet, so no verdict",
  covered_in_part: "window only covered in part, so no verdict",
  provisional: "window still open, so no verdict",
};

/** Whether a verdict is bad, good, or neither. */
export const tone = (verdict) => (verdict === "worse" || verdict === "better" ? verdict : "");

/** A verdict with the difference that it rests on. */
export const verdictText = (metric, verdict, value, baseline) => {
  const difference = value === null || baseline === null || baseline === undefined ? null : value - baseline;
  if (WHY_NOT[verdict]) return h("span.verdict", WHY_NOT[verdict]);
  if (difference === null) return h("span.verdict", "no verdict");
  const size = f.isDuration(metric) ? `${difference < 0 ? "−" : "+"}${f.span(Math.abs(difference))}` : f.signed(difference);
  if (verdict === "usual") return h("span.verdict", `${size}, in the usual range`);
  const side = difference < 0 ? "below" : "above";
  return h(`span.verdict.${tone(verdict)}`, `${difference < 0 ? "▼" : "▲"} ${size}, ${side} the usual range`);
};
