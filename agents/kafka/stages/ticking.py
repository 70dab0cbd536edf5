"""Ticks: they advance event time in idle partitions and answer requests to advance.

The task that owns a partition writes a tick and applies it in the same transaction, with the
positions after which it takes effect. So the order between topics does not matter, and a replay
applies the tick to the same rows. A tick without positions is a request to the task, from an
operator, from `driftline finish`, or, under the data clock, from the task of stages 2 to 4 that
sees the watermarks of all partitions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from driftline.agents.kafka.changelog.state_format import StateFormatError
from driftline.schemas.events import Tick
from driftline.schemas.rows import TickRow
from driftline.schemas.settings import Config
from driftline.schemas.times import MINUTE_MS, format_time
from driftline.streams.join.stage import Marks
from driftline.streams.join.state_keys import NO_ID
from driftline.streams.stage import State

IDLE_MS: Final = MINUTE_MS
"""An input topic without records for this long, by the wall clock, is idle."""
BEHIND_MS: Final = 5 * MINUTE_MS
"""Ticks of idle partitions stay this far behind the wall clock: records may still be in flight from
a producer for that long.
"""

_KEY: Final = NO_ID + b"request"
REQUEST_FORMAT: Final = 1


def next_tick(
    marks_ms: Sequence[int], idle: Sequence[bool], limit_ms: int, config: Config
) -> int | None:
    """Event time of the tick that moves an idle topic of a partition into a new pane; None if no
    tick is needed.

    It is the smallest such time, because it decides whether rows in flight are late. The tick never
    passes the watermark of a topic that is not idle.

    Parameters
    ----------
    marks_ms
        Watermarks of the predictions and of the ground truths.
    idle
        Whether each of the two topics is idle.
    limit_ms
        Largest event time of the tick.

    Examples
    --------
    >>> minute = 60_000
    >>> config = Config(pane_ms=10 * minute)  # graces of one minute and of ten
    >>> next_tick((0, 0), (True, True), 25 * minute, config) / minute
    21.0
    >>> next_tick((24 * minute, 0), (False, True), 30 * minute, config) / minute
    20.0
    >>> next_tick((24 * minute, 21 * minute), (False, True), 30 * minute, config) is None
    True
    """
    flowing = [mark_ms for mark_ms, still in zip(marks_ms, idle, strict=True) if not still]
    limit_ms = min([limit_ms, *flowing])
    graces_ms = (config.prediction_grace_ms, config.truth_grace_ms)
    wanted_ms = -1
    for mark_ms, still, grace_ms in zip(marks_ms, idle, graces_ms, strict=True):
        pane = (limit_ms - grace_ms) // config.pane_ms
        if still and pane >= 0 and pane > (mark_ms - grace_ms) // config.pane_ms:
            wanted_ms = max(wanted_ms, pane * config.pane_ms + grace_ms)
    return wanted_ms if wanted_ms >= 0 else None


class Request(msgspec.Struct, array_like=True, frozen=True):
    """A request to advance that is not answered yet."""

    format: int = REQUEST_FORMAT
    timestamp_ms: int = 0
    ended_ms: int | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Request).decode


class Ticking:
    """Ticks of one partition of stage 1.

    Parameters
    ----------
    now_ms
        Wall-clock time at the start, in ms since the epoch. Idleness counts from then, because the
        time of earlier records is not known.

    Raises
    ------
    StateFormatError
        If the stored request has the format of another release.
    """

    def __init__(self, config: Config, state: State, now_ms: int) -> None:
        self._config = config
        self._state = state
        self._by_clock = config.clock == "wall"
        self._last_records_ms = [now_ms, now_ms]
        written = state.get(_KEY)
        self._request = self._written = None if written is None else _decode(written)
        if self._request is not None and self._request.format != REQUEST_FORMAT:
            raise StateFormatError(
                f"join: the stored tick request has format {self._request.format}, this release "
                f"needs {REQUEST_FORMAT}; run the release that wrote it, or give the program "
                "another kafka.app, under which it starts anew from the input topics"
            )

    @property
    def has_request(self) -> bool:
        """Whether a request waits for its answer."""
        return self._request is not None

    def note_records(self, topic: int, now_ms: int) -> None:
        """Note that records of the predictions (0) or of the ground truths (1) arrived."""
        self._last_records_ms[topic] = now_ms

    def reset_idle(self, now_ms: int) -> None:
        """Note that records are unread: neither topic is idle."""
        self._last_records_ms = [now_ms, now_ms]

    def add_requests(self, rows: Sequence[TickRow]) -> None:
        """Add the requests among these ticks. Ticks that a task wrote are no requests."""
        for row in rows:
            if row.after is not None or row.settled is not None:
                continue
            held = self._request or Request()
            ended_ms = (
                held.ended_ms if row.ended_ms is None else max(row.ended_ms, held.ended_ms or 0)
            )
            self._request = Request(
                REQUEST_FORMAT, max(row.timestamp_ms, held.timestamp_ms), ended_ms
            )

    def due_tick(self, now_ms: int, marks: Marks, limit_ms: int | None = None) -> TickRow | None:
        """The tick to write now, if any; call it only while nothing is unread.

        The caller sets `after`, because it knows the positions. By the wall clock a tick stays
        BEHIND_MS behind `limit_ms`, by default `now_ms`.
        """
        reached_ms = marks.final_ms
        request = self._request
        if request is not None:
            ended_ms = (
                marks.ended_ms if request.ended_ms is None else max(request.ended_ms, reached_ms)
            )
            return TickRow(
                timestamp_ms=request.timestamp_ms,
                # The first end stays in force: a second one would count the silence since then.
                ended_ms=ended_ms if marks.ended_ms is None else marks.ended_ms,
                reached_ms=reached_ms,
            )
        if not self._by_clock:
            return None
        idle = [now_ms - last_ms >= IDLE_MS for last_ms in self._last_records_ms]
        if not any(idle):
            return None
        tick_ms = next_tick(
            (marks.prediction_ms, marks.truth_ms),
            idle,
            (now_ms if limit_ms is None else limit_ms) - BEHIND_MS,
            self._config,
        )
        return None if tick_ms is None else TickRow(timestamp_ms=tick_ms)

    def store_request(self, *, answered: bool) -> None:
        """Keep an unanswered request in the state.

        The position after the request is committed now, and the answer may take long.
        """
        if answered:
            self._request = None
        if self._request == self._written:
            return
        if self._request is None:
            self._state.delete(_KEY)
        else:
            self._state.put(_KEY, _encode(self._request))
        self._written = self._request


class IdlePartitionRequests:
    """Requests to advance idle partitions under the data clock, where event time is the largest
    watermark of any partition.

    Parameters
    ----------
    config
        The settings of the run.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        # By partition, for both topics: watermark, and wall-clock time of its last change.
        self._seen: dict[int, list[tuple[int, int]]] = {}
        self._asked_ms: dict[int, int] = {}

    def requests(
        self, marks: Mapping[int, tuple[int, int]], partitions: int, now_ms: int
    ) -> dict[int, int]:
        """Event time to request of each partition with a topic that was idle for IDLE_MS while
        other partitions advanced.

        Parameters
        ----------
        marks
            Watermarks of both topics, by partition; partitions without any are missing.
        partitions
            Number of partitions of stage 1.
        now_ms
            Wall-clock time, in ms since the epoch.
        """
        ahead_ms = max((max(both) for both in marks.values()), default=0)
        wanted: dict[int, int] = {}
        for partition in range(partitions):
            both = marks.get(partition, (0, 0))
            seen = self._seen.setdefault(partition, [(mark_ms, now_ms) for mark_ms in both])
            for topic, mark_ms in enumerate(both):
                if seen[topic][0] != mark_ms:
                    seen[topic] = (mark_ms, now_ms)
            idle = [now_ms - since_ms >= IDLE_MS for _, since_ms in seen]
            tick_ms = next_tick(both, idle, ahead_ms, self._config)
            if tick_ms is not None and tick_ms > self._asked_ms.get(partition, -1):
                wanted[partition] = tick_ms
        return wanted

    def note_sent(self, wanted: Mapping[int, int]) -> None:
        """Note requests that were sent, so that they are not sent again."""
        self._asked_ms.update(wanted)


def tick_event(row: TickRow) -> Tick:
    """The tick as it is written to the topic."""
    return Tick(
        timestamp=format_time(row.timestamp_ms),
        after=row.after,
        ended=_text(row.ended_ms),
        reached=_text(row.reached_ms),
        settled=row.settled,
    )


def _text(ms: int | None) -> str | None:
    return None if ms is None else format_time(ms)
