"""Base class of drift tests, and the level that follows from p-value and effect.

A drift test is a file in this folder with a frozen struct whose tag is its name. Groups of values
are `reference_groups.py`, dependence between rows is `effective_size.py`, many tests at once are
`false_discovery.py`.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import ClassVar, Literal

import msgspec

from driftline.streams.drift.reference_groups import Summary
from driftline.streams.summaries.text_summary import StringSummary

Level = Literal[
    "none",
    "mild",
    "moderate",
    "severe",
    "insufficient_data",
    "identifier",
    "type changed",
    "covered in part",
]

LEVELS: tuple[Level, ...] = ("none", "mild", "moderate", "severe")
P_LIMITS = (0.001, 0.01, 0.05)
MIN_SAMPLES = 100
MIN_EFFECTIVE = 20.0


class DriftResult(msgspec.Struct, frozen=True):
    """Outcome of one test.

    Attributes
    ----------
    method
        Name of the test.
    statistic
        The test statistic in its own unit; None without a test.
    p_value
        Probability of at least this statistic without drift, allowing for dependence between rows;
        after `false_discovery.adjusted`, adjusted for the number of tests.
    effect
        Size of the shift beyond chance, in the unit of `cutoffs`.
    cutoffs
        Effects from which a shift counts as mild, moderate, severe.
    level
        The lower of the levels of p-value and effect, or the reason for having none.
    n_reference, n_current
        Number of values compared.
    n_effective
        Effective sample size of the current values.
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

    def unjudged(self, level: Level) -> DriftResult:
        """The same sizes without a verdict, for the reason `level`."""
        return msgspec.structs.replace(self, statistic=None, p_value=None, effect=None, level=level)

    def with_p_value(self, p_value: float) -> DriftResult:
        """The same result with another p-value and the level that follows."""
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
        Number of values that each side needs; below it the level is "insufficient_data".
    min_effective
        Effective sample size that each side needs.

    Examples
    --------
    >>> import numpy as np
    >>> from driftline.streams.summaries.numeric_bins import NumericSummary
    >>> from driftline.streams.drift.ks import KolmogorovSmirnov
    >>> few, many = NumericSummary.of(np.arange(99.0)), NumericSummary.of(np.arange(500.0))
    >>> KolmogorovSmirnov().compare(many, few).level
    'insufficient_data'
    """

    min_samples: int = MIN_SAMPLES
    min_effective: float = MIN_EFFECTIVE

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
        """Test `current` against `reference`.

        Parameters
        ----------
        reference, current
            Summaries of numbers or of texts.
        reference_size, current_size
            Effective sample size of each side (`effective_size`); by default the number of values.

        Returns
        -------
        The result; None if the reference has texts and the test does not apply to texts.
        """
        if isinstance(reference, StringSummary) and not self.texts:
            return None
        n, m = reference.total, current.total
        sizes = (min(reference_size or n, n), min(current_size or m, m))
        untested = DriftResult(
            self.name, None, None, None, self.cutoffs, "insufficient_data", n, m, sizes[1]
        )
        if min(n, m) < self.min_samples or min(sizes) < self.min_effective:
            return untested
        if type(reference) is not type(current):
            return msgspec.structs.replace(untested, level="type changed")
        if isinstance(reference, StringSummary) and (
            reference.identifier or (isinstance(current, StringSummary) and current.identifier)
        ):
            return msgspec.structs.replace(untested, level="identifier")
        statistic, p_value, effect = self.judge(reference, current, *sizes)
        level = level_of(p_value, effect, self.cutoffs)
        return DriftResult(
            self.name, statistic, p_value, effect, self.cutoffs, level, n, m, sizes[1]
        )

    def judge(
        self, reference: Summary, current: Summary, reference_size: float, current_size: float
    ) -> tuple[float, float, float]:
        """Statistic, p-value and effect of two summaries of one kind with enough values."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a method"
            " judge(reference, current, reference_size, current_size)"
        )


def level_of(p_value: float, effect: float, cutoffs: tuple[float, float, float]) -> Level:
    """The lower of the levels by significance (0.05, 0.01, 0.001) and by effect size.

    In a huge sample a trivial shift is significant but not large; in a small sample a large shift
    may be chance.

    Examples
    --------
    >>> cutoffs = (0.05, 0.1, 0.2)
    >>> level_of(1e-9, 0.02, cutoffs), level_of(0.02, 0.4, cutoffs), level_of(1e-9, 0.4, cutoffs)
    ('none', 'mild', 'severe')
    """
    by_significance = sum(p_value < limit for limit in P_LIMITS)
    return LEVELS[min(by_significance, bisect_right(cutoffs, effect))]
