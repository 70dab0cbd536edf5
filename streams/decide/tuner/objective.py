"""Base class of the objectives that thresholds are chosen for.

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
    """A function of the four cells, which may be fractions so that it can be differentiated."""

    higher_is_better: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Type of the objective."""
        return str(self.__struct_config__.tag)

    @property
    def metric(self) -> str:
        """Name of the value."""
        return self.name

    def value(self, tn: Floats, fp: Floats, fn: Floats, tp: Floats) -> Floats:
        """The value, in the shape of the cells; NaN where it is undefined.

        It must not change when all cells are multiplied by one number.
        """
        raise NotImplementedError(f"{type(self).__name__} needs a method value(tn, fp, fn, tp)")

    def allowed(self, tn: Floats, fp: Floats, fn: Floats, tp: Floats) -> NDArray[np.bool_]:
        """Whether each threshold may be chosen, in the shape of the cells."""
        return np.ones(np.shape(tp), dtype=np.bool_)

    def first_goal(self) -> Objective | None:
        """The figure to judge while the threshold in force is not `allowed`; None if all are."""
        return None

    def judged_as(self, metric: str) -> Objective:
        """The objective or its first goal, whichever has this name of the value."""
        goal = self.first_goal()
        return goal if goal is not None and goal.metric == metric else self

    def better_by(self, earlier: float, later: float) -> float:
        """Improvement from `earlier` to `later`; positive if `later` is better."""
        return later - earlier if self.higher_is_better else earlier - later


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Quotient; NaN where the denominator is 0."""
    result: Floats = np.divide(
        numerator,
        denominator,
        out=np.full(np.shape(denominator), np.nan),
        where=np.asarray(denominator) != 0,
    )
    return result
