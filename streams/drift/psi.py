"""Population Stability Index."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from driftline.streams.drift.comparison import DriftTest
from driftline.streams.drift.reference_groups import Summary, grouped
from driftline.streams.drift.tail_probabilities import chi_squared_tail
from driftline.streams.summaries.numeric_bins import Ints


class PopulationStabilityIndex(DriftTest, frozen=True, tag="psi"):
    """Population Stability Index over groups of about equal shares of the reference, or over its
    most frequent texts.

    The p-value is that of PSI / (1/n + 1/m) in the chi-squared distribution with B - 1 degrees of
    freedom, where n and m are effective sample sizes. The effect is PSI less its mean without
    drift, (B - 1) (1/n + 1/m), at least 0: if significant, a shift is mild from 0.1, moderate from
    0.2 and severe from 0.25.

    Parameters
    ----------
    groups
        B, the number of groups.
    min_samples, min_effective
        As in `DriftTest`.

    Returns
    -------
    `compare` gives a `DriftResult` with the index, in nats, as its statistic.

    Examples
    --------
    >>> from driftline.streams.summaries.text_summary import StringSummary
    >>> reference = StringSummary.of_counts({"a": 900, "b": 100})
    >>> current = StringSummary.of_counts({"a": 500, "b": 500})
    >>> result = PopulationStabilityIndex().compare(reference, current)
    >>> round(result.statistic, 3), result.level
    (0.876, 'severe')

    References
    ----------
    B. Yurdakul (2018), Statistical Properties of Population Stability Index, Western Michigan
    University.
    """

    groups: int = 10

    texts: ClassVar[bool] = True
    cutoffs: ClassVar[tuple[float, float, float]] = (0.1, 0.2, 0.25)

    def __post_init__(self) -> None:
        if self.groups < 2:
            raise ValueError(f"drift.psi: groups is {self.groups}, needed at least 2")

    def judge(
        self, reference: Summary, current: Summary, reference_size: float, current_size: float
    ) -> tuple[float, float, float]:
        """The index, its p-value, and the index beyond chance."""
        p, q = grouped(reference, current, self.groups)
        if len(p) < 2:
            return 0.0, 1.0, 0.0
        statistic = psi(p, q)
        scale, degrees = 1 / reference_size + 1 / current_size, len(p) - 1
        return (
            statistic,
            chi_squared_tail(statistic / scale, degrees),
            max(0.0, statistic - degrees * scale),
        )


def psi(reference_counts: Ints, current_counts: Ints) -> float:
    """Population Stability Index between two histograms on the same groups, in nats.

    Sum over groups of (q - p) ln(q / p), with p the reference and q the current shares. Half a
    count is added to every group, so an empty group gives a large but finite index.

    Parameters
    ----------
    reference_counts, current_counts
        Shape (B,), counts per group.

    Examples
    --------
    >>> round(psi(np.array([90, 10]), np.array([50, 50])), 4)
    0.8531
    """
    if reference_counts.shape != current_counts.shape:
        raise ValueError(
            f"drift.psi: the reference has {len(reference_counts)} groups, the current side"
            f" {len(current_counts)}"
        )
    p, q = reference_counts + 0.5, current_counts + 0.5
    p, q = p / p.sum(), q / q.sum()
    return float(((q - p) * np.log(q / p)).sum())
