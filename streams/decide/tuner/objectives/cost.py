"""What decisions cost."""

from __future__ import annotations

from typing import ClassVar

from driftline.streams.decide.tuner.objective import Floats, Objective, ratio


class Cost(
    Objective, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="cost"
):
    """Expected cost of a decision, from what each cell costs; a negative cost is a profit.

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
