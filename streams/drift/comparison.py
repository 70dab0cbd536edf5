"""What a drift test is, and how its figures become a level.

A drift test is a file of its own in this folder with a frozen struct whose tag is its name. Groups
of values are `groups.py`, dependence between rows is `effective_size.py`, many tests at once are
`false_discovery.py`.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import ClassVar, Literal

import msgspec

from driftline.streams.drift.reference_groups import Summary
from driftline.streams.summaries.text_summary import StringSummary

Level = Literal[
    "none", "mild", "moderate", "severe", "insufficient_data", "identifier", "type changed"
]

LEVELS: tuple[Level, ...] = ("none", "mild", "moderate", "severe")
P_LIMITS = (0.001, 0.01, 0.05)


class DriftResult(msgspec.Struct, frozen=True):
    """Outcome of one test.

    Attributes
    ----------
    method
        Name of the test.
    statistic
        What the test is known for, in its own unit; None where nothing was judged.
    p_value
        Probability of at least this statistic without drift, dependence between rows allowed for;
        adjusted for the number of tests once `false_discovery.adjusted` has been applied.
    effect
        Size of the shift beyond what chance explains, in the unit of `cutoffs`.
    cutoffs
        Effect from which a shift counts as mild, moderate, severe.
    level
        The lower of what the p-value and the effect say, or why there is none.
    n_reference, n_current
        Values compared.
    n_effective
        Independent values that the current ones are worth.
    """

    method: str
    statistic: float | None
    p_value: float | None
    effect: float | None
    cutoffs: tuple[float, float, float]
    level: Level
    n_reference: int
    n_current: int
    n_effective: float

    def with_p_value(self, p_value: float) -> DriftResult:
        """The same result at another p-value, with the level that follows."""
        if self.effect is None:
            return self
        return msgspec.structs.replace(
            self, p_value=p_value, level=level_of(p_value, self.effect, self.cutoffs)
        )


class DriftTest(msgspec.Struct, frozen=True):
    """A comparison of a current summary with a reference.

    Parameters
    ----------
    min_samples
        Values that each side needs; below that the level is "insufficient_data".
    min_effective
        Independent values that each side must be worth.

    Examples
    --------
    >>> import numpy as np
    >>> from driftline.streams.summaries.numeric_bins import NumericSummary
    >>> from driftline.streams.drift.ks import KolmogorovSmirnov
    >>> few, many = NumericSummary.of(np.arange(99.0)), NumericSummary.of(np.arange(500.0))
    >>> KolmogorovSmirnov().compare(many, few).level
    'insufficient_data'
    """

    min_samples: int = 100
    min_effective: float = 20.0

    texts: ClassVar[bool] = False
    cutoffs: ClassVar[tuple[float, float, float]] = (0.1, 0.2, 0.3)

    @property
    def name(self) -> str:
        """The tag: its name in the configuration and on the topics."""
        return str(self.__struct_config__.tag)

    def compare(
        self,
        reference: Summary,
        current: Summary,
        *,
        reference_size: float | None = None,
        current_size: float | None = None,
    ) -> DriftResult | None:
        """Judge `current` against `reference`.

        Parameters
        ----------
        reference, current
            Summaries of numbers or of texts.
        reference_size, current_size
            Independent values that each side is worth (`effective_size`); all of them where not
            given.

        Returns
        -------
        The result; None where the test does not apply to texts and the reference holds texts.
        """
        if isinstance(reference, StringSummary) and not self.texts:
            return None
        n, m = reference.total, current.total
        sizes = (min(reference_size or n, n), min(current_size or m, m))
        unjudged = DriftResult(
            self.name, None, None, None, self.cutoffs, "insufficient_data", n, m, sizes[1]
        )
        if min(n, m) < self.min_samples or min(sizes) < self.min_effective:
            return unjudged
        if type(reference) is not type(current):
            return msgspec.structs.replace(unjudged, level="type changed")
        if isinstance(reference, StringSummary) and (
            reference.identifier or (isinstance(current, StringSummary) and current.identifier)
        ):
            return msgspec.structs.replace(unjudged, level="identifier")
        statistic, p_value, effect = self.judge(reference, current, *sizes)
        level = level_of(p_value, effect, self.cutoffs)
        return DriftResult(
            self.name, statistic, p_value, effect, self.cutoffs, level, n, m, sizes[1]
        )

    def judge(
        self, reference: Summary, current: Summary, reference_size: float, current_size: float
    ) -> tuple[float, float, float]:
        """Statistic, p-value and effect of two summaries of one kind that hold enough values."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a method judge(reference, current, reference_size, current_size)"
        )


def level_of(p_value: float, effect: float, cutoffs: tuple[float, float, float]) -> Level:
    """The lower of the levels that significance (0.05, 0.01, 0.001) and effect size give.

    A huge sample makes a trivial shift significant but not large; a small one makes a large shift
    likely by chance.

    Examples
    --------
    >>> level_of(1e-9, 0.02, (0.05, 0.1, 0.2)), level_of(0.02, 0.4, (0.05, 0.1, 0.2)), level_of(1e-9, 0.4, (0.05, 0.1, 0.2))
    ('none', 'mild', 'severe')
    """
    by_chance = sum(p_value < limit for limit in P_LIMITS)
    return LEVELS[min(by_chance, bisect_right(cutoffs, effect))]
