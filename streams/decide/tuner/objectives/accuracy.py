"""Objective: share of correct predictions."""

from __future__ import annotations

from driftline.streams.decide.tuner.objective import Floats, Objective, ratio


class AccuracyObjective(
    Objective,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="accuracy",
):
    """(tp + tn) / all."""

    def value(self, tn: Floats, fp: Floats, fn: Floats, tp: Floats) -> Floats:
        """In [0, 1]."""
        return ratio(tp + tn, tp + tn + fp + fn)
