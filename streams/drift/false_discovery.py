"""Control of the false discovery rate over the tests of a window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from driftline.streams.drift.comparison import DriftResult


def adjust(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Adjusted p-values after Benjamini and Hochberg: of the tests below a limit, at most that
    share are false discoveries.

    Parameters
    ----------
    p_values
        Shape (T,), in [0, 1].

    Examples
    --------
    >>> adjust(np.array([0.01, 0.04, 0.03, 0.5])).round(4).tolist()
    [0.04, 0.0533, 0.0533, 0.5]

    References
    ----------
    Y. Benjamini, Y. Hochberg (1995), Controlling the false discovery rate, JRSS B 57; D. Yekutieli,
    Y. Benjamini (1999), Journal of Statistical Planning and Inference 82, for the adjusted
    p-values.
    """
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    stepped = p_values[order] * count / np.arange(1, count + 1)
    adjusted = np.empty(count)
    adjusted[order] = np.minimum(np.minimum.accumulate(stepped[::-1])[::-1], 1.0)
    return adjusted


def adjusted(results: Sequence[DriftResult]) -> list[DriftResult]:
    """Results of one window, in order, with p-values adjusted for their number and the levels that
    follow.

    Results without a p-value (insufficient data, identifiers) are unchanged and do not count as
    tests.
    """
    tested = [i for i, result in enumerate(results) if result.p_value is not None]
    values = adjust(np.array([results[i].p_value for i in tested], dtype=np.float64))
    out = list(results)
    for i, p_value in zip(tested, values.tolist(), strict=True):
        out[i] = results[i].with_p_value(p_value)
    return out
