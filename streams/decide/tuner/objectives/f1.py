"""Objective: F1 of the positive label."""

from __future__ import annotations

from driftline.streams.decide.tuner.objective import Floats, Objective, ratio


class F1Objective(
    Objective, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="f1"
):
    """2 tp / (2 tp + fp + fn)."""

    def value(self, tn: Floats, fp: Floats, fn: Floats, tp: Floats) -> Floats:
        """In [0, 1]."""
        return ratio(2 * tp, 2 * tp + fp + fn)
