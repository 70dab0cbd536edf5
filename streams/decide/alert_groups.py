"""Which open alerts of a version probably have one cause.

A feature that drifts and the loss of performance that it explains are two alerts, found days apart,
about one thing. An episode joins the group of an open one if the rules of both are about the same
(`Rule.concerns`) and the times overlap in which both came about: from the time at which the change
began to the time at which it was announced. An episode stays in its group, and a group is over when
its last episode is resolved.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from driftline.schemas.times import DAY_MS
from driftline.streams.decide.alert_lifecycle import AlertState

NEAR_MS: Final = 3 * DAY_MS
"""How far two times may be apart that count as overlapping: when a change began is an estimate."""


def group_of(
    state: AlertState, others: Iterable[tuple[str, AlertState]]
) -> tuple[str, AlertState] | None:
    """The episode whose group a new one joins: of those that are near, the one that fired first;
    None if there is none.

    Parameters
    ----------
    state
        The state of the new episode.
    others
        Rules and states of the open episodes of the version that are about the same, in the order
        in which they fired.

    Examples
    --------
    >>> day = 86_400_000
    >>> drift = AlertState(firing=True, began_ms=10 * day, news_ms=17 * day, group_id="drift-17")
    >>> loss = AlertState(firing=True, began_ms=18 * day, news_ms=25 * day)
    >>> group_of(loss, [("drift", drift)])[1].group_id
    'drift-17'
    >>> later = AlertState(firing=True, began_ms=30 * day, news_ms=40 * day)
    >>> group_of(later, [("drift", drift)]) is None
    True
    """
    for rule, other in others:
        if state.began_ms <= other.news_ms + NEAR_MS and other.began_ms <= state.news_ms + NEAR_MS:
            return rule, other
    return None
