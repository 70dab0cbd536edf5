// The page of an address: the frame, the view that the path names, and what moves them.
import { onAddress, query, route } from "./address.js";
import { forget } from "./api.js";
import { h, put } from "./dom.js";
import { follow } from "./live.js";
import { drawBar, frame, refreshBar, sayLost, setTitle } from "./shell.js";
import { nothing } from "./states.js";

const main = h("main", { id: "main", tabindex: "-1" });
let view = null, turn = 0;

const views = {
  undefined: () => import("./overview.js"),
  models: () => import("./model.js"),
  alerts: (parts) => (parts.length ? import("./alert.js") : import("./alerts.js")),
  registry: () => import("./registry.js"),
  pipeline: () => import("./pipeline.js"),
};

const stop = () => view?.panels.forEach((each) => each.stop());
const reload = (live = false) => Promise.all((view?.panels ?? []).map((each) => each.reload(live)));

const open = async (first = false) => {
  const mine = (turn += 1);
  main.setAttribute("aria-busy", "true");
  const [name, ...parts] = route();
  stop();
  view = null;
  if (!Object.hasOwn(views, `${name}`)) {
    setTitle("No such page");
    main.setAttribute("aria-busy", "false");
    put(main, h("div.lead", h("h1", "No such page"), nothing("Nothing is at this address.", h("p", h("a", { href: "/" }, "Overview")))));
    return;
  }
  const load = await views[name](parts);
  if (mine !== turn) return;
  view = load.view(parts);
  put(main, view.nodes);
  setTitle(view.title);
  await reload();
  if (mine !== turn) return;
  main.setAttribute("aria-busy", "false");
  // A new page begins at its heading; links into a page end at their panel.
  const target = location.hash ? document.getElementById(location.hash.slice(1)) : null;
  if (target) target.scrollIntoView();
  else if (!first) scrollTo(0, 0);
  if (!first) main.focus({ preventScroll: true });
};

let before = query();
onAddress((kind) => {
  const now = query(), last = before;
  before = now;
  const differs = (name) => now.get(name) !== last.get(name);
  if (kind === "page") open();
  else (view?.panels ?? []).forEach((each) => { if (differs("at") || each.uses.some(differs)) each.reload(); });
  if (differs("at")) refreshBar();
});
addEventListener("redraw", () => {
  drawBar();
  view?.panels.forEach((each) => each.redraw());
});
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  view?.panels.forEach((each) => each.redraw());
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("redraw")));

frame(main);
open(true);
refreshBar();
follow({
  // Held at an instant, nothing new can be seen.
  state: sayLost,
  changed: () => { if (query().has("at")) return; forget(); refreshBar(); reload(true); },
});
