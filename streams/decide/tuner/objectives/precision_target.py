"""Objective: reach a precision first, then the highest recall."""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.streams.decide.tuner.objective import Floats, Objective, ratio
from driftline.streams.decide.tuner.precision_goal import PrecisionGoal


class PrecisionTargetObjective(
    Objective,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="precision_target",
):
    """Recall, among the thresholds with a precision at or above a target.

    While the threshold in force misses the target, a threshold that reaches it is judged by its
    precision. Where both reach it, recall is judged.

    Parameters
    ----------
    precision
        The target, to be reached on the fit half and on the hold-out half.
    """

    precision: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]

    @property
    def metric(self) -> str:
        """Name of the value."""
        return "recall"

    def value(self, tn: Floats, fp: Floats, fn: Floats, tp: Floats) -> Floats:
        """Recall, in [0, 1]."""
        return ratio(tp, tp + fn)

    def first_goal(self) -> Objective:
        """Precision."""
        return PrecisionGoal()

    def allowed(self, tn: Floats, fp: Floats, fn: Floats, tp: Floats) -> NDArray[np.bool_]:
        """Whether the precision is at least the target; False without a positive prediction."""
        precision = ratio(tp, tp + fp)
        reached: NDArray[np.bool_] = precision >= self.precision
        return reached
