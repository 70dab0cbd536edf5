"""Fewer windows of a long series, so that a chart of it looks the same."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def thinned(values: npt.NDArray[np.float64], points: int) -> npt.NDArray[np.int64]:
    """Places of at most `points` values, among them the first and the last one, and of each stretch
    of neighbours the least and the greatest value: nothing is averaged, and no peak is lost.

    Parameters
    ----------
    values
        Shape (W,); NaN where there is none.
    points
        At least 2.

    Examples
    --------
    >>> thinned(np.array([0.0, 5.0, 1.0, 1.0, -3.0, 1.0, 1.0, 1.0]), 4).tolist()
    [0, 1, 4, 7]
    """
    count = len(values)
    if count <= points:
        return np.arange(count)
    places = {0, count - 1}
    stretches = (points - 2) // 2
    bounds = np.linspace(1, count - 1, stretches + 1).astype(int) if stretches else np.array([1])
    for start, end in zip(bounds[:-1], bounds[1:], strict=True):
        part = values[start:end]
        known = np.flatnonzero(~np.isnan(part))
        if len(known):
            places.add(int(start + known[np.argmin(part[known])]))
            places.add(int(start + known[np.argmax(part[known])]))
        elif len(part):
            places.add(int(start))
    return np.array(sorted(places))
