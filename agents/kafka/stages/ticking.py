"""When event time moves on although nothing comes: ticks of idle partitions, and answers to
requests for them.

The task that owns a partition writes a tick and applies it in the same transaction, with the
positions after which it is in force. So it is no part of the race between topics, and a replay
judges the same rows by it. A tick without positions is a request to the task: of an operator, of
`driftline finish`, or, where recorded history is fed, of the task of stages 2 to 4 that sees how
far all partitions have come.
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
"""Without anything for so long, by the clock, an input topic is idle."""
BEHIND_MS: Final = 5 * MINUTE_MS
"""An idle partition is held to be so far behind the clock: what a producer still has on its way may
take as long.
"""

_KEY: Final = NO_ID + b"request"
REQUEST_FORMAT: Final = 1


def next_tick(
    marks_ms: Sequence[int], idle: Sequence[bool], limit_ms: int, config: Config
) -> int | None:
    """Event time of the tick that takes an idle topic of a partition into a new pane; None if there
    is none.

    The least time that does: rows that are still on their way are judged by it. A topic that is not
    idle is never overtaken.

    Parameters
    ----------
    marks_ms
        Watermarks of the predictions and of the ground truths.
    idle
        Which of the two are.
    limit_ms
        The tick lies no later than this.

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
    """What was asked of a partition and not answered yet."""

    format: int = REQUEST_FORMAT
    timestamp_ms: int = 0
    ended_ms: int | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Request).decode


class Ticking:
    """The ticks of one partition of stage 1.

    Parameters
    ----------
    now_ms
        The clock at the start: nobody knows what came before, so idleness counts from then.
    """

    def __init__(self, config: Config, state: State, now_ms: int) -> None:
        self._config = config
        self._state = state
        self._by_clock = config.clock == "wall"
        self._heard_ms = [now_ms, now_ms]
        written = state.get(_KEY)
        self._request = self._written = None if written is None else _decode(written)
        if self._request is not None and self._request.format != REQUEST_FORMAT:
            raise StateFormatError(
                f"join: the stored tick request has format {self._request.format}, this release "
                f"needs {REQUEST_FORMAT}; run the release that wrote it, or give the program "
                "another kafka.app, under which it starts anew from the input topics"
            )

    @property
    def asked(self) -> bool:
        """Whether a request waits for its answer."""
        return self._request is not None

    def heard(self, topic: int, now_ms: int) -> None:
        """Records came, of the predictions (0) or of the ground truths (1)."""
        self._heard_ms[topic] = now_ms

    def behind(self, now_ms: int) -> None:
        """There is something unread: neither topic is idle."""
        self._heard_ms = [now_ms, now_ms]

    def ask(self, rows: Sequence[TickRow]) -> None:
        """Take requests in. What a task wrote itself is no request."""
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

    def due(self, now_ms: int, marks: Marks) -> TickRow | None:
        """The tick to write now, nothing being unread;

        `after` is left to whoever knows the positions.
        """
        reached_ms = max(marks.prediction_ms, marks.truth_ms)
        request = self._request
        if request is not None:
            ended_ms = (
                marks.ended_ms if request.ended_ms is None else max(request.ended_ms, reached_ms)
            )
            return TickRow(
                timestamp_ms=request.timestamp_ms,
                # A second end would let the silence since the first one speak.
                ended_ms=ended_ms if marks.ended_ms is None else marks.ended_ms,
                reached_ms=reached_ms,
            )
        if not self._by_clock:
            return None
        idle = [now_ms - heard_ms >= IDLE_MS for heard_ms in self._heard_ms]
        if not any(idle):
            return None
        tick_ms = next_tick(
            (marks.prediction_ms, marks.truth_ms), idle, now_ms - BEHIND_MS, self._config
        )
        return None if tick_ms is None else TickRow(timestamp_ms=tick_ms)

    def write(self, *, answered: bool) -> None:
        """Keep what was asked until it is answered: its position is committed now, and the answer
        may be long in coming.
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
    """Requests for partitions that stand still while recorded history is fed: event time is what
    any partition has seen.

    Parameters
    ----------
    config
        The settings of the run.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._seen: dict[
            int, list[tuple[int, int]]
        ] = {}  # by partition, of both topics: watermark, clock when it came up
        self._asked_ms: dict[int, int] = {}

    def requests(
        self, marks: Mapping[int, tuple[int, int]], partitions: int, now_ms: int
    ) -> dict[int, int]:
        """Event time to ask of each partition that a topic of which has stood still for IDLE_MS
        while others went on.

        Parameters
        ----------
        marks
            Watermarks of both topics, by partition that has announced any.
        partitions
            Of stage 1.
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

    def asked(self, wanted: Mapping[int, int]) -> None:
        """These were asked, and need not be asked again."""
        self._asked_ms.update(wanted)


def tick_event(row: TickRow) -> Tick:
    """The tick as it stands on the topic."""
    return Tick(
        timestamp=format_time(row.timestamp_ms),
        after=row.after,
        ended=_text(row.ended_ms),
        reached=_text(row.reached_ms),
        settled=row.settled,
    )


def _text(ms: int | None) -> str | None:
    return None if ms is None else format_time(ms)
