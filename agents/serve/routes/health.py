"""How the server and its source are."""

from __future__ import annotations

import time
from typing import Final, Literal

from driftline.agents.inprocess.run_identity import program_version
from driftline.agents.serve.answers.pipeline import Health
from driftline.agents.serve.route import Query, Route, Table
from driftline.agents.serve.view import View
from driftline.schemas.times import EpochMs

_STATUS: Final[dict[str, Literal["ok", "catching_up", "away"]]] = {
    "following": "ok",
    "catching_up": "catching_up",
    "away": "away",
}


def health(view: View, query: Query) -> Health:
    """How the server is, and whether its source can be read; always with status 200."""
    source = view.server.follower.source()
    return Health(
        status=_STATUS[source.state],
        version=program_version(),
        started_at_ms=view.server.started_at_ms,
        now_ms=EpochMs(time.time_ns() // 1_000_000),
        state=view.reads.state,
        listeners=view.server.listeners(),
        source=source,
    )


def _table(answer: Health) -> Table:
    source = answer.source
    return (
        ["status", "version", "started_at", "place", "since", "problem", "checked_at"],
        [
            [
                answer.status,
                answer.version,
                answer.started_at_ms,
                source.place,
                source.since_ms,
                source.problem,
                source.checked_at_ms,
            ]
        ],
    )


ROUTES: Final = (
    Route(path="/health", query=Query, answer=Health, read=health, table=_table, is_timeless=False),
)
