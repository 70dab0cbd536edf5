// Single keys, where nobody is typing: `g` and a letter go to a page, `[` and `]` move the instant by an hour.

const KEY = "driftline-keys";
let on = true;
try { on = localStorage.getItem(KEY) !== "off"; } catch { /* Storage may be off. */ }

export const keysOn = () => on;
export const setKeys = (wanted) => {
  on = wanted;
  try { localStorage.setItem(KEY, on ? "on" : "off"); } catch { /* The choice lasts as long as the page. */ }
};

const typing = (node) => node instanceof HTMLElement && (node.isContentEditable || /^(INPUT|SELECT|TEXTAREA)$/.test(node.tagName)) && node.type !== "radio" && node.type !== "range" && node.type !== "checkbox";

/** Call `acts[key]()`; keys of pages are "g o" and the like. */
export const listen = (acts) => {
  let first = null;
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      const opened = document.querySelector(".clock[open]");
      if (opened) { opened.open = false; opened.querySelector("summary").focus(); }
      return;
    }
    if (!on || event.metaKey || event.ctrlKey || event.altKey || typing(event.target)) return;
    const key = first && Date.now() - first < 1500 ? `g ${event.key}` : event.key;
    first = event.key === "g" ? Date.now() : null;
    if (acts[key]) {
      event.preventDefault();
      acts[key]();
    }
  });
};
