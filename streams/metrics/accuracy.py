"""Accuracy: the share of correct labels."""

from __future__ import annotations

from driftline.streams.intervals import Interval, Ints, divided
from driftline.streams.metrics.counts import Counts
from driftline.streams.metrics.metric import Proportion


class Accuracy(Proportion, frozen=True, tag="accuracy"):
    """Share of the rows with a truth whose predicted label is the actual one, for any number of
    labels.

    It depends on the base rate: a model that always predicts the frequent label has a high
    accuracy.

    Returns
    -------
    In [0, 1], with Wilson's interval, and bounds for the missing labels.

    Examples
    --------
    >>> import numpy as np
    >>> counts = Counts(
    ...     labels=("no", "yes"),
    ...     positive=1,
    ...     matrix=np.array([[[50, 10], [5, 35]]]),
    ...     n_predictions=np.array([120]),
    ... )
    >>> Accuracy().value(counts).tolist()
    [0.85]
    """

    def rows(self, counts: Counts) -> tuple[Ints, Ints]:
        """Correct rows out of all with a truth."""
        return counts.correct, counts.n

    def bounds(self, counts: Counts) -> Interval | None:
        """All missing labels wrong, and all right."""
        everything = counts.n + counts.missing
        return divided(counts.correct, everything), divided(
            counts.correct + counts.missing, everything
        )
