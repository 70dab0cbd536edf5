"""Which labels a model has, which one is positive, and what a label that follows from a score stands for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

MOST_LABELS: Final = 100
PAIRS: Final = (("0", "1"), ("false", "true"), ("no", "yes"))
"""Labels of which the other one is known although it has not been seen; the second is positive."""

_INTEGER = re.compile(r"-?[0-9]+", re.ASCII)


class LabelSet(msgspec.Struct, frozen=True):
    """The labels that the complete windows of a model have shown so far.

    Attributes
    ----------
    seen
        Sorted.
    derived
        Whether some predicted labels follow from a score.
    positive, negative
        What those stand for, once there were two labels; a third label that turns up later does not change it.
    """

    seen: tuple[str, ...] = ()
    derived: bool = False
    positive: str | None = None
    negative: str | None = None

    def with_more(self, labels: Iterable[str], *, derived: bool, configured: str | None) -> LabelSet:
        """The set after further labels were seen; `configured` is the positive label of the configuration, if it names one."""
        seen = ordered([*self.seen, *labels])
        derived = derived or self.derived
        every = _completed(seen, configured)
        if self.positive is not None or len(every) < 2:
            return LabelSet(seen, derived, self.positive, self.negative)
        positive = configured or every[-1]
        return LabelSet(seen, derived, positive, next(label for label in every if label != positive))

    def labels(self, configured: str | None) -> tuple[str, ...]:
        """All labels in the order of a confusion matrix.

        Examples
        --------
        >>> LabelSet(("no",)).labels(None), LabelSet(("10", "9")).labels(None), LabelSet(("a",)).labels("b")
        (('no', 'yes'), ('9', '10'), ('a', 'b'))
        """
        pair = () if self.positive is None or self.negative is None else (self.positive, self.negative)
        return _completed(ordered([*self.seen, *pair]), configured)

    def problem(self, configured: str | None) -> str | None:
        """Why rows cannot be told apart by label, or None."""
        if len(self.labels(configured)) > MOST_LABELS:
            return f"more than {MOST_LABELS} labels"
        if self.derived and self.positive is None:
            return "one label seen; set positive_label"
        return None


def ordered(labels: Iterable[str]) -> tuple[str, ...]:
    """Distinct labels, as numbers where all are integers, else as text."""
    distinct = dict.fromkeys(labels)
    if all(map(_INTEGER.fullmatch, distinct)):
        return tuple(sorted(distinct, key=lambda label: (int(label), label)))
    return tuple(sorted(distinct))


def _completed(seen: tuple[str, ...], configured: str | None) -> tuple[str, ...]:
    """The labels with the configured one, and with the other one of a known pair."""
    if not seen:
        return ()
    every = ordered([*seen, configured]) if configured is not None else seen
    if len(every) == 1:
        every = next((pair for pair in PAIRS if every[0] in pair), every)
    return every
