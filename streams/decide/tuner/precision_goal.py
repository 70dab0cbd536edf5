"""Precision as the first goal of the objective `precision_target`."""

from __future__ import annotations

from driftline.streams.decide.tuner.objective import Floats, Objective, ratio


class PrecisionGoal(Objective, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """tp / (tp + fp)."""

    @property
    def metric(self) -> str:
        """Name of the figure."""
        return "precision"

    def value(self, tn: Floats, fp: Floats, fn: Floats, tp: Floats) -> Floats:
        """In [0, 1]; NaN without a positive prediction."""
        return ratio(tp, tp + fp)
