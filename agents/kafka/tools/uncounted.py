"""What the workers did not count, from the topics: dead letters by reason, and the counters of the
arrivals lane in the closed windows of `metrics`. No worker is asked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final

import msgspec

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.ranges import offset_ranges, read_records
from driftline.agents.uncounted_rows import Uncounted, UncountedTotals
from driftline.schemas.results import WindowFigures, decoder
from driftline.schemas.times import format_time
from driftline.schemas.topics import (
    GROUND_TRUTH,
    METRICS,
    PREDICTIONS,
    REGISTRY_COMMANDS,
    TICKS,
    WINDOW_PARTIALS,
    dlq_name,
)
from driftline.streams.lanes import ALL

NEWEST: Final = 10_000
"""Records of each partition that are read, from the end."""

_REJECTING: Final = (PREDICTIONS, GROUND_TRUTH, TICKS, WINDOW_PARTIALS, REGISTRY_COMMANDS)
# Conflicting predictions are dead letters as well.
_COUNTERS: Final = {
    "late_predictions": (PREDICTIONS, "late_prediction"),
    "dropped_predictions": (PREDICTIONS, "dropped_prediction"),
    "duplicate_predictions": (PREDICTIONS, "duplicate_prediction"),
    "expired": (PREDICTIONS, "expired_prediction"),
    "late_truths": (GROUND_TRUTH, "late_truth"),
    "duplicate_truths": (GROUND_TRUTH, "duplicate_truth"),
    "unmatched": (GROUND_TRUTH, "unmatched_truth"),
}


class UncountedOnTopics(msgspec.Struct, frozen=True):
    """What the topics say about rows that do not count.

    Attributes
    ----------
    totals
        By topic and reason, most rows first.
    cut
        Topics of which only the newest records were read.
    """

    totals: list[Uncounted]
    cut: list[str]


def uncounted_on_topics(connection: Connection, *, newest: int = NEWEST) -> UncountedOnTopics:
    """Sum up dead letters and the counters of closed windows.

    Parameters
    ----------
    newest
        Records of each partition that are read, from the end.

    Raises
    ------
    KafkaException
        If the broker does not answer.
    """
    totals, cut = UncountedTotals({}), []
    letters = {dlq_name(topic): topic for topic in _REJECTING}
    for name, parts in offset_ranges(connection, [*letters, METRICS]).items():
        windows: dict[tuple[str, str, str, int], WindowFigures] = {}
        for part in parts:
            tail = msgspec.structs.replace(part, start=max(part.start, part.end - newest))
            if tail.start > part.start and name not in cut:
                cut.append(name)
            for records in read_records(connection, tail):
                if name == METRICS:
                    _add_windows(windows, (record.value for record in records))
                else:
                    headers = (record.headers for record in records)
                    totals.add(filter(None, (_dead_letter(letters[name], h) for h in headers)))
        totals.add(_counters(windows.values()))
    return UncountedOnTopics(totals.listed(), cut)


def _dead_letter(topic: str, headers: dict[str, bytes]) -> Uncounted | None:
    """The dead letter with these headers; None for a record of another kind."""
    if "dlq_reason" not in headers:
        return None
    reason, error, partition = (
        headers.get(name, b"").decode(errors="replace")
        for name in ("dlq_reason", "dlq_error", "dlq_partition")
    )
    return Uncounted(
        topic=topic,
        reason=reason,
        rows=1,
        example=error.replace(f"{topic}@", f"{topic}[{partition}]@", 1),
    )


_decode = decoder(WindowFigures).decode


def _add_windows(
    windows: dict[tuple[str, str, str, int], WindowFigures], values: Iterable[bytes]
) -> None:
    """Keep the last announcement of each tumbling window of the arrivals lane."""
    for value in values:
        if b'"arrivals"' not in value:
            continue
        try:
            figures = _decode(value)
        except msgspec.MsgspecError:
            continue  # not of this program
        if (
            figures.lane == "arrivals"
            and figures.kind == "tumbling"
            and figures.segment == ALL
            and not figures.provisional
        ):
            key = (
                figures.window,
                figures.model_name,
                figures.model_version,
                figures.window_start_ms,
            )
            known = windows.get(key)
            if known is None or known.revision <= figures.revision:
                windows[key] = figures


def _counters(windows: Collection[WindowFigures]) -> Iterator[Uncounted]:
    """Counters of the windows of one size, which do not overlap."""
    size = min((figures.window for figures in windows), default=None)
    for figures in windows:
        if figures.window != size:
            continue
        of = f" of {figures.model_name} {figures.model_version}" if figures.model_name else ""
        for name, count in figures.counts.items():
            if name in _COUNTERS and count:
                topic, reason = _COUNTERS[name]
                yield Uncounted(
                    topic=topic,
                    reason=reason,
                    rows=count,
                    example=f"{count:,}{of} in the window from "
                    f"{format_time(figures.window_start_ms)} ({size}); the log of the workers has "
                    "prediction ids",
                )
