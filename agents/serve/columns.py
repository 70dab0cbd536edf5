"""Arrays of the read model as columns of an answer."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from driftline.agents.serve.route import Unanswerable, shown
from driftline.schemas.times import EpochMs


def numbers(values: npt.NDArray[np.float64]) -> list[float | None]:
    """The values, None in place of NaN.

    Examples
    --------
    >>> numbers(np.array([0.5, np.nan]))
    [0.5, None]
    """
    plain: list[float | None] = values.tolist()
    for place in np.flatnonzero(np.isnan(values)).tolist():
        plain[place] = None
    return plain


def times(values: npt.NDArray[np.int64]) -> list[EpochMs]:
    """The times, as answers have them."""
    return list(map(EpochMs, values.tolist()))


def check_metrics(wanted: Iterable[str], known: Iterable[str]) -> None:
    """Check that there are these metrics.

    Raises
    ------
    Unanswerable
        If there is none of a name; the message lists those that there are.
    """
    there = sorted(known)
    for name in wanted:
        if there and name not in there:
            raise Unanswerable(
                status=404,
                parameter="metric",
                needed=f"a metric of this series: {', '.join(there)}",
                got=shown(name),
                remedy="name one of them",
            )
