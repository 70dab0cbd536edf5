"""Writes the demo's recorded log and the configuration for it.

One file `<topic>.jsonl` per topic, one record per line, in event-time order, as `driftline replay`
reads them. The predictions come from `model.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.agents.demo.flights import Flights
from driftline.agents.demo.model import MODEL_NAME, MODEL_VERSION, PRODUCTION_MS, Scored
from driftline.schemas.times import DAY_MS

LATE, ON_TIME = "late", "on_time"
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
BLOCK_LINES = 10_000

CONFIGURATION = """\
# The demo: one model predicts at the scheduled departure whether a flight will arrive more than 15
# minutes late.

[defaults]
windows = ["1d", "7d/1d"]                    # each UTC day, and each day the last seven days
maturity = ["2h", "3h", "4h", "6h", "1d"]    # within the first hour, no flight is known to be late
label_horizon = "2d"                         # the longest delay of a truth was 33 hours
correction_horizon = "1d"
park = "2d"                                  # no truth arrives before its prediction
since_deployment = false                     # would take a third of the time
segments = ["carrier", "origin"]
positive_label = "late"

# January to March, predicted by cross-validation over weeks, is the reference and the baseline.
[models.flight-delay]
reference = { from = "2013-01-01T00:00:00Z", to = "2013-04-01T00:00:00Z" }
"""


class Features(msgspec.Struct, gc=False):
    """Inputs of the model at the scheduled departure.

    `recent_late_share` is null if no flight had left in the last two hours.
    """

    hour: int
    weekday: str
    carrier: str
    origin: str
    dest: str
    recent_late_share: float | None
    distance: int


class Segment(msgspec.Struct, gc=False):
    carrier: str
    origin: str


class PredictionRecord(msgspec.Struct, gc=False):
    prediction_id: str
    model_name: str
    model_version: str
    timestamp: str
    score: float
    threshold: float
    features: Features
    segment: Segment


class TruthRecord(msgspec.Struct, gc=False):
    prediction_id: str
    label: str
    timestamp: str


class CommandRow(msgspec.Struct):
    command_id: str
    command: str
    model_name: str
    model_version: str
    timestamp: str
    params: dict[str, Any]
    requested_by: str
    reason: str


def write_log(
    folder: Path, flights: Flights, scored: Scored, *, progress: Callable[[int], None] | None = None
) -> None:
    """Write predictions, ground truth and registry commands to the folder, and `driftline.toml`
    next to it.

    Parameters
    ----------
    progress
        Called with the number of lines written so far.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder.parent / "driftline.toml").write_text(CONFIGURATION, encoding="utf-8")
    ids = flights.prediction_ids()
    written = 0
    for topic, blocks in (
        ("predictions", _predictions(flights, scored, ids)),
        ("ground-truth", _truths(flights, ids)),
        ("registry-commands", iter([_commands(flights, scored)])),
    ):
        for count in _write_lines(folder / f"{topic}.jsonl", blocks):
            written += count
            if progress is not None:
                progress(written)


def _predictions(
    flights: Flights, scored: Scored, ids: list[str]
) -> Iterator[list[PredictionRecord]]:
    carriers, origins, dests = flights.carrier_names, flights.origin_names, flights.dest_names
    segments = [[Segment(carrier, origin) for origin in origins] for carrier in carriers]
    for start in range(0, len(ids), BLOCK_LINES):
        rows = slice(start, start + BLOCK_LINES)
        columns = zip(
            ids[rows],
            _format_times(flights.departure_ms[rows]),
            np.round(scored.score[rows], 4).tolist(),
            flights.hour[rows].tolist(),
            flights.weekday[rows].tolist(),
            flights.carrier[rows].tolist(),
            flights.origin[rows].tolist(),
            flights.dest[rows].tolist(),
            np.round(scored.recent_late_share[rows], 4).tolist(),
            flights.distance[rows].tolist(),
            strict=True,
        )
        yield [
            PredictionRecord(
                prediction_id,
                MODEL_NAME,
                MODEL_VERSION,
                time,
                score,
                scored.threshold,
                Features(
                    hour,
                    WEEKDAYS[weekday],
                    carriers[carrier],
                    origins[origin],
                    dests[dest],
                    share if share == share else None,  # NaN: no flight had left
                    distance,
                ),
                segments[carrier][origin],
            )
            for (
                prediction_id,
                time,
                score,
                hour,
                weekday,
                carrier,
                origin,
                dest,
                share,
                distance,
            ) in columns
        ]


def _truths(flights: Flights, ids: list[str]) -> Iterator[list[TruthRecord]]:
    known = np.flatnonzero(flights.known)
    order = known[np.argsort(flights.truth_ms[known], kind="stable")]
    for start in range(0, len(order), BLOCK_LINES):
        rows = order[start : start + BLOCK_LINES]
        times = _format_times(flights.truth_ms[rows])
        late = flights.late[rows].tolist()
        yield [
            TruthRecord(ids[row], LATE if is_late else ON_TIME, time)
            for row, is_late, time in zip(rows.tolist(), late, times, strict=True)
        ]


def _commands(flights: Flights, scored: Scored) -> list[CommandRow]:
    """Register the model at midnight before its first flight, promote it after its training."""
    first_day = int(flights.departure_ms[0]) // DAY_MS * DAY_MS
    registered, promoted = _format_times(np.array([first_day, PRODUCTION_MS]))
    return [
        CommandRow(
            command_id="demo-register",
            command="register",
            model_name=MODEL_NAME,
            model_version=MODEL_VERSION,
            timestamp=registered,
            params={"threshold": scored.threshold},
            requested_by="demo",
            reason="January to March are predicted as in training, cross-validated by week",
        ),
        CommandRow(
            command_id="demo-promote",
            command="promote",
            model_name=MODEL_NAME,
            model_version=MODEL_VERSION,
            timestamp=promoted,
            params={},
            requested_by="demo",
            reason="trained on January to March; in production from April on",
        ),
    ]


def _format_times(times_ms: NDArray[np.int64]) -> list[str]:
    """Format times as RFC 3339 in UTC, to the second."""
    return [
        text + "Z"
        for text in np.datetime_as_string(times_ms.astype("datetime64[ms]"), unit="s").tolist()
    ]


def _write_lines(path: Path, blocks: Iterator[list[Any]]) -> Iterator[int]:
    """Write block by block, and yield the number of lines of each."""
    encoder = msgspec.json.Encoder()
    with path.open("wb") as file:
        for block in blocks:
            file.write(encoder.encode_lines(block))
            yield len(block)
