"""The content of a mirror taken back into memory, by a worker that goes on with it."""

from __future__ import annotations

from driftline.agents.mirror.documents import Documents
from driftline.agents.mirror.keys import Keys
from driftline.agents.mirror.mirror import Content


def restored(content: Content, keys: Keys, now_ms: int) -> Documents | None:
    """Figures and alerts of a mirror; the registry is read from its topics. None if the content is
    not what a mirror writes: somebody else has changed it.

    Parameters
    ----------
    now_ms
        When it was read, by the server's clock.
    """
    if content.foreign:
        return None
    documents = Documents()
    for series_key, members in content.series.items():
        begin = series_key.replace(f"{keys.prefix}:series:", f"{keys.prefix}:figures:", 1)
        for member, expires_at_ms in members.items():
            key = f"{begin}/{member}"
            fields = content.hashes.get(key)
            if fields is None and expires_at_ms > now_ms:
                return None
            if fields is not None:
                try:
                    documents.restore_figures(key, series_key, member, expires_at_ms, fields)
                except (KeyError, ValueError):
                    return None
    for key, fields in content.hashes.items():
        kind = keys.kind_of(key)
        if kind == "alerts":
            documents.restore_alerts(key, fields)
        elif kind == "figures" and not documents.hash(key):
            return None
    return documents
