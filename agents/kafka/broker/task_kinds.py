"""The kinds of task, and the stages that each runs.

`join` runs stage 1, one task per partition of the input topics. `downstream` runs stages 2 to 4
together, one task per partition of `window-partials`: the stages finish each pane before the next
one, so that live equals replay, and share one transaction.

`rekey` runs no stage. Where `kafka.rekey` is set, it writes the records of both inputs anew with
their prediction ids as keys. It reads all partitions at once, so only one worker runs it
(`driftline.agents.kafka.rekey`): the one that has the first partition of stage 1.
"""

from __future__ import annotations

from typing import Final

from driftline.schemas.kafka_settings import KafkaSettings
from driftline.schemas.topics import COMMANDS, JOINED, SOURCES, WINDOW_PARTIALS
from driftline.streams import pipeline

JOIN: Final = "join"
DOWNSTREAM: Final = "downstream"
STAGES: Final = {
    JOIN: tuple(stage.name for stage in pipeline.STAGES[:1]),
    DOWNSTREAM: tuple(stage.name for stage in pipeline.STAGES[1:]),
}

REKEY: Final = "rekey"

INPUTS: Final = {
    JOIN: JOINED,
    DOWNSTREAM: (WINDOW_PARTIALS, *COMMANDS),
    REKEY: tuple(SOURCES.values()),
}
"""Input topics of each kind of task, without prefix."""


def kinds_of(settings: KafkaSettings) -> tuple[str, ...]:
    """The kinds of task of a program."""
    return (*STAGES, REKEY) if settings.rekey else tuple(STAGES)
