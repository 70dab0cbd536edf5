"""Rows that were lost before they were read, and the windows that may lack them.

Stage 1 sends a span of event time for each loss. Nobody knows whose rows they were, so the windows
of all models are concerned. Rows that would have been late are left out of account.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import msgspec

from driftline.schemas.results import LostRows
from driftline.schemas.times import EpochMs
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS
from driftline.streams.lanes import ARRIVALS, DECISIONS, NO_MODEL, TRAFFIC
from driftline.streams.measure.state_keys import LOSSES
from driftline.streams.partial import LostSpan
from driftline.streams.stage import State

FORMAT: Final = 1
MOST_SPANS: Final = 256
"""Beyond so many spans, the two of a topic that are closest to each other become one."""
MOST_WINDOWS: Final = 1_000
"""Windows of which is remembered what they lack."""


class Losses:
    """All losses of a task, a cache of `State`. They are kept for ever: a window since deployment
    may contain any of them.

    Parameters
    ----------
    park_ms
        How long a truth waits for its prediction.
    """

    def __init__(self, park_ms: int) -> None:
        self._park_ms = park_ms
        self._spans: list[LostSpan] = []
        self._found: dict[tuple[int, ...], list[LostRows]] = {}

    def load(self, state: State) -> None:
        """Read them from the state.

        Raises
        ------
        ValueError
            If another release wrote them.
        """
        data = state.get(LOSSES)
        if data is None:
            return
        format_, spans = _decode(data)
        if format_ != FORMAT:
            raise ValueError(
                f"measure: losses of format {format_} in the state, this release reads format "
                f"{FORMAT}; replay the log into a new folder"
            )
        self._spans = spans

    def add(self, spans: Sequence[LostSpan], state: State) -> None:
        """Add losses and write all of them to the state."""
        if spans:
            self._spans = _bounded(sorted({*self._spans, *spans}, key=_order))
            self._found.clear()
            state.put(LOSSES, _encode((FORMAT, self._spans)))

    def horizon_ms(self, model: str, label_horizon_ms: int) -> int:
        """How long after its own time a row of a model, or of none, counts in the arrivals."""
        return label_horizon_ms + (self._park_ms if model == NO_MODEL else 0)

    def of_window(
        self, lane: int, start_ms: int, end_ms: int, *, complete_at_ms: int, horizon_ms: int
    ) -> list[LostRows]:
        """What a window may lack, by input; empty if it is whole.

        Parameters
        ----------
        start_ms, end_ms
            The window, end excluded.
        complete_at_ms
            End of the window plus the delay of its rung.
        horizon_ms
            How long after a row it can still be counted in the arrivals, of `horizon_ms`.

        Notes
        -----
        A lost prediction is missing in the traffic and in the decisions of its own time, and in the
        arrivals up to the label horizon after it, when its truth is known. A lost truth is missing
        in the arrivals of its own time, and in the decisions of the time before it, down to the
        delay of the rung; its prediction counts as expired in the arrivals up to the label horizon
        after it. Among the rows without a model, the truth of a lost prediction counts as unmatched
        when its park is over, and a lost truth without a prediction does not. A lost record of
        `window-partials` may have had counts of both.

        A window that was announced before the loss was known has no part in it: the frontier was
        not beyond the beginning of the span. So the marks do not depend on when it became known.
        """
        if not self._spans:
            return _WHOLE
        # Nearly all series of a window ask the same.
        window = lane, start_ms, end_ms, complete_at_ms, horizon_ms
        known = self._found.get(window)
        if known is None:
            if len(self._found) >= MOST_WINDOWS:
                self._found.clear()
            known = self._found[window] = self._of_window(*window)
        return known

    def _of_window(
        self, lane: int, start_ms: int, end_ms: int, complete_at_ms: int, horizon_ms: int
    ) -> list[LostRows]:
        found: dict[str, list[LostSpan]] = {}
        for span in self._spans:
            first_ms, behind_ms = start_ms, end_ms
            if lane == ARRIVALS and span.topic in (PREDICTIONS, GROUND_TRUTH):
                first_ms -= horizon_ms
            elif lane == TRAFFIC and span.topic == GROUND_TRUTH:
                continue
            elif lane == DECISIONS and span.topic != PREDICTIONS:
                behind_ms = complete_at_ms
            if span.from_ms < behind_ms and span.until_ms >= first_ms:
                found.setdefault(span.topic, []).append(span)
        return [_rows_of(topic, spans) for topic, spans in found.items()]


def _rows_of(topic: str, spans: Sequence[LostSpan]) -> LostRows:
    # Several spans of one loss have the same number: that of the whole loss.
    counts = {(span.partition, span.resumed_at): span.records for span in spans}
    known = [count for count in counts.values() if count is not None]
    return LostRows(
        topic=topic,
        from_ms=EpochMs(min(span.from_ms for span in spans)),
        until_ms=EpochMs(max(span.until_ms for span in spans)),
        records=sum(known) if len(known) == len(counts) else None,
    )


def _bounded(spans: list[LostSpan]) -> list[LostSpan]:
    """At most MOST_SPANS spans that cover all of these; they are in order."""
    while len(spans) > MOST_SPANS:
        gaps = [
            (later.from_ms - earlier.until_ms, place)
            for place, (earlier, later) in enumerate(pairwise(spans))
            if earlier.topic == later.topic
        ]
        _, place = min(gaps)
        earlier, later = spans[place : place + 2]
        records = _rows_of(earlier.topic, (earlier, later)).records
        merged = msgspec.structs.replace(
            later,
            from_ms=earlier.from_ms,
            until_ms=max(earlier.until_ms, later.until_ms),
            records=records,
        )
        spans = [*spans[:place], merged, *spans[place + 2 :]]
    return spans


def _order(span: LostSpan) -> tuple[str, int, int, int, int]:
    return span.topic, span.from_ms, span.until_ms, span.partition, span.resumed_at


_WHOLE: Final[list[LostRows]] = []
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, list[LostSpan]]).decode
