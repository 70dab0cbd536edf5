"""Objective: mean of recall and specificity."""

from __future__ import annotations

from driftline.streams.decide.tuner.objective import Floats, Objective, ratio


class BalancedAccuracyObjective(
    Objective,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="balanced_accuracy",
):
    """(tp / (tp + fn) + tn / (tn + fp)) / 2; independent of the base rate."""

    def value(self, tn: Floats, fp: Floats, fn: Floats, tp: Floats) -> Floats:
        """In [0, 1]."""
        return (ratio(tp, tp + fn) + ratio(tn, tn + fp)) / 2
