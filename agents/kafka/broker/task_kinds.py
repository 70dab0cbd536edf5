"""The two kinds of task, and where the stages of each keep their state.

`score` is stage 1, one task per partition of the input topics. `downstream` is stages 2 to 4
together, one task per partition of `window-partials`: they run to rest between panes, so that live
equals replay, and share one transaction.
"""

from __future__ import annotations

from typing import Final

SCORE: Final = "score"
DOWNSTREAM: Final = "downstream"
STAGES: Final = {SCORE: ("score",), DOWNSTREAM: ("measure", "decide", "registry")}
# Place of each stage in the keys of the cache; never reorder.
PLACES: Final = {
    stage: place
    for place, stage in enumerate(stage for stages in STAGES.values() for stage in stages)
}
