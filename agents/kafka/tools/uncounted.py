"""What the workers did not count, from the topics: dead letters by reason, and the counters of the
arrivals lane in the closed windows of `metrics`. No worker is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from confluent_kafka import KafkaException

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.ranges import may_be_of, offset_ranges, read_all
from driftline.agents.kafka.broker.wire import DLQ_LOST_RECORDS
from driftline.agents.kafka.tools.dead_letters import MARKER
from driftline.agents.marked_windows import MarkedWindows
from driftline.agents.uncounted_rows import COUNTER_REASONS, Uncounted, UncountedTotals
from driftline.schemas.errors import DriftlineError
from driftline.schemas.results import WindowFigures, decoder
from driftline.schemas.settings import Config
from driftline.schemas.times import format_time
from driftline.schemas.topics import (
    GROUND_TRUTH,
    METRICS,
    PREDICTIONS,
    SIDE_INPUTS,
    TICKS,
    WINDOW_PARTIALS,
    dlq_name,
)
from driftline.streams.lanes import ALL

NEWEST: Final = 10_000
"""Records of each partition that are read, from the end."""

_REJECTING: Final = (PREDICTIONS, GROUND_TRUTH, TICKS, WINDOW_PARTIALS, *SIDE_INPUTS)
# Conflicting predictions are dead letters as well.
ARRIVALS: Final = "arrivals"


class UncountedOnTopics(msgspec.Struct, frozen=True):
    """Rows that do not count, according to the topics.

    Attributes
    ----------
    totals
        By topic and reason, most rows first.
    notes
        Sentences that say what the totals lack, and which windows lack lost rows.
    """

    totals: list[Uncounted]
    notes: list[str]


class UnreadableTopics(DriftlineError):
    """The topics that tell what was not counted cannot be read; the message says which."""


def uncounted_on_topics(connection: Connection, *, newest: int = NEWEST) -> UncountedOnTopics:
    """Sum up dead letters and the counters of closed windows, of this program.

    Parameters
    ----------
    newest
        Records of each partition that are read, from the end.

    Raises
    ------
    UnreadableTopics
        If the broker does not answer, or the login may not read the topics.
    """
    try:
        return _read(connection, newest)
    except KafkaException as error:
        raise UnreadableTopics(
            f"what was not counted is not known, because the dead letters and {METRICS} cannot be "
            f"read: {connection.error(error)}. The login needs Describe and Read on "
            f"{', '.join(map(connection.name, (*map(dlq_name, _REJECTING), METRICS)))}"
        ) from error


def _read(connection: Connection, newest: int) -> UncountedOnTopics:
    totals, windows, app = UncountedTotals({}), _Windows(), connection.settings.app
    letters = {dlq_name(topic): topic for topic in _REJECTING}
    rejected: dict[tuple[str, int, int], Uncounted] = {}
    sent_again: set[tuple[str, int, int]] = set()
    ranges = offset_ranges(connection, [*letters, METRICS])
    parts = [part for parts in ranges.values() for part in parts]
    tails = [
        msgspec.structs.replace(part, start=max(part.start, part.end - newest)) for part in parts
    ]
    for topic, message in read_all(connection, tails):
        headers: Any = dict(message.headers() or ())
        if not may_be_of(app, headers):
            continue
        if topic == METRICS:
            windows.add(message.value() or b"")
            continue
        partition, offset = message.partition() or 0, message.offset() or 0
        if MARKER in headers:
            marked = headers[MARKER].decode(errors="replace")
            sent_again.add((topic, partition, int(marked) if marked.isdecimal() else -1))
        for rows in _dead_letters(letters[topic], headers):
            rejected[topic, partition, offset] = rows
    totals.add(rows for place, rows in rejected.items() if place not in sent_again)
    totals.add(windows.counters())
    cut = dict.fromkeys(
        part.topic for part, tail in zip(parts, tails, strict=True) if tail.start > part.start
    )
    lacking = windows.marked.message()
    notes = [] if lacking is None else [lacking]
    notes += [
        f"of {topic}, the newest {newest:,} records of each partition were read" for topic in cut
    ]
    again = Counter(letters[topic] for topic, _, _ in rejected.keys() & sent_again)
    notes += [
        f"{count:,} dead letter{'' if count == 1 else 's'} of {topic} have been sent again and are "
        "left out here; those that were rejected again are dead letters anew"
        for topic, count in sorted(again.items())
    ]
    absent = ", ".join(connection.name(topic) for topic, parts in ranges.items() if not parts)
    if absent:
        notes.append(f"not there, or hidden from the login, and therefore not read: {absent}")
    if not _has_counters(connection.config):
        notes.append(
            "late, repeated and unmatched rows are not on the topics, because a model has no "
            "tumbling window or the lane arrivals is not configured; see driftline_uncounted_rows "
            "in /metrics of the workers"
        )
    return UncountedOnTopics(totals.listed(), notes)


def _has_counters(config: Config) -> bool:
    """Whether the topic of metrics has the counters of all models."""
    return ARRIVALS in config.lanes and all(
        any(window.kind == "tumbling" for window in model.windows)
        for model in (config.defaults, *config.models.values())
    )


def _dead_letters(topic: str, headers: Mapping[str, Any]) -> Iterator[Uncounted]:
    """The dead letter with these headers; nothing for a record of another kind."""
    if "dlq_reason" not in headers:
        return
    reason, error, partition = (
        (headers.get(name) or b"").decode(errors="replace")
        for name in ("dlq_reason", "dlq_error", "dlq_partition")
    )
    # Records that were passed over, and those of a batch that cannot be read, have one dead letter.
    lost = headers.get(DLQ_LOST_RECORDS) or b""
    rows = int(lost) if lost.isdigit() else 1
    if not rows:  # read again from the beginning: nothing was passed over
        return
    yield Uncounted(
        topic=topic,
        reason=reason,
        rows=rows,
        example=error.replace(f"{topic}@", f"{topic}[{partition}]@", 1),
    )


_decode = decoder(WindowFigures).decode


class _Windows:
    """The last announcement of each tumbling window of the arrivals lane, and the windows of all
    lanes that lack lost rows.
    """

    def __init__(self) -> None:
        self.marked = MarkedWindows()
        self._windows: dict[tuple[str, str, str, int], WindowFigures] = {}

    def add(self, value: bytes) -> None:
        """Add a record of `metrics`."""
        if b'"arrivals"' not in value and b'"losses"' not in value:
            return
        try:
            figures = _decode(value)
        except msgspec.MsgspecError:
            return  # of another release
        self.marked.add(figures)
        if (figures.lane, figures.kind, figures.segment) != (ARRIVALS, "tumbling", ALL):
            return
        if figures.provisional:
            return
        model = figures.model_name, figures.model_version
        key = (*model, figures.window, figures.window_start_ms)
        known = self._windows.get(key)
        if known is None or known.revision <= figures.revision:
            self._windows[key] = figures

    def counters(self) -> Iterator[Uncounted]:
        """The counters; for each model version from windows of one size, which do not overlap."""
        sizes: dict[tuple[str, str], str] = {}
        for name, version, size, _ in self._windows:
            sizes[name, version] = min(size, sizes.get((name, version), size))
        for (name, version, size, start_ms), figures in self._windows.items():
            if sizes[name, version] != size:
                continue
            model = f" of {name} {version}" if name else ""
            for counter, count in figures.counts.items():
                if counter in COUNTER_REASONS and count:
                    topic, reason = COUNTER_REASONS[counter]
                    yield Uncounted(
                        topic=topic,
                        reason=reason,
                        rows=count,
                        example=f"{count:,}{model} in the window {size} from "
                        f"{format_time(start_ms)}; the workers' log has prediction ids",
                    )
