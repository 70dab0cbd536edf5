// What stands around every page: the bar with pages, instant and theme, and the line at the foot.
import { choose, go, href, instant, modelPage, onAddress, pathOf, query, route } from "./address.js";
import { get } from "./api.js";
import { h, icon, put, s } from "./dom.js";
import * as f from "./format.js";
import { keysOn, listen, setKeys } from "./keys.js";

const HOUR = 3_600_000;
/** What the bar knows: the newest event time, open alerts by severity, and a model to go to. */
const known = { frontier: null, open: {}, model: null, state: "following" };
let title = "Driftline";
const spoken = h("p.spoken", { role: "status", "aria-live": "polite" });

const brand = () => h("a.brand", { href: href("/") },
  s("svg", { width: 30, height: 18, viewBox: "0 0 30 18", "aria-hidden": "true" },
    s("path.usual", { d: "M2 6h26" }), s("path", { d: "M2 4.500c5-4 7 3 12 3s7 7 14 7" })),
  "Driftline");

const modelHere = () => {
  const [first, name, version] = route();
  if (first === "models" && name) return { name, version };
  if (first === "registry" && name) return { name, version: known.model?.name === name ? known.model.version : null };
  return known.model;
};

const pages = () => {
  const [here = ""] = route();
  const model = modelHere();
  const open = Object.values(known.open).reduce((sum, each) => sum + each, 0);
  const worst = ["critical", "error", "warning", "info"].find((each) => known.open[each]) ?? "";
  const page = (first, target, ...text) => h("a", { href: target, "aria-current": here === first ? "page" : null }, text);
  return [
    page("", href("/"), "Overview"),
    model?.version ? page("models", href(modelPage(model.name, model.version)), h("span.name", { title: `${model.name} ${model.version}` }, model.name)) : null,
    page("alerts", href("/alerts"), "Alerts", open ? [h(`span.number.${worst}`, f.count(open)), h("span.spoken", "open")] : null),
    model ? page("registry", href(pathOf("registry", model.name)), "Registry") : null,
    page("pipeline", href("/pipeline"), "Pipeline"),
  ];
};

/** The instant that the page shows: the one it is held at, else the newest one of the data. */
export const shownInstant = () => instant() ?? known.frontier;

const moveBy = (ms) => {
  const from = shownInstant();
  if (from !== null) choose({ at: f.iso(from + ms) });
};

const clock = () => {
  const held = instant();
  const at = shownInstant();
  const state = held !== null ? "held" : known.state === "following" ? "fresh" : "old";
  const field = h("input", { type: "text", name: "instant", value: at === null ? "" : f.iso(at), spellcheck: "false", autocomplete: "off", "aria-describedby": "instant-help" });
  const wrong = h("p.small.wrong", { role: "alert", hidden: true }, "Write an instant as 2013-10-02T05:12Z.");
  const submit = (event) => {
    event.preventDefault();
    const wanted = Date.parse(field.value);
    wrong.hidden = !Number.isNaN(wanted);
    if (wrong.hidden) choose({ at: f.iso(wanted) });
  };
  const step = (text, ms) => h("button.button", { type: "button", onclick: () => moveBy(ms), "data-focus": `step ${ms}` }, text);
  const says = at === null ? "No data yet" : held === null ? `Figures are complete to ${f.whole_time(at)}` : `As of ${f.whole_time(at)}`;
  return h("details.clock",
    h("summary.button", { "aria-label": `${says}. Change the instant` }, h(`span.dot${state === "fresh" ? "" : `.${state}`}`, { "aria-hidden": "true" }),
      at === null ? null : h("span.word.quiet", held === null ? "Complete to" : "As of"), h("span", at === null ? "No data" : `${f.stamp(at)} ${f.zoneName(at)}`)),
    h("div.pop",
      h("p.small.soft", { id: "instant-help" }, held === null
        ? "The page follows the data. Choose an instant to see only what was known then."
        : "The page shows only what was known at this instant, and stays there."),
      h("form.rows", { onsubmit: submit }, h("label.field", "Instant, in UTC", field), wrong,
        h("div.buttons", h("button.button", { type: "submit" }, "Show"), held === null ? null : h("button.button", { type: "button", onclick: () => choose({ at: null }) }, "Follow the data"))),
      h("div.buttons", step("− 1 day", -24 * HOUR), step("− 1 h", -HOUR), step("+ 1 h", HOUR), step("+ 1 day", 24 * HOUR)),
      h("label.check", h("input", { type: "checkbox", checked: f.zoneChosen() === "local", onchange: (event) => { f.chooseZone(event.target.checked ? "local" : "UTC"); dispatchEvent(new Event("redraw")); } }), "Times in the zone of this device; windows stay days of UTC"),
      h("label.check", h("input", { type: "checkbox", checked: keysOn(), onchange: (event) => setKeys(event.target.checked) }), "Single keys act")));
};

