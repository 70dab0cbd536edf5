"""Protocol that advances time on Kafka until all windows of the recorded history are final.

First every partition of stage 1 is asked for its largest watermark, which it reports once nothing
is unread. Then each is asked to advance to the end of time, and every task of stages 2 to 4 reports
that its windows are final. All messages are ticks on the topic `ticks`; repeated requests do no
harm. The caller sends requests and reads answers.
"""

from __future__ import annotations

from driftline.agents.kafka.broker.outgoing import Outgoing
from driftline.schemas.events import Tick
from driftline.schemas.results import encode
from driftline.schemas.rows import TickRow
from driftline.schemas.settings import Config
from driftline.schemas.times import format_time
from driftline.schemas.topics import TICKS
from driftline.streams.end_of_time import end_of_time


class Finish:
    """State of one finish, from the first request to the last answer.

    Parameters
    ----------
    config
        The settings; `config.kafka` has the numbers of partitions.

    Attributes
    ----------
    ended_ms, end_ms
        End of the history and end of time, in ms since the epoch; set by `end_requests`.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._ends_ms: dict[int, int] = {}
        self._advanced: dict[int, int] = {}
        self._settled: dict[int, int] = {}
        self.ended_ms: int | None = None
        self.end_ms: int | None = None

    def progress_requests(self) -> list[Outgoing]:
        """Requests for the largest watermark of each partition."""
        return [
            _request(partition, Tick(timestamp=format_time(0)))
            for partition in range(self._config.kafka.input_partitions)
        ]

    def note(self, partition: int, row: TickRow, *, before: bool = False) -> None:
        """Note a tick of the topic.

        `before` means that it precedes the request, so that it is no answer.
        """
        if row.settled is not None:
            self._settled[row.settled] = max(row.timestamp_ms, self._settled.get(row.settled, 0))
        elif row.reached_ms is not None and not before:
            self._ends_ms[partition] = row.reached_ms if row.ended_ms is None else row.ended_ms
            if row.ended_ms is not None:
                self._advanced[partition] = max(row.timestamp_ms, self._advanced.get(partition, 0))

    def end_requests(self) -> list[Outgoing]:
        """Requests to advance to the end of time, after all partitions have answered; sets
        `ended_ms` and `end_ms`.
        """
        self.ended_ms = max(self._ends_ms.values())
        self.end_ms = end_of_time(self._config, self.ended_ms)
        tick = Tick(timestamp=format_time(self.end_ms), ended=format_time(self.ended_ms))
        return [
            _request(partition, tick) for partition in range(self._config.kafka.input_partitions)
        ]

    @property
    def unanswered(self) -> list[int]:
        """Partitions of stage 1 that have not answered the last request."""
        if self.end_ms is None:
            return [
                partition
                for partition in range(self._config.kafka.input_partitions)
                if partition not in self._ends_ms
            ]
        return [
            p
            for p in range(self._config.kafka.input_partitions)
            if self._advanced.get(p, 0) < self.end_ms
        ]

    @property
    def unsettled(self) -> list[int]:
        """Partitions of stages 2 to 4 whose windows are not all final."""
        end_ms = self.end_ms
        return [
            p
            for p in range(self._config.kafka.partitions)
            if end_ms is None or self._settled.get(p, -1) < end_ms
        ]


def _request(partition: int, tick: Tick) -> Outgoing:
    return Outgoing(TICKS, partition, str(partition).encode(), encode(tick))
