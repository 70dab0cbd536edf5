"""Members of groups that follow each other in columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def members(lengths: Ints, at: Ints) -> Ints:
    """Indexes of the members of the groups `at`, where groups with `lengths` members follow each
    other.

    Examples
    --------
    >>> members(np.array([2, 0, 3]), np.array([2, 0])).tolist()
    [2, 3, 4, 0, 1]
    """
    taken = lengths[at]
    begin = (np.cumsum(lengths) - lengths)[at]
    inside: Ints = np.arange(int(taken.sum())) + np.repeat(
        begin - (np.cumsum(taken) - taken), taken
    )
    return inside
