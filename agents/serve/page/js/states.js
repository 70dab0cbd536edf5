// What stands where figures would: loading, nothing yet, an error. Each says what is known and what comes next.
import { h, icon } from "./dom.js";

/** Still shapes of about the final size. */
export const shapes = (height) => {
  const block = h("div.shape");
  block.style.setProperty("height", `${height}px`);
  const line = h("div.shape");
  line.style.setProperty("width", "40%");
  return h("div.rows", { "aria-busy": "true" }, h("span.spoken", "Loading"), line, block);
};

/** Nothing to show: what is awaited, and what can be done. */
export const nothing = (title, ...more) => h("div.empty", h("strong", title), more.map((each) => (typeof each === "string" ? h("p.soft", each) : each)));

export const command = (text) => h("code.command", { tabindex: "0" }, text);

/** A failed panel; the rest of the page stays. */
export const failure = (error, again) => {
  const refused = error.status === 401 || error.status === 403;
  return h("div.banner.error", { role: "alert" }, icon("warning"),
    h("div", h("strong", refused ? "You may not read this. " : "These figures did not load. "),
      error.status ? `${error.status}: ${error.message}.` : `${error.message}.`, refused ? "" : " The rest of the page is fine."),
    again ? h("button.button", { type: "button", onclick: again }, "Try again") : null);
};
