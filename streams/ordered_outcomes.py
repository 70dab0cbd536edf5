"""The outcomes of an hour in the order in which they became known: from stage 2 to stage 3."""

from __future__ import annotations

from typing import Final

import msgspec

ORDERED_OUTCOMES: Final = "ordered-outcomes"
"""Records between stages 2 and 3 of one task, which are written to no topic."""


class OrderedOutcomes(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Which outcomes of a model were wrong, in a step of its last-n windows.

    Outcomes rank by (time at which the truth became known, hash of the id), as in last-n windows.
    Of more than the largest n in a step, the newest are here. An outcome with a label that is
    none of the classes is left out, as it is from the confusion matrix.

    Attributes
    ----------
    start_ms, end_ms
        The step: start (included) and end (excluded).
    errors
        By (version, segment), in the order of emission, a byte for each outcome: 1 if the predicted
        label is not the actual one, else 0.
    """

    model_name: str
    start_ms: int
    end_ms: int
    errors: tuple[tuple[tuple[str, str], bytes], ...]