const isDark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const turnTheme = () => {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("driftline-theme", theme); } catch { /* The choice lasts as long as the page. */ }
  if (query().has("theme")) choose({ theme: null }, { replace: true });
  dispatchEvent(new Event("redraw"));
};

const nav = h("nav.pages", { "aria-label": "Pages" });
const end = h("div.bar-end");

/** Draw the bar for the address and what is known. */
export const drawBar = () => {
  const opened = end.querySelector(".clock")?.open ?? false;
  // Somebody who is writing an instant is not disturbed.
  if (end.contains(document.activeElement) && document.activeElement.name === "instant") return;
  const focus = end.contains(document.activeElement) ? document.activeElement.dataset.focus ?? "clock" : null;
  put(nav, pages());
  put(end, clock(), h("button.button.square", { type: "button", "aria-label": "Change between light and dark", "data-focus": "theme", onclick: turnTheme }, icon("theme")));
  end.querySelector(".clock").open = opened;
  if (focus) (end.querySelector(`[data-focus="${focus}"]`) ?? end.querySelector("summary")).focus({ preventScroll: true });
  const open = Object.values(known.open).reduce((sum, each) => sum + each, 0);
  document.title = `${open ? `(${f.count(open)}) ` : ""}${title} · Driftline`;
};

export const setTitle = (text) => {
  title = text;
  drawBar();
};

/** Ask for what the bar shows. */
export const refreshBar = async () => {
  const asked = await Promise.allSettled([get("/alerts", { status: "open", limit: 1 }), get("/models", { limit: 1 }), get("/pipeline", {}, { timeless: true })]);
  const [alerts, models, pipeline] = asked.map((each) => each.value);
  const before = JSON.stringify(known.open);
  known.open = alerts?.n_open ?? {};
  known.frontier = f.ms(pipeline?.frontier);
  // What cannot be asked is not fresh either.
  known.state = pipeline?.source.state ?? "away";
  const first = models?.versions[0];
  known.model ??= first ? { name: first.model_name, version: first.model_version } : null;
  drawBar();
  const open = Object.values(known.open).reduce((sum, each) => sum + each, 0);
  if (before !== "{}" && before !== JSON.stringify(known.open)) spoken.textContent = `${f.plural(open, "open alert")}.`;
};

/** A model was looked at: the bar links to it from now on. */
export const remember = (name, version) => {
  known.model = { name, version };
  drawBar();
};

const foot = () => {
  const key = (text) => h("kbd", text);
  return h("footer.foot", h("span", "Times in UTC unless a zone is named"), h("span", "Intervals 95 %"),
    h("span.middle-up", "Keys: ", key("g"), " then ", ["o", "m", "a", "r", "p"].map((each) => [key(each), " "]), "pages, ", key("["), " ", key("]"), " an hour back or on, ", key("t"), " theme"),
    h("a", { href: "/schema/openapi.json" }, "API"));
};

const notice = h("div.notice", { role: "status" });
let wait = null;
/** Say that the server is not reached, since when, and when it is tried again; null takes it back. */
export const sayLost = (lost) => {
  clearInterval(wait);
  if (!lost) return void put(notice);
  const since = lost.since, text = h("span");
  const tell = () => { text.textContent = `Trying again in ${Math.max(0, Math.ceil((lost.next - Date.now()) / 1000))} s. The figures stay as they were.`; };
  tell();
  wait = setInterval(tell, 1000);
  put(notice, h("div.banner", icon("lost"), h("div", h("strong", `Connection lost at ${f.clock(since)} ${f.zoneName(since)}. `), text), h("button.button", { type: "button", onclick: lost.now }, "Now")));
};

/** Build the frame around `main`. */
export const frame = (main) => {
  put(document.body,
    h("a.skip", { href: "#main", onclick: (event) => { event.preventDefault(); main.focus(); } }, "Skip to the figures"),
    h("header.bar", h("div.bar-row", brand(), nav, end)), h("div", notice, main), foot(), spoken);
  document.addEventListener("click", (event) => {
    const opened = end.querySelector(".clock[open]");
    if (opened && !opened.contains(event.target)) opened.open = false;
  });
  onAddress(drawBar);
  const model = () => modelHere();
  listen({
    "g o": () => go(href("/")), "g a": () => go(href("/alerts")), "g p": () => go(href("/pipeline")),
    "g m": () => model()?.version && go(href(modelPage(model().name, model().version))),
    "g r": () => model() && go(href(pathOf("registry", model().name))),
    "[": () => moveBy(-HOUR), "]": () => moveBy(HOUR), t: turnTheme,
  });
  drawBar();
};
