"""Whether some or all elements of a mask are true, at a quarter of what `any` and `all` of an array
take for few elements.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def some(mask: NDArray[Any]) -> bool:
    """Whether any element is true, or not 0.

    Examples
    --------
    >>> some(np.array([False, True])), some(np.array([0, 0])), some(np.array([]))
    (True, False, False)
    """
    return bool(np.count_nonzero(mask))


def every(mask: NDArray[Any]) -> bool:
    """Whether no element is false, or 0.

    Examples
    --------
    >>> every(np.array([1, 2])), every(np.array([False, True])), every(np.array([]))
    (True, False, True)
    """
    return int(np.count_nonzero(mask)) == mask.size
