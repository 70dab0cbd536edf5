"""Objective: Matthews correlation of prediction and truth."""

from __future__ import annotations

import numpy as np

from driftline.streams.decide.tuner.objective import Floats, Objective, ratio


class MccObjective(
    Objective, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="mcc"
):
    """(tp tn - fp fn) over the root of the product of the four margins."""

    def value(self, tn: Floats, fp: Floats, fn: Floats, tp: Floats) -> Floats:
        """In [-1, 1]."""
        return ratio(tp * tn - fp * fn, np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))
