"""Tests whether any or all elements of a mask are true.

For few elements they take a quarter of the time of `any` and `all` of an array.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def any_true(mask: NDArray[Any]) -> bool:
    """Whether any element is true, or not 0.

    Examples
    --------
    >>> any_true(np.array([False, True])), any_true(np.array([0, 0])), any_true(np.array([]))
    (True, False, False)
    """
    return bool(np.count_nonzero(mask))


def all_true(mask: NDArray[Any]) -> bool:
    """Whether no element is false, or 0.

    Examples
    --------
    >>> all_true(np.array([1, 2])), all_true(np.array([False, True])), all_true(np.array([]))
    (True, False, True)
    """
    return int(np.count_nonzero(mask)) == mask.size
