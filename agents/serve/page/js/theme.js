// A classic script in the head: the theme is chosen before the first paint.
(() => {
  let chosen = new URLSearchParams(location.search).get("theme");
  try { chosen ??= localStorage.getItem("driftline-theme"); } catch { /* Storage may be off. */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
