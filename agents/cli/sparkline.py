"""A line of block characters that shows values over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_GAP: Final = "·"


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """One character per value, from the smallest to the largest value; NaN is a dot.

    Parameters
    ----------
    values
        Shape (N,), in the order of time.
    width
        Most characters. Of more values, each character is the mean of neighbours.

    Examples
    --------
    >>> sparkline([0.0, 0.5, float("nan"), 1.0])
    '▁▅·█'
    >>> sparkline([3.0, 3.0]), sparkline([])
    ('▄▄', '')
    """
    places = _means(values, width)
    known = [value for value in places if not math.isnan(value)]
    if not known:
        return _GAP * len(places)
    low, high = min(known), max(known)
    return "".join(_GAP if math.isnan(value) else _block(value, low, high) for value in places)


def _block(value: float, low: float, high: float) -> str:
    if high == low:
        return _BLOCKS[3]
    return _BLOCKS[round((value - low) / (high - low) * (len(_BLOCKS) - 1))]


def _means(values: Sequence[float], width: int) -> list[float]:
    """At most `width` means of neighbours, without the values that are NaN."""
    count = min(len(values), width)
    means = []
    for place in range(count):
        start, end = place * len(values) // count, (place + 1) * len(values) // count
        known = [value for value in values[start:end] if not math.isnan(value)]
        means.append(sum(known) / len(known) if known else math.nan)
    return means
