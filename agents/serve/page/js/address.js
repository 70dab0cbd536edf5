// What is looked at is in the address: a page, and a query that its controls change.

const subscribers = new Set();
const tell = (kind) => subscribers.forEach((each) => each(kind));

/** Call `each("page" | "query")` after every change of the address. */
export const onAddress = (each) => subscribers.add(each);

export const query = () => new URLSearchParams(location.search);

/** The instant looked at, in ms since the epoch; null if the page follows the clock. */
export const instant = () => {
  const at = Date.parse(query().get("at") ?? "");
  return Number.isNaN(at) ? null : at;
};

/** The address of a page; the instant goes along. */
export const href = (path, changes = {}) => {
  const wanted = new URLSearchParams();
  const at = query().get("at");
  if (at) wanted.set("at", at);
  for (const [name, value] of Object.entries(changes)) if (value !== null && value !== undefined) wanted.set(name, value);
  const text = `${wanted}`.replaceAll("%3A", ":").replaceAll("%2F", "/");
  return text ? `${path}?${text}` : path;
};

/** Path of a page whose parts are names. */
export const pathOf = (...parts) => `/${parts.map(encodeURIComponent).join("/")}`;

export const modelPage = (name, version) => pathOf("models", name, version);

const move = (target, replace) => {
  const before = location.pathname;
  history[replace ? "replaceState" : "pushState"](null, "", target);
  tell(location.pathname === before ? "query" : "page");
};

/** Go to an address of this site. */
export const go = (target) => move(target, false);

/** Change parts of the query; null takes a part away. Choices push an entry, a slider replaces it. */
export const choose = (changes, { replace = false } = {}) => {
  const wanted = query();
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined) wanted.delete(name);
    else wanted.set(name, value);
  }
  const text = `${wanted}`.replaceAll("%3A", ":").replaceAll("%2F", "/");
  move(text ? `${location.pathname}?${text}` : location.pathname, replace);
};

/** Parts of the path, as names; a part that is no valid escape stays as it is. */
export const route = () => location.pathname.split("/").filter(Boolean).map((part) => {
  try { return decodeURIComponent(part); } catch { return part; }
});

let shown = location.pathname;
addEventListener("popstate", () => {
  const same = location.pathname === shown;
  tell(same ? "query" : "page");
});
onAddress(() => { shown = location.pathname; });

// Links of this site change the page without loading it anew.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  if (link.origin !== location.origin || link.target || link.hasAttribute("download")) return;
  const target = new URL(link.href);
  if (target.pathname.startsWith("/api/") || target.pathname.startsWith("/schema")) return;
  if (target.pathname === location.pathname && target.search === location.search && target.hash) return;
  event.preventDefault();
  go(target.pathname + target.search + target.hash);
});
