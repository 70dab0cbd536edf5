"""What a metric is.

A metric is a file of its own in this folder with a frozen struct whose tag is its name in the configuration and on the topics. The
catalogue finds it; nothing else needs an edit. Which windows and rungs it is computed for is stage 2's affair.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec
import numpy as np

from streams.intervals import Floats, Interval, Ints, divided, wilson
from streams.lanes import ARRIVALS, DECISIONS
from streams.metrics.counts import Counts


class Metric(msgspec.Struct, frozen=True):
    """A function of merged counts, for all series at once.

    Attributes
    ----------
    lanes
        The lanes whose windows it is computed for.
    higher_is_better
        None where neither direction is.
    unit
        Of the value: "share", "" (a plain number), "ms" or "1/s".
    binary
        Whether it needs two labels, one of them positive.
    needs
        What the counts must hold for a value: names of `REASONS`, asked in this order by `null_reason`.
    undefined
        Why the value is null where all that is there and the value still divides by nothing.

    Examples
    --------
    >>> from streams.metrics.accuracy import Accuracy
    >>> Accuracy().name, Accuracy.higher_is_better
    ('accuracy', True)
    """

    lanes: ClassVar[tuple[int, ...]] = (DECISIONS, ARRIVALS)
    higher_is_better: ClassVar[bool | None] = True
    unit: ClassVar[str] = "share"
    binary: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("truth",)
    undefined: ClassVar[str] = "one class only"

    @property
    def name(self) -> str:
        """The tag: its name in the configuration and on the topics."""
        return str(self.__struct_config__.tag)

    def value(self, counts: Counts) -> Floats:
        """Shape (S,); NaN where it is undefined."""
        raise NotImplementedError(f"{type(self).__name__} needs a method value(counts)")

    def interval(self, counts: Counts) -> Interval | None:
        """Lower and upper 95 % limit, each of shape (S,) and NaN where undefined; None for a metric without one."""
        return None

    def bounds(self, counts: Counts) -> Interval | None:
        """The value if all missing labels went against the model and if all went for it, each of shape (S,); None if that says nothing."""
        return None

    def null_reason(self, counts: Counts, series: int) -> str | None:
        """Why the value of one series is null, in a few words; None where there is a value."""
        if not np.isnan(self.value(counts)[series]):
            return None
        if not counts.n_predictions[series]:
            return "no predictions"
        asked = ("truth", "two labels", *self.needs) if self.binary else self.needs
        return next((reason for need in asked if (reason := _missing(need, counts, series))), self.undefined)


class Proportion(Metric, frozen=True):
    """A metric that is a share of rows: say which rows out of which, and Wilson's interval follows."""

    def rows(self, counts: Counts) -> tuple[Ints, Ints]:
        """The rows that count and the rows that they are out of, each of shape (S,)."""
        raise NotImplementedError(f"{type(self).__name__} needs a method rows(counts)")

    def value(self, counts: Counts) -> Floats:
        """Shape (S,), in [0, 1]."""
        return divided(*self.rows(counts))

    def interval(self, counts: Counts) -> Interval | None:
        """Wilson's score interval."""
        return wilson(*self.rows(counts))


def _missing(need: str, counts: Counts, series: int) -> str | None:
    """The reason why `need` is not met, or None."""
    if need == "truth":
        return None if counts.matrix[series].any() else "no truth yet"
    if need == "two labels":
        return None if counts.positive is not None else ("one class only" if len(counts.labels) < 2 else "needs two labels")
    if need == "score":
        return None if any(histogram[series].any() for histogram in counts.score_histograms()) else "no score"
    if need == "latency":
        return None if counts.latency is not None and counts.latency.counts[series].any() else "no latency"
    raise ValueError(f'metrics: unknown need "{need}"; known are truth, two labels, score and latency')
