"""Shift of a share of rows: values that are missing, or of another kind than in the reference.

The share of the reference and that of the window are compared by Cohen's h. It judges what the
tests of this folder cannot: the rows without a value that a test could read.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from driftline.streams.drift.comparison import MIN_EFFECTIVE, MIN_SAMPLES, DriftResult, level_of

CUTOFFS: Final = (0.2, 0.5, 0.8)
"""What Cohen calls a small, a medium and a large effect: mild, moderate, severe."""


class ShareOfRows(NamedTuple):
    """A share as its two counts, and the number of independent rows that they are worth.

    Parameters
    ----------
    hits, rows
        The share is hits / rows, with 0 <= hits <= rows.
    effective
        Effective sample size (`effective_size.py`), at most `rows`.
    """

    hits: int
    rows: int
    effective: float

    @property
    def share(self) -> float | None:
        """In [0, 1]; None without rows."""
        return self.hits / self.rows if self.rows else None


def share_shift(
    method: str, reference: ShareOfRows, current: ShareOfRows, *, growth_only: bool = False
) -> DriftResult:
    """Compare two shares.

    The statistic is h, positive where the share has grown, and the effect is its size. The p-value
    is that of the difference of Anscombe's angles 2 asin(sqrt((k + 3/8) / (n + 3/4))), of variance
    1 / (n + 1/2), in the normal distribution on both sides: k hits of n rows, in effective rows.
    Unlike those of h they hold for few hits. If significant, a shift is mild from 0.2, moderate
    from 0.5 and severe from 0.8: from 0 to 1 %, 6.1 % and 15.2 % of the rows.

    Parameters
    ----------
    method
        Name of the result.
    growth_only
        Whether only a greater share is a shift: the test has one side, and the effect of a smaller
        share is 0.

    Returns
    -------
    The result; "insufficient_data" with fewer than 100 rows, or 20 independent ones, on a side.

    Examples
    --------
    >>> before, now = ShareOfRows(0, 700, 700.0), ShareOfRows(105, 350, 350.0)
    >>> result = share_shift("missing", before, now)
    >>> round(result.statistic, 3), result.level
    (1.159, 'severe')

    References
    ----------
    J. Cohen (1988), Statistical Power Analysis for the Behavioral Sciences, 2nd edition, chapter 6.
    F. J. Anscombe (1948), The transformation of Poisson, binomial and negative-binomial data,
    Biometrika 35, 246-254.
    """
    n, m = reference.rows, current.rows
    sizes = min(reference.effective, n), min(current.effective, m)
    if min(n, m) < MIN_SAMPLES or min(sizes) < MIN_EFFECTIVE:
        return DriftResult(method, None, None, None, CUTOFFS, "insufficient_data", n, m, sizes[1])
    before, now = reference.hits / n, current.hits / m
    h = cohens_h(before, now)
    moved = _angle(now * sizes[1], sizes[1]) - _angle(before * sizes[0], sizes[0])
    z = moved / math.sqrt(1 / (sizes[0] + 0.5) + 1 / (sizes[1] + 0.5))
    p_value, effect = math.erfc(abs(z) / math.sqrt(2)), abs(h)
    if growth_only:
        p_value, effect = math.erfc(z / math.sqrt(2)) / 2, max(h, 0.0)
    level = level_of(p_value, effect, CUTOFFS)
    return DriftResult(method, h, p_value, effect, CUTOFFS, level, n, m, sizes[1])


def cohens_h(p: float, q: float) -> float:
    """2 asin(sqrt(q)) - 2 asin(sqrt(p)), in [-pi, pi]: the difference of two shares on a scale on
    which its variance does not depend on them.

    Examples
    --------
    >>> round(cohens_h(0.0, 0.05), 3), round(cohens_h(0.5, 0.3), 3), round(cohens_h(0.0, 1.0), 3)
    (0.451, -0.412, 3.142)
    """
    return 2 * math.asin(math.sqrt(q)) - 2 * math.asin(math.sqrt(p))


def _angle(hits: float, rows: float) -> float:
    return 2 * math.asin(math.sqrt((hits + 0.375) / (rows + 0.75)))
