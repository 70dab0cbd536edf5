// A part of a page that asks for its own figures, draws them, and draws them again when they change. One that
// fails leaves the others alone.
import { h, put } from "./dom.js";
import { failure, shapes } from "./states.js";

const PATIENCE = 300, NEAR = "600px";

/** Replace what a node shows; focus, open details and scroll positions stay, and changed cells tint. */
export const redraw = (body, nodes) => {
  const before = new Map([...body.querySelectorAll("[data-cell]")].map((each) => [each.dataset.cell, each.textContent]));
  const open = new Set([...body.querySelectorAll("details[data-keep][open]")].map((each) => each.dataset.keep));
  const scrolled = [...body.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
  const focus = body.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
  put(body, nodes);
  for (const each of body.querySelectorAll("details[data-keep]")) if (open.has(each.dataset.keep)) each.open = true;
  body.querySelectorAll(".scroll").forEach((each, place) => { if (scrolled[place]) each.scrollLeft = scrolled[place]; });
  if (focus) body.querySelector(`[data-focus="${CSS.escape(focus)}"]`)?.focus({ preventScroll: true });
  for (const each of body.querySelectorAll("[data-cell]")) {
    if (before.has(each.dataset.cell) && before.get(each.dataset.cell) !== each.textContent) each.classList.add("changed");
  }
};

/**
 * A panel. `load()` gives its figures; `draw(figures)` the nodes that show them; `after(figures)` runs once they
 * are in the page. `shape(figures)` names what would move the layout if it changed: then the new figures wait
 * behind a button. `uses` names the parts of the query that the figures depend on.
 */
export const panel = ({ id, title, note, tools, height = 200, kind = "panel", uses = [], load, draw, after, shape }) => {
  const body = h("div.body");
  const waiting = h("button.button", { type: "button", hidden: true, onclick: () => { waiting.hidden = true; show(held); } });
  const head = title ? h("header", h("h2", { id: `${id}-title` }, title), note ?? null, h("div.end", waiting, tools ?? null)) : null;
  const node = h(`section.${kind}`, title ? { id, "aria-labelledby": `${id}-title` } : { id }, head, body);
  let shown = null, held = null, turn = 0;

  const show = (figures) => {
    shown = figures;
    redraw(body, draw(figures));
    after?.(figures);
  };

  const reload = async (live = false) => {
    const mine = (turn += 1);
    const slow = setTimeout(() => { if (mine === turn && shown === null) put(body, shapes(height)); }, PATIENCE);
    try {
      const figures = await load();
      if (mine !== turn) return;
      const moves = live && head && shown !== null && shape && shape(shown) !== shape(figures);
      if (moves) {
        held = figures;
        waiting.textContent = "Show what is new";
        waiting.hidden = false;
      } else show(figures);
    } catch (error) {
      if (mine !== turn) return;
      // Figures that are shown stay: they were true. A live update that failed comes again.
      if (!(live && shown !== null)) {
        shown = null;
        put(body, failure(error, () => reload()));
      }
      if (error.status === undefined) throw error;
    } finally {
      clearTimeout(slow);
    }
  };

  return { node, reload, uses, redraw: () => { if (shown !== null) show(shown); }, stop: () => { turn += 1; } };
};

const near = (node) => new Promise((resolve) => {
  const watcher = new IntersectionObserver((seen) => {
    if (!seen.some((each) => each.isIntersecting)) return;
    watcher.disconnect();
    resolve();
  }, { rootMargin: NEAR });
  watcher.observe(node);
});

/** A panel whose code and figures are asked for once it comes near to what is seen, or is what the address names.
 * `load()` gives the panel, or null where there is nothing to show. */
export const later = (id, height, load) => {
  const place = h("section.panel", { id }, shapes(height));
  let made = null, stopped = false;
  const bring = async () => {
    try {
      const found = await load();
      if (stopped) return;
      if (!found) {
        place.hidden = true;
        put(place);
        return;
      }
      made = found;
      place.replaceWith(made.node);
      await made.reload();
    } catch (error) {
      put(place, failure(error, bring));
    }
  };
  const begin = async () => {
    if (location.hash !== `#${id}`) await near(place);
    if (!stopped && !made) await bring();
  };
  return {
    node: place,
    get uses() { return made?.uses ?? []; },
    reload: (live) => {
      if (made) return made.reload(live);
      // What stands further down is not waited for.
      const begun = begin();
      return location.hash === `#${id}` ? begun : null;
    },
    redraw: () => made?.redraw(),
    stop: () => { stopped = true; made?.stop(); },
  };
};
