"""Evidence, gathered over windows, that a share of rows is above a level.

Page's (1954) CUSUM of binomial counts: the likelihood ratio of a raised share against an allowed
one, since the time at which it was least. It gathers what no single window proves. While the share
is the allowed one or less, its logarithm reaches h after about exp(h) / (n I) windows of n rows on
average, I the information of a row (Siegmund 1985, section 2.6), and after no fewer than exp(h)
windows (Lorden 1971, theorem 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

ODDS: Final = 1.5
"""Odds of the raised share in units of those of a level: 7.3 % for a level of 5 %."""
USUAL_WINDOWS: Final = 168
"""Windows over which the usual number of rows is averaged."""
RECOVERED: Final = 20.0
"""Likelihood ratio at which a share is below its level again."""


_S = TypeVar("_S", bound=str)


class Track(msgspec.Struct, frozen=True, array_like=True):
    """Rows since the time at which the likelihood ratio was least.

    Parameters
    ----------
    since_ms
        That time; -1 where it is now.
    n, hits
        Rows, and those that the share counts. A row that several windows have is counted in parts,
        which add up to one.
    """

    since_ms: int = -1
    n: float = 0.0
    hits: float = 0.0

    @property
    def share(self) -> float:
        """`hits` of `n`; 0 without rows."""
        return self.hits / self.n if self.n else 0.0


class Trial(msgspec.Struct, frozen=True):
    """Rows of a window, those beyond a level, and the two shares that are compared."""

    n: float
    hits: float
    allowed: float
    raised: float

    @property
    def information(self) -> float:
        """Mean logarithm of the likelihood ratio of a row with the allowed share, with its sign
        changed: the Kullback-Leibler information, in nats.
        """
        return -log_ratio(1.0, self.allowed, self)


class LevelEvidence(msgspec.Struct, frozen=True, omit_defaults=True):
    """Evidence of one rule on one series.

    Parameters
    ----------
    window
        Name of the window that is read.
    above
        By severity.
    back
        Evidence for a recovery, since a level was exceeded; None while none is.
    windows, usual_n
        Number of windows so far, and the usual number of rows of one.
    """

    window: str = ""
    above: dict[str, Track] = {}
    back: Track | None = None
    windows: int = 0
    usual_n: float = 0.0


class Step(NamedTuple, Generic[_S]):
    """What follows from one more window.

    Parameters
    ----------
    evidence
        With the window; an empty one after a recovery.
    severity
        The worst level that is exceeded; None while none is.
    is_over
        Whether the share is below its level again.
    track
        The rows that say so; empty where nothing is said.
    """

    evidence: LevelEvidence
    severity: _S | None = None
    is_over: bool = False
    track: Track = Track()


def raised(level: float) -> float:
    """The share with 1.5 times the odds of a level.

    Examples
    --------
    >>> round(raised(0.05), 4)
    0.0732
    """
    odds = ODDS * level / (1.0 - level)
    return odds / (1.0 + odds)


def log_ratio(n: float, hits: float, of: Trial) -> float:
    """Logarithm of the likelihood ratio of the raised share against the allowed one.

    Examples
    --------
    >>> trial = Trial(100, 0, 0.04, 0.08)
    >>> round(log_ratio(100, 4, trial), 3), round(log_ratio(100, 8, trial), 3)
    (-1.313, 1.63)
    """
    return hits * log(of.raised / of.allowed) + (n - hits) * log(
        (1.0 - of.raised) / (1.0 - of.allowed)
    )


def with_window(
    evidence: LevelEvidence,
    window: str,
    start_ms: int,
    above: Mapping[_S, Trial],
    back: Trial,
    limit: float,
) -> Step[_S]:
    """Add a window to the evidence.

    Parameters
    ----------
    above
        By severity, the less severe first.
    back
        Against the level at which an alert resolves.
    limit
        Mean number of windows between two false alarms.

    Examples
    --------
    >>> evidence, found = LevelEvidence(), []
    >>> for hour, errors in enumerate([1, 9, 9, 9, 9, 1, 1]):
    ...     trial = Trial(100, errors, 0.04, 0.08)
    ...     evidence, severity, is_over, _ = with_window(
    ...         evidence, "1h", hour, {"warning": trial}, trial, 1000.0
    ...     )
    ...     found.append("over" if is_over else severity)
    >>> found
    [None, None, None, 'warning', 'warning', 'over', None]
    """
    if evidence.window != window and evidence.back is None:
        evidence = LevelEvidence(window)
    windows = min(evidence.windows + 1, USUAL_WINDOWS)
    usual_n = evidence.usual_n + (back.n - evidence.usual_n) / windows
    tracks: dict[str, Track] = {
        severity: _added(evidence.above.get(severity, Track()), start_ms, trial, 1.0)
        for severity, trial in above.items()
    }
    exceeded = [
        severity
        for severity, trial in above.items()
        if log_ratio(tracks[severity].n, tracks[severity].hits, trial)
        >= _log_limit(limit, usual_n * trial.information)
    ]
    recovery = evidence.back
    if recovery is None:
        recovery = Track() if exceeded else None
    else:
        recovery = _added(recovery, start_ms, back, -1.0)
        is_over = -log_ratio(recovery.n, recovery.hits, back) >= log(RECOVERED)
        if is_over and recovery.share <= back.allowed:
            anew = LevelEvidence(window, windows=windows, usual_n=usual_n)
            return Step(anew, is_over=True, track=recovery)
    after = LevelEvidence(evidence.window, tracks, recovery, windows, usual_n)
    if recovery is None:
        return Step(after)
    severity = exceeded[-1] if exceeded else next(iter(above))
    return Step(after, severity, track=tracks[severity])


def _log_limit(limit: float, information: float) -> float:
    """The logarithm that is reached once in `limit` windows of so much information on average."""
    return max(log(limit * min(information, 1.0)), log(RECOVERED))


def _added(track: Track, start_ms: int, trial: Trial, sign: float) -> Track:
    """The track with a window, or an empty one where the ratio is less than without any rows."""
    since_ms = track.since_ms if track.n else start_ms
    after = Track(since_ms, track.n + trial.n, track.hits + trial.hits)
    return after if sign * log_ratio(after.n, after.hits, trial) > 0.0 else Track()
