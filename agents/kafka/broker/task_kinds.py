"""The kinds of task, and the stages that each runs.

`join` runs stage 1, one task per partition of the input topics. `downstream` runs stages 2 to 4
together, one task per partition of `window-partials`: the stages finish each pane before the next
one, so that live equals replay, and share one transaction.

`rekey` runs no stage. Where `kafka.rekey` is set, it writes the records of both inputs anew with
their prediction ids as keys. It reads all partitions at once, so only one worker runs it
(`driftline.agents.kafka.rekey`): the one that has the first partition of stage 1.

`notify` runs no stage either. Where channels are configured, it tells people about alerts and about
changes of the registry, and escalates the alerts that a response says to
(`driftline.agents.kafka.notify`). It reads all partitions at once too; the worker that has the
first partition of stages 2 to 4 runs it.
"""

from __future__ import annotations

from typing import Final

from driftline.schemas.settings import Config
from driftline.schemas.topics import (
    ACTIONS,
    ALERTS,
    JOINED,
    REGISTRY_EVENTS,
    SIDE_INPUTS,
    SOURCES,
    WINDOW_PARTIALS,
)
from driftline.streams import pipeline

JOIN: Final = "join"
DOWNSTREAM: Final = "downstream"
STAGES: Final = {
    JOIN: tuple(stage.name for stage in pipeline.STAGES[:1]),
    DOWNSTREAM: tuple(stage.name for stage in pipeline.STAGES[1:]),
}

REKEY: Final = "rekey"
NOTIFY: Final = "notify"

INPUTS: Final = {
    JOIN: JOINED,
    DOWNSTREAM: (WINDOW_PARTIALS, *SIDE_INPUTS),
    REKEY: tuple(SOURCES.values()),
    NOTIFY: (ALERTS, ACTIONS, REGISTRY_EVENTS),
}
"""Input topics of each kind of task, without prefix."""


def kinds_of(config: Config) -> tuple[str, ...]:
    """The kinds of task of a program."""
    rekey = (REKEY,) if config.kafka.rekey else ()
    notify = (NOTIFY,) if config.notifications.channels else ()
    return (*STAGES, *rekey, *notify)
