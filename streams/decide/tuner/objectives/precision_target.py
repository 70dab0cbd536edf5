"""Reach a precision first, then the highest recall that it allows."""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.streams.decide.tuner.objective import Floats, Objective, ratio
from driftline.streams.decide.tuner.precision import Precision


class PrecisionTarget(
    Objective,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="precision_target",
):
    """Recall, among the thresholds with a precision at or above a target.

    Where the threshold in force misses the target, reaching it is the gain, and precision is what is
    judged; recall is judged where both thresholds reach it.

    Parameters
    ----------
    precision
        The target; it has to be reached on the fit half and on the hold-out half.
    """

    precision: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]

    @property
    def metric(self) -> str:
        """Recall."""
        return "recall"

    def value(self, tn: Floats, fp: Floats, fn: Floats, tp: Floats) -> Floats:
        """Recall, in [0, 1]."""
        return ratio(tp, tp + fn)

    def first_goal(self) -> Objective:
        """The precision."""
        return Precision()

    def allowed(self, tn: Floats, fp: Floats, fn: Floats, tp: Floats) -> NDArray[np.bool_]:
        """Where the precision is at least the target; nowhere without a positive prediction."""
        precision = ratio(tp, tp + fp)
        reached: NDArray[np.bool_] = precision >= self.precision
        return reached
