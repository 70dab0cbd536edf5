"""Which labels a model has, which one is positive, and what a label that follows from a score
stands for.
"""

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
    many
        Whether there are more labels than a matrix is made of; further ones are not remembered.
    positive, negative
        What those stand for, once there were two labels; a third label that turns up later does not
        change it.
    """

    seen: tuple[str, ...] = ()
    derived: bool = False
    many: bool = False
    positive: str | None = None
    negative: str | None = None

    def with_more(
        self, labels: Iterable[str], *, derived: bool, many: bool, configured: str | None
    ) -> LabelSet:
        """The set after further labels were seen;

        `configured` is the positive label of the configuration, if it names one.
        """
        seen = ordered([*self.seen, *labels])
        grown = msgspec.structs.replace(self, seen=seen, derived=self.derived or derived)
        if many or self.many or len(seen) > MOST_LABELS:
            grown = msgspec.structs.replace(self, derived=grown.derived, many=True)
        if grown.positive is None and len(_with(grown.seen, configured)) > 1:
            positive, negative = grown.pair(configured)
            grown = msgspec.structs.replace(grown, positive=positive, negative=negative)
        return grown

    def labels(self, configured: str | None) -> tuple[str, ...]:
        """All labels in the order of a confusion matrix.

        Examples
        --------
        >>> LabelSet(("no",)).labels(None), LabelSet(("10", "9")).labels(None), LabelSet(("a",)).labels("b")
        (('no', 'yes'), ('9', '10'), ('a', 'b'))
        """
        every = _with(self.seen, configured)
        return (
            next((pair for pair in PAIRS if every[0] in pair), every) if len(every) == 1 else every
        )

    def pair(self, configured: str | None) -> tuple[str | None, str | None]:
        """The positive and the negative label; None where they are not known yet."""
        if self.positive is not None:
            return self.positive, self.negative
        every = self.labels(configured)
        if len(every) < 2:
            return configured, None
        positive = configured or every[-1]
        return positive, next(label for label in every if label != positive)

    def problem(self, configured: str | None) -> str | None:
        """Why rows cannot be told apart by label, or None."""
        if self.many:
            return f"more than {MOST_LABELS} labels"
        if self.derived and None in self.pair(configured):
            return "one label seen; set positive_label"
        return None


def ordered(labels: Iterable[str]) -> tuple[str, ...]:
    """Distinct labels, as numbers where all are integers, else as text."""
    distinct = dict.fromkeys(labels)
    if all(map(_INTEGER.fullmatch, distinct)):
        return tuple(sorted(distinct, key=lambda label: (int(label), label)))
    return tuple(sorted(distinct))


def _with(seen: tuple[str, ...], configured: str | None) -> tuple[str, ...]:
    return ordered([*seen, configured]) if seen and configured is not None else ordered(seen)
