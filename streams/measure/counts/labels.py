"""The label set of a model: its labels, the positive one, and the meaning of derived labels.

A derived label is a predicted label that follows from score and threshold, without a text of its
own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

MOST_LABELS: Final = 100
PAIRS: Final = (("0", "1"), ("false", "true"), ("no", "yes"))
"""Label pairs: one seen label implies the other. The second is positive."""

_INTEGER = re.compile(r"-?[0-9]+", re.ASCII)


class LabelSet(msgspec.Struct, frozen=True):
    """The labels in the complete windows of a model so far.

    Attributes
    ----------
    seen
        Label texts, sorted.
    derived
        Whether any predicted label follows from a score.
    many
        Whether there are more than MOST_LABELS labels; no further ones are stored then.
    positive, negative
        The texts of derived labels, set once there are two labels; a later third label does not
        change them.
    """

    seen: tuple[str, ...] = ()
    derived: bool = False
    many: bool = False
    positive: str | None = None
    negative: str | None = None

    def with_more(
        self, labels: Iterable[str], *, derived: bool, many: bool, configured: str | None
    ) -> LabelSet:
        """The set with further labels added.

        Parameters
        ----------
        derived, many
            As the attributes, of the further labels.
        configured
            The positive label of the configuration, if it names one.
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
        >>> LabelSet(("no",)).labels(None), LabelSet(("10", "9")).labels(None)
        (('no', 'yes'), ('9', '10'))
        >>> LabelSet(("a",)).labels("b")
        ('a', 'b')
        """
        labels = _with(self.seen, configured)
        if len(labels) != 1:
            return labels
        return next((pair for pair in PAIRS if labels[0] in pair), labels)

    def pair(self, configured: str | None) -> tuple[str | None, str | None]:
        """The positive and the negative label; None while unknown."""
        if self.positive is not None:
            return self.positive, self.negative
        labels = self.labels(configured)
        if len(labels) < 2:
            return configured, None
        positive = configured or labels[-1]
        return positive, next(label for label in labels if label != positive)

    def problem(self, configured: str | None) -> str | None:
        """Why rows cannot be counted by label, or None."""
        if self.many:
            return f"more than {MOST_LABELS} labels"
        if self.derived and None in self.pair(configured):
            return "one label seen; set positive_label"
        return None


def ordered(labels: Iterable[str]) -> tuple[str, ...]:
    """Distinct labels, sorted as numbers if all are integers, else as text."""
    distinct = dict.fromkeys(labels)
    if all(map(_INTEGER.fullmatch, distinct)):
        return tuple(sorted(distinct, key=lambda label: (int(label), label)))
    return tuple(sorted(distinct))


def _with(seen: tuple[str, ...], configured: str | None) -> tuple[str, ...]:
    return ordered([*seen, configured]) if seen and configured is not None else ordered(seen)
