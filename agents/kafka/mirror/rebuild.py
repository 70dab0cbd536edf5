"""Makes a mirror anew from the topics, and compares it with them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.mirror.topics import (
    MirroredTopics,
    can_go_on,
    is_cut_off,
    mirrored_logs,
)
from driftline.agents.mirror.comparison import Difference, differences
from driftline.agents.mirror.documents import Documents
from driftline.agents.mirror.mirror import Mirror, NotAccepted, Positions

_ATTEMPTS: Final = 5
_AGAIN_S: Final = 1.0


class Rebuilt(NamedTuple):
    """A mirror that was made anew.

    Attributes
    ----------
    documents
        What it holds.
    topics
        The topics, to be read on from there.
    """

    documents: Documents
    topics: MirroredTopics


def rebuild(connection: Connection, mirror: Mirror) -> Rebuilt:
    """Put what the topics hold in place of what the mirror holds, in one step.

    Raises
    ------
    BrokerError, KafkaException
        If the broker does not give the records.
    MirrorFault
        If Redis does not do what it is asked.
    NotAccepted
        If somebody writes to the mirror faster than the topics can be read.
    """
    for attempt in range(_ATTEMPTS):
        known = mirror.positions()
        # After the positions: a log that ends before them has lost records.
        logs = mirrored_logs(connection)
        topics = MirroredTopics(connection, logs, mirror.keys)
        documents = topics.all()
        try:
            mirror.replace(documents, topics.positions, is_behind=is_cut_off(known, logs))
        except NotAccepted:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return Rebuilt(documents, topics)
    raise AssertionError("the last attempt returns or raises")


class Checked(NamedTuple):
    """The comparison of a mirror with the topics.

    Attributes
    ----------
    differences
        What differs.
    behind
        Number of records, transaction markers included, that are not mirrored yet.
    keys
        Number of keys that the topics ask for.
    """

    differences: list[Difference]
    behind: int
    keys: int


def check(
    connection: Connection, mirror: Mirror, *, sleep: Callable[[float], None] = time.sleep
) -> Checked:
    """Compare a mirror with the topics; waits some seconds for a worker that is behind them.

    Raises
    ------
    BrokerError, KafkaException, MirrorFault
        As `rebuild`.
    """
    for attempt in range(_ATTEMPTS):
        logs = mirrored_logs(connection)
        topics = MirroredTopics(connection, logs, mirror.keys)
        documents = topics.all()
        before, content, now_ms = mirror.positions(), mirror.content(), mirror.now_ms()
        same = before is not None and before == topics.positions == mirror.positions()
        if same or before is None or not can_go_on(before, logs) or attempt == _ATTEMPTS - 1:
            break
        sleep(_AGAIN_S)
    listed = list(differences(documents, content, now_ms))
    return Checked(
        listed,
        _behind(before, topics.positions),
        sum(1 for _ in documents.hashes(now_ms)),
    )


def _behind(known: Positions | None, read: Positions) -> int:
    offsets = {} if known is None else known.offsets
    return sum(max(0, offset - offsets.get(place, 0)) for place, offset in read.offsets.items())
