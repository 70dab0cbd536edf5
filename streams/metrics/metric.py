"""Base classes of metrics.

A metric is a file in this folder with a frozen struct whose tag is its name in the configuration
and on the topics. The catalogue finds it; no other file changes. Stage 2 chooses the windows and
rungs for which it is computed.
"""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.streams.intervals import Floats, Interval, Ints, divided, wilson
from driftline.streams.lanes import ARRIVALS, DECISIONS
from driftline.streams.metrics.counts import Counts

UNKNOWN_POSITIVE: Final = "positive label unknown; set positive_label"


class Metric(msgspec.Struct, frozen=True):
    """A function of merged counts, for all series at once.

    Attributes
    ----------
    lanes
        The lanes for whose windows it is computed.
    higher_is_better
        None if neither direction is better.
    unit
        Unit of the value: "share", "" (a plain number), "ms" or "1/s".
    binary
        Whether it needs two labels, one of them positive.
    needs
        What the counts must have for a value: "truth", "two labels", "score", "delay", "latency".
        `null_reasons` checks them in this order.
    by_label
        Whether the value depends on which labels the truths have. If it does, it is null for a
        model whose rows cannot be counted by label.
    undefined
        Why the value is null although no need is missing: its denominator is 0.

    Examples
    --------
    >>> from driftline.streams.metrics.accuracy import Accuracy
    >>> Accuracy().name, Accuracy.higher_is_better
    ('accuracy', True)
    """

    lanes: ClassVar[tuple[int, ...]] = (DECISIONS, ARRIVALS)
    higher_is_better: ClassVar[bool | None] = True
    unit: ClassVar[str] = "share"
    binary: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("truth",)
    by_label: ClassVar[bool] = True
    undefined: ClassVar[str] = "one class only"

    @property
    def name(self) -> str:
        """The tag: its name in the configuration and on the topics."""
        return str(self.__struct_config__.tag)

    def value(self, counts: Counts) -> Floats:
        """Shape (S,); NaN where it is undefined."""
        raise NotImplementedError(f"{type(self).__name__} needs a method value(counts)")

    def known_value(self, counts: Counts) -> Floats:
        """`value`, computed once for the same counts; for intervals that need it."""
        known = counts.memo.get(self.name)
        if known is None:
            known = counts.memo[self.name] = self.value(counts)
        return known

    def interval(self, counts: Counts) -> Interval | None:
        """Lower and upper 95 % limits, each of shape (S,), NaN where undefined; None for a metric
        without an interval.
        """
        return None

    def bounds(self, counts: Counts) -> Interval | None:
        """The value if all missing labels were wrong, and if all were right, each of shape (S,);
        None for a metric without bounds.
        """
        return None

    def null_reasons(self, counts: Counts, at: Ints) -> list[str]:
        """Why the values of the series `at`, shape (Q,), which are null, are null: a few words for
        each.
        """
        checks = [
            lacks(need, counts)
            for need in (
                "predictions",
                *(("truth", "two labels") if self.binary else ()),
                *self.needs,
            )
        ]
        undefined = self.undefined
        return [
            next((reason for lacking, reason in checks if lacking[series]), undefined)
            for series in at.tolist()
        ]


class Proportion(Metric, frozen=True):
    """A metric that is a share of rows, with Wilson's interval: `rows` gives both numbers."""

    def rows(self, counts: Counts) -> tuple[Ints, Ints]:
        """Numerator and denominator in rows, each of shape (S,)."""
        raise NotImplementedError(f"{type(self).__name__} needs a method rows(counts)")

    def value(self, counts: Counts) -> Floats:
        """Shape (S,), in [0, 1]."""
        return divided(*self.rows(counts))

    def interval(self, counts: Counts) -> Interval | None:
        """Wilson's score interval."""
        return wilson(*self.rows(counts))


def lacks(need: str, counts: Counts) -> tuple[list[bool], str]:
    """Whether each series lacks what a metric needs, a list of length S, and the reason in words;
    computed once for the same counts.
    """
    known = counts.lacking.get(need)
    if known is None:
        lacking, reason = _lacks(need, counts)
        known = counts.lacking[need] = lacking.tolist(), reason
    return known


def _lacks(need: str, counts: Counts) -> tuple[NDArray[np.bool_], str]:
    if need == "predictions":
        return counts.n_predictions == 0, "no predictions"
    if need == "truth":
        return counts.n == 0, "no truth yet"
    if need == "two labels":
        reasons = ("one class only", "one class only", UNKNOWN_POSITIVE, "needs two labels")
        return np.full(counts.series, counts.positive is None), reasons[min(len(counts.labels), 3)]
    if need == "score":
        return counts.scores.n_negative + counts.scores.n_positive == 0, "no score"
    if need in ("delay", "latency"):
        histogram = counts.delay if need == "delay" else counts.latency
        filled = np.zeros(counts.series, dtype=np.int64) if histogram is None else histogram.total
        return filled == 0, f"no {need}"
    raise ValueError(
        f'metrics: unknown need "{need}"; known are truth, two labels, score, delay and latency'
    )
