"""The order of the rows of a plain log: recognised before a run, and put right by sorting.

The lines of a plain log are read in the order of the file, as if they had arrived in it. Files that
were put together otherwise (newest first, one host after the other, several hosts of which one
lags) have rows so far behind the rows before them that they would be late. `look` recognises them
by the event times alone, and `sort_file` writes the lines in order of event time, each with its
number in the user's file, which `topic_log.py` reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import numpy as np
from msgspec import Struct

from driftline.agents.input_rules import with_rules
from driftline.agents.recorded.event_times import NO_TIME, Ints, event_times
from driftline.agents.recorded.lines import CHUNK_BYTES, LineFile
from driftline.agents.recorded.sort_by_time import RUN_BYTES, LinesByTime
from driftline.schemas.settings import Config
from driftline.schemas.times import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS

# A row is behind if as many rows before it have later times. One row that is dated far ahead must
# not put all rows after it behind.
MAX_WITNESSES: Final = 10
MIN_WITNESSES: Final = 2
ROWS_PER_WITNESS: Final = 100
# A log recorded in the order of arrival has some late rows, and a row may be dated far back.
MIN_BEHIND: Final = 2
MAX_BEHIND_PERCENT: Final = 1
# Of a large file in order, parts of at most an eighth of the bytes are enough. Any 1 % of the bytes
# that are together hold three parts or four, and a part has 25 rows: enough witnesses for most.
SAMPLED_BYTES: Final = 2 << 20
SAMPLE_PARTS: Final = 400
SAMPLED_SHARE: Final = 8
MIN_SAMPLED_ROWS: Final = 25 * SAMPLE_PARTS
_UNITS: Final = (("days", DAY_MS), ("hours", HOUR_MS), ("minutes", MINUTE_MS))


def graces_ms(config: Config) -> dict[str, int]:
    """How far behind the watermark a row of each topic may be without being late, in ms."""
    return {PREDICTIONS: config.prediction_grace_ms, GROUND_TRUTH: config.truth_grace_ms}


class RowOrder(Struct, frozen=True):
    """Order of the rows of a file.

    Attributes
    ----------
    rows
        Rows with a valid time that were looked at: all of them, or a sample of a large file without
        more than a few that are behind.
    behind
        Those that lie behind rows before them by more than the grace, so that they would be late.
    most_ms
        How far behind at most, in ms; 0 without any.
    sorted
        Whether the rows are read in order of event time instead of the order of the file.
    """

    rows: int
    behind: int
    most_ms: int
    sorted: bool

    def sentence(self, topic: str) -> str:
        """What was found, what was done, and how to have it otherwise."""
        return with_rules(
            f"{self.behind:,} of {self.rows:,} rows of {topic} lay up to {duration(self.most_ms)} "
            "behind rows before them and would have been late, so the rows were sorted by event "
            "time (--keep-order takes the order of the file as the order of arrival)",
            "Order and loss of a recorded log",
        )


Report = Callable[[int, int], None]
"""Called with the lines and bytes of a file that have been read."""


def look(
    path: Path,
    topic: str,
    *,
    grace_ms: int,
    latest_ms: int,
    progress: Report = lambda lines, read_bytes: None,
) -> RowOrder:
    """Look at the event times of a plain file.

    Parameters
    ----------
    path
        JSON lines of `topic`.
    grace_ms
        How far behind the watermark a row may be without being late.
    latest_ms
        Rows with a later time will be rejected; they do not count here.
    progress
        Called between two parts of a large file.

    Returns
    -------
    RowOrder
        `sorted` says that the rows must be: more than one of them, and more than 1 %, are behind
        by more than the grace. The row that they are compared with is the one with the K-th largest
        time before them, K = 2 and one more for each hundred rows, at most 10. So K - 1 rows that
        are dated too far ahead put no other row behind.

    Raises
    ------
    LogError
        If the file cannot be read.
    """
    if path.stat().st_size >= SAMPLED_BYTES:
        sample = _Times(grace_ms)
        for values in _sampled_parts(path):
            known = _plausible_times(values, topic, latest_ms)
            sample.add(known[known != NO_TIME])
        found = sample.order()
        is_clear = SAMPLED_SHARE * 100 * found.behind <= MAX_BEHIND_PERCENT * found.rows
        if found.rows >= MIN_SAMPLED_ROWS and is_clear:
            return found
    times = _Times(grace_ms)
    for values in _parts(path, progress):
        known = _plausible_times(values, topic, latest_ms)
        times.add(known[known != NO_TIME])
    return times.order()


def sort_file(
    path: Path,
    topic: str,
    target: Path,
    *,
    latest_ms: int,
    run_bytes: int = RUN_BYTES,
    progress: Report = lambda lines, read_bytes: None,
) -> None:
    """Write the lines of a plain file in order of event time, each after its number in the file.

    A line without a valid time, or with one later than `latest_ms`, keeps its place after the line
    before it. Equal times keep their order.

    Parameters
    ----------
    target
        The file to write; its folder, which is made, also holds temporary files. It appears at the
        end, complete.
    run_bytes
        Bytes of lines in memory at a time.
    progress
        Called between two parts of the file.

    Raises
    ------
    LogError
        If the file cannot be read.
    """
    target.parent.mkdir(exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    before_ms = 0
    with closing(LinesByTime(target.parent, run_bytes=run_bytes)) as by_time:
        for values in _parts(path, progress):
            times = _plausible_times(values, topic, latest_ms)
            for time_ms, line in zip(times.tolist(), values, strict=True):
                before_ms = before_ms if time_ms == NO_TIME else time_ms
                by_time.add(before_ms, line)
        by_time.write(partial, numbered=True)
    partial.rename(target)


def _parts(path: Path, progress: Report) -> Iterator[list[bytes]]:
    """The lines of a file, a part at a time; a small file is read too fast for a report."""
    n = 0
    with LineFile(path) as lines:
        while (chunk := lines.read()) is not None:
            if chunk.begin > CHUNK_BYTES // 2:
                progress(n, chunk.begin)
            yield chunk.values
            n += len(chunk.values)


def _sampled_parts(path: Path) -> Iterator[list[bytes]]:
    """The whole lines in parts of a file at equal distances, those of a chunk together."""
    stride = path.stat().st_size // SAMPLE_PARTS
    part_bytes = min(stride // SAMPLED_SHARE, CHUNK_BYTES)
    values: list[bytes] = []
    read_bytes = 0
    with path.open("rb", buffering=0) as file:
        for i in range(SAMPLE_PARTS):
            file.seek(i * stride)
            # The first line may have begun before the part, the last one may go on after it.
            values += file.read(part_bytes).split(b"\n")[1:-1]
            read_bytes += part_bytes
            if read_bytes >= CHUNK_BYTES:
                yield values
                values, read_bytes = [], 0
    yield values


def _plausible_times(values: Sequence[bytes], topic: str, latest_ms: int) -> Ints:
    """Event time of each line in ms, NO_TIME for one that says nothing about the order."""
    times = event_times(values, topic)
    return np.where(times <= latest_ms, times, NO_TIME)


class _Times:
    """Counts the rows of a file that are behind, for each number of witnesses at once."""

    def __init__(self, grace_ms: int) -> None:
        self._grace_ms = grace_ms
        self._rows = 0
        # The largest times so far, the largest first; -1 for none.
        self._largest: list[int] = [-1] * MAX_WITNESSES
        self._behind = [0] * MAX_WITNESSES
        self._most_ms = [0] * MAX_WITNESSES

    def add(self, times: Ints) -> None:
        """Add the next rows, shape (N,), in ms."""
        if not len(times):
            return
        self._rows += len(times)
        behind_ms = np.maximum.accumulate(np.maximum(times, self._largest[0])) - times
        if int(behind_ms.max()) <= self._grace_ms:
            # The largest time is the strictest: nothing is behind any other.
            known = np.concatenate([self._largest, times])
            self._largest = np.sort(known)[: -MAX_WITNESSES - 1 : -1].tolist()
            return
        displaced = times
        for k in range(MAX_WITNESSES):
            # The K-th largest time so far is the largest of those that the K - 1 larger ones have
            # displaced.
            largest = np.maximum.accumulate(np.concatenate([[self._largest[k]], displaced]))
            before = largest[:-1]
            behind_ms = before - times
            behind = behind_ms > self._grace_ms
            self._behind[k] += int(np.count_nonzero(behind))
            self._most_ms[k] = max(self._most_ms[k], int(behind_ms.max(where=behind, initial=0)))
            self._largest[k] = int(largest[-1])
            displaced = np.minimum(before, displaced)

    def order(self) -> RowOrder:
        """The order of all rows."""
        witnesses = min(MIN_WITNESSES + self._rows // ROWS_PER_WITNESS, MAX_WITNESSES)
        behind, most_ms = self._behind[witnesses - 1], self._most_ms[witnesses - 1]
        return RowOrder(
            rows=self._rows,
            behind=behind,
            most_ms=most_ms,
            sorted=behind >= MIN_BEHIND and 100 * behind > MAX_BEHIND_PERCENT * self._rows,
        )


def duration(ms: int) -> str:
    """A duration with one decimal, rounded up, in the largest unit of which it is one or more."""
    for name, unit_ms in _UNITS:
        if ms >= unit_ms:
            amount = -(-ms * 10 // unit_ms) / 10
            return f"{amount:g} {name if amount != 1 else name.removesuffix('s')}"
    return f"{-(-ms // SECOND_MS)} seconds"
