"""Objective: cost of the decisions."""

from __future__ import annotations

from typing import ClassVar

from driftline.streams.decide.tuner.objective import Floats, Objective, ratio


class CostObjective(
    Objective, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="cost"
):
    """Mean cost of a decision; a negative cost is a profit.

    Parameters
    ----------
    fp, fn, tp, tn
        Cost of one decision in each cell.
    """

    fp: float
    fn: float
    tp: float = 0.0
    tn: float = 0.0

    higher_is_better: ClassVar[bool] = False

    def value(self, tn: Floats, fp: Floats, fn: Floats, tp: Floats) -> Floats:
        """In the unit of the costs."""
        return ratio(self.tn * tn + self.fp * fp + self.fn * fn + self.tp * tp, tn + fp + fn + tp)
