// One stream of events for the page: it says that something changed, and the panels ask for it. At most one
// round of questions a second, none in a hidden tab; what was missed in a gap comes with the next round.

const LEAST_PAUSE = 1000;

/** Follow the server: `changed()` after news, `state(lost)` when the stream breaks, and with null when it is back. */
export const follow = ({ changed, state }) => {
  let due = false, timer = null, last = 0, lostAt = null;
  const run = () => {
    timer = null;
    if (document.hidden || !due) return;
    due = false;
    last = Date.now();
    changed();
  };
  const news = () => {
    due = true;
    if (!document.hidden) timer ??= setTimeout(run, Math.max(0, last + LEAST_PAUSE - Date.now()));
  };
  document.addEventListener("visibilitychange", () => { if (!document.hidden && due) news(); });

  let source = null, retry = null, wait = 2000;
  const connect = () => {
    clearTimeout(retry);
    source?.close();
    source = new EventSource("/api/events");
    for (const kind of ["changed", "reset", "source"]) source.addEventListener(kind, news);
    source.addEventListener("hello", () => {
      wait = 2000;
      state(null);
      if (lostAt !== null) news();
      lostAt = null;
    });
    source.onerror = () => {
      // The browser's own retries say nothing about when they come; these do.
      source.close();
      lostAt ??= Date.now();
      state({ since: lostAt, next: Date.now() + wait, now: connect });
      retry = setTimeout(connect, wait);
      wait = Math.min(60_000, 2 * wait);
    };
  };
  connect();
};
