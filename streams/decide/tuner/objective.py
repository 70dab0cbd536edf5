"""What a threshold is chosen for.

An objective is a file of its own in `objectives/` with a frozen struct whose tag is its `type` in
the configuration.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Objective(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"
):
    """A figure of the four cells; they may be fractions of counts, so that it can be
    differentiated.
    """

    higher_is_better: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """The tag."""
        return str(self.__struct_config__.tag)

    @property
    def metric(self) -> str:
        """What the value is called."""
        return self.name

    def value(self, tn: Floats, fp: Floats, fn: Floats, tp: Floats) -> Floats:
        """The figure, of the cells' shape;

        NaN where it is undefined. Multiplying all cells by one number must not change it.
        """
        raise NotImplementedError(f"{type(self).__name__} needs a method value(tn, fp, fn, tp)")

    def allowed(self, tn: Floats, fp: Floats, fn: Floats, tp: Floats) -> NDArray[np.bool_]:
        """Which thresholds may be chosen at all, of the cells' shape."""
        return np.ones(np.shape(tp), dtype=np.bool_)

    def first_goal(self) -> Objective | None:
        """What is judged instead while the threshold in force is not `allowed`; None where every
        threshold is.
        """
        return None

    def judged_as(self, metric: str) -> Objective:
        """The objective or its first goal, whichever has this metric."""
        goal = self.first_goal()
        return goal if goal is not None and goal.metric == metric else self

    def better_by(self, earlier: float, later: float) -> float:
        """Positive where `later` is better."""
        return later - earlier if self.higher_is_better else earlier - later


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """NaN where the denominator is 0."""
    result: Floats = np.divide(
        numerator,
        denominator,
        out=np.full(np.shape(denominator), np.nan),
        where=np.asarray(denominator) != 0,
    )
    return result
