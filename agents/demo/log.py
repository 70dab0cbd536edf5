"""The demo's recorded log: the year of flights as the files that `driftline replay` reads, and the
configuration to read them with.

One `<topic>.jsonl` per topic, one value a line, each in the order of its event times. Who predicted
is `model.py`.
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
LINES_AT_ONCE = 10_000

CONFIGURATION = """\
# The demo: one model that says at the scheduled departure whether a flight will arrive more than 15 minutes late.

[defaults]
windows = ["1d", "7d/1d"]                    # every UTC day, and the last seven days, every day
maturity = ["2h", "3h", "4h", "6h", "1d"]    # no late flight can be known within the first hour
label_horizon = "2d"                         # the longest way from the schedule to the truth was 33 hours
correction_horizon = "1d"
park = "2d"                                  # no truth comes before its prediction
since_deployment = false                     # a third of the work, and a year says little as one figure
segments = ["carrier", "origin"]
positive_label = "late"

# January to March, cross-validated by week: what the features, the scores and the figures are compared with.
[models.flight-delay]
reference = { from = "2013-01-01T00:00:00Z", to = "2013-04-01T00:00:00Z" }
"""


class Features(msgspec.Struct, gc=False):
    """What the model knew at the scheduled departure;

    `recent_late_share` is null where nothing had left for two hours.
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


class PredictionLine(msgspec.Struct, gc=False):
    prediction_id: str
    model_name: str
    model_version: str
    timestamp: str
    score: float
    threshold: float
    features: Features
    segment: Segment


class TruthLine(msgspec.Struct, gc=False):
    prediction_id: str
    label: str
    timestamp: str


class CommandLine(msgspec.Struct):
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
    """Write predictions, ground truth and registry commands of the year into the folder, and
    `driftline.toml` beside it.

    Parameters
    ----------
    progress
        Called with the count of lines written so far.
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
) -> Iterator[list[PredictionLine]]:
    carriers, origins, dests = flights.carrier_names, flights.origin_names, flights.dest_names
    segments = [[Segment(carrier, origin) for origin in origins] for carrier in carriers]
    for start in range(0, len(ids), LINES_AT_ONCE):
        rows = slice(start, start + LINES_AT_ONCE)
        columns = zip(
            ids[rows],
            _texts(flights.departure_ms[rows]),
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
            PredictionLine(
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
                    share if share == share else None,  # NaN: nothing had left
                    distance,
                ),
                segments[carrier][origin],
            )
            for prediction_id, time, score, hour, weekday, carrier, origin, dest, share, distance in columns
        ]


def _truths(flights: Flights, ids: list[str]) -> Iterator[list[TruthLine]]:
    known = np.flatnonzero(flights.known)
    order = known[np.argsort(flights.truth_ms[known], kind="stable")]
    for start in range(0, len(order), LINES_AT_ONCE):
        rows = order[start : start + LINES_AT_ONCE]
        times = _texts(flights.truth_ms[rows])
        late = flights.late[rows].tolist()
        yield [
            TruthLine(ids[row], LATE if is_late else ON_TIME, time)
            for row, is_late, time in zip(rows.tolist(), late, times, strict=True)
        ]


def _commands(flights: Flights, scored: Scored) -> list[CommandLine]:
    """The model is registered at midnight before its first flight and promoted when it has learned."""
    first_day = int(flights.departure_ms[0]) // DAY_MS * DAY_MS
    registered, promoted = _texts(np.array([first_day, PRODUCTION_MS]))
    return [
        CommandLine(
            command_id="demo-register",
            command="register",
            model_name=MODEL_NAME,
            model_version=MODEL_VERSION,
            timestamp=registered,
            params={"threshold": scored.threshold},
            requested_by="demo",
            reason="January to March are predicted as in training, cross-validated by week",
        ),
        CommandLine(
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


def _texts(times_ms: NDArray[np.int64]) -> list[str]:
    """Times in whole seconds as RFC 3339 UTC."""
    return [
        text + "Z"
        for text in np.datetime_as_string(times_ms.astype("datetime64[ms]"), unit="s").tolist()
    ]


def _write_lines(path: Path, blocks: Iterator[list[Any]]) -> Iterator[int]:
    """Write block by block; yields the size of each."""
    encoder = msgspec.json.Encoder()
    with path.open("wb") as file:
        for block in blocks:
            file.write(encoder.encode_lines(block))
            yield len(block)
