"""Evidence, gathered over windows, that a share of rows has shifted from that of the reference.

    windows     |------|                  leans: a track begins
                 |------|
                   ...
                        |------|          the next one without common rows: its rows join
                                |------|  and so on, as long as every window leans

A window leans where its own p-value is below 0.05 on the side of the track. The rows of windows
without common rows are compared with the reference as if they were one window: a small shift that
stays is proven by a longer time. At most one such comparison of a share is made for each length of
a window, so that their number is what the budget of false alarms has to pay for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from driftline.streams.decide.judgement import Shift
from driftline.streams.drift.comparison import DriftResult
from driftline.streams.drift.share_shift import ShareOfRows, share_shift

LEANS: Final = 0.05
"""p-value below which a window leans."""


class Track(msgspec.Struct, frozen=True, array_like=True):
    """Rows of windows in a row that lean to the same side.

    Parameters
    ----------
    start_ms, end_ms
        Start of the first window that counts, and end of the last.
    windows
        Number of windows that count.
    hits, rows, effective
        Rows that the share counts, all rows, and the independent rows that these are worth.
    grows
        Whether the share is greater than that of the reference.
    """

    start_ms: int
    end_ms: int
    windows: int
    hits: int
    rows: int
    effective: float
    grows: bool


Tracks = dict[str, Track]
"""By target and method, joined by a line end."""


def with_window(
    tracks: Mapping[str, Track], shifts: Sequence[Shift], start_ms: int, end_ms: int
) -> Tracks:
    """The tracks after one more window; those of shares that do not lean are over.

    Examples
    --------
    >>> def missing(share):
    ...     return Shift("feature:age", "missing", "none", 0.3, 0.01, share, 0.01, 500, 1000, 500.0)
    >>> tracks = with_window({}, [missing(0.04)], 0, 7)
    >>> tracks = with_window(tracks, [missing(0.05)], 1, 8)  # it has rows of the first window
    >>> tracks = with_window(tracks, [missing(0.06)], 7, 14)
    >>> [(track.windows, track.rows, track.hits) for track in tracks.values()]
    [(2, 1000, 50)]
    >>> with_window(tracks, [], 8, 15)
    {}
    """
    after: Tracks = {}
    for shift in shifts:
        current = _rows_of(shift)
        if current is None or shift.p_value is None or shift.p_value >= LEANS:
            continue
        grows, key = (shift.statistic or 0.0) > 0.0, key_of(shift)
        track = tracks.get(key)
        if track is None or track.grows is not grows:
            after[key] = Track(start_ms, end_ms, 1, *current, grows)
        elif start_ms >= track.end_ms:
            after[key] = Track(
                track.start_ms,
                end_ms,
                track.windows + 1,
                track.hits + current.hits,
                track.rows + current.rows,
                track.effective + current.effective,
                grows,
            )
        else:
            after[key] = track
    return after


def gathered(track: Track, shift: Shift) -> DriftResult | None:
    """The rows of a track against the reference of a result; None for a single window, which the
    result itself judges.
    """
    current = _rows_of(shift)
    if track.windows < 2 or current is None or shift.reference_share is None:
        return None
    # Rows of both sides depend on each other alike (`measure/drift/feature_shares.py`).
    worth = current.effective / current.rows
    reference = ShareOfRows(
        round(shift.reference_share * shift.n_reference),
        shift.n_reference,
        shift.n_reference * worth,
    )
    now = ShareOfRows(track.hits, track.rows, track.effective)
    return share_shift(shift.method, reference, now, growth_only=shift.method == "unseen")


def key_of(shift: Shift) -> str:
    """Name of the track of a result."""
    return f"{shift.target}\n{shift.method}"


def _rows_of(shift: Shift) -> ShareOfRows | None:
    if shift.share is None or not shift.n or shift.n_effective is None:
        return None
    return ShareOfRows(round(shift.share * shift.n), shift.n, shift.n_effective)
