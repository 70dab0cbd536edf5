"""The two kinds of task, and the stages that each runs.

`join` runs stage 1, one task per partition of the input topics. `downstream` runs stages 2 to 4
together, one task per partition of `window-partials`: the stages finish each pane before the next
one, so that live equals replay, and share one transaction.
"""

from __future__ import annotations

from typing import Final

from driftline.schemas.topics import JOINED, REGISTRY_COMMANDS, WINDOW_PARTIALS
from driftline.streams import pipeline

JOIN: Final = "join"
DOWNSTREAM: Final = "downstream"
STAGES: Final = {
    JOIN: tuple(stage.name for stage in pipeline.STAGES[:1]),
    DOWNSTREAM: tuple(stage.name for stage in pipeline.STAGES[1:]),
}

INPUTS: Final = {JOIN: JOINED, DOWNSTREAM: (WINDOW_PARTIALS, REGISTRY_COMMANDS)}
"""Input topics of each kind of task, without prefix."""
