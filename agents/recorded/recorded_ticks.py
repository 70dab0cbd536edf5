"""Ticks of an exported log: the rows that each applies to, and when it advances its partition.

A live task writes a tick with the positions from which it is in force. A replay applies it to
exactly the rows from those positions on, in whatever order topics and partitions are merged, and
advances the partition once all rows before them have been read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from driftline.agents.recorded.topic_log import (
    Decode,
    Indexes,
    Portion,
    Position,
    TopicLog,
    check_partitions,
)
from driftline.schemas.rows import LossRow, TickRow
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS
from driftline.streams.partial import LostSpan

TICKED: Final = (PREDICTIONS, GROUND_TRUTH)
END: Final = np.iinfo(np.int64).max
"""Position of a topic that has been read to its end."""
_LINES: Final = 10_000


class RecordedTicks:
    """All ticks of an exported log, which are few.

    Ticks without positions are requests, which advanced nothing; they are skipped.

    Parameters
    ----------
    path
        `ticks.jsonl`.
    decode
        Decoders of the topic, as for `TopicLog`.
    partitions
        Partitions of stage 1.

    Attributes
    ----------
    rejects
        Portions with rejected lines.
    position
        The end of the file.
    last_ms
        The largest event time of a tick, 0 without any.
    ended
        True if the recorded run advanced to the end of time.
    before_end_ms
        Event time of the last tick before the first one that ends the history, by partition; 0
        without any.
    losses
        Rows that the recorded run lost, of all partitions.

    Raises
    ------
    LogError
        If the file cannot be read, or has a partition beyond `partitions`.
    """

    def __init__(self, path: Path, decode: tuple[Decode, Decode], partitions: int) -> None:
        self.rejects: list[Portion] = []
        self.losses: list[LostSpan] = []
        ticks: list[list[TickRow]] = [[] for _ in range(partitions)]
        log = TopicLog(path, decode)
        while True:
            log.fill(_LINES)
            if not log.buffered:
                break
            portion = log.take(min(_LINES, log.buffered))
            check_partitions(portion, partitions, path)
            if portion.rejects:
                self.rejects.append(portion)
            for row, partition in zip(portion.rows, portion.partition.tolist(), strict=True):
                if row.after is None:
                    continue
                for loss in row.lost:
                    self.losses.append(LostSpan.of(partition, loss))
                    _begin_anew(ticks[partition], loss)
                ticks[partition].append(row)
        log.close()
        self.position: Position = log.position
        # Each entry of these lists is an array with one value per tick of a partition.
        self._times = [_running([0, *(tick.timestamp_ms for tick in own)]) for own in ticks]
        self._ended = [
            _running([-1, *(-1 if tick.ended_ms is None else tick.ended_ms for tick in own)])
            for own in ticks
        ]
        self._after = {
            topic: [_running([(tick.after or {}).get(topic, 0) for tick in own]) for own in ticks]
            for topic in TICKED
        }
        self.last_ms = max(int(times[-1]) for times in self._times)
        self.ended = any(int(ended[-1]) >= 0 for ended in self._ended)
        self.before_end_ms = [
            int(times[np.searchsorted(ended, 0) - 1])
            for times, ended in zip(self._times, self._ended, strict=True)
        ]

    def floors(self, topic: str, partition: int, offset: Indexes) -> Indexes:
        """Event time that ticks had advanced the partition to when the rows at `offset`, shape
        (N,), arrived; 0 before the first tick.
        """
        return self._times[partition][
            np.searchsorted(self._after[topic][partition], offset, side="right")
        ]

    def reached(self, partition: int, positions: Sequence[int]) -> tuple[int, int | None]:
        """The tick in force after reading the topics of TICKED up to `positions`, and the end of
        the history if a tick up to there has it.
        """
        ticks_passed = [
            int(np.searchsorted(self._after[topic][partition], position, side="right"))
            for topic, position in zip(TICKED, positions, strict=True)
        ]
        ended_ms = int(self._ended[partition][min(ticks_passed)])
        return int(self._times[partition][min(ticks_passed)]), None if ended_ms < 0 else ended_ms


def _begin_anew(before: Sequence[TickRow], loss: LossRow) -> None:
    """Let earlier ticks apply to all rows of a topic that was made anew, or lost its end: their
    positions count in what is gone.
    """
    if loss.fault == "deleted":
        return
    parts = [known for tick in before for known in tick.lost if known.topic == loss.topic]
    if parts and (parts[-1].position, parts[-1].resumed_at) == (loss.position, loss.resumed_at):
        return  # a further part of the same loss
    for tick in before:
        if tick.after is not None and tick.after.get(loss.topic, 0) > loss.resumed_at:
            tick.after[loss.topic] = loss.resumed_at


def _running(values: Sequence[int]) -> Indexes:
    return np.maximum.accumulate(np.array(values, np.int64))
