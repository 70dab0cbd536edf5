"""The yardstick: what the plain job costs a hand-written program without any durability.

One process, everything in memory: the decoder of the product, a dictionary join, 1-minute confusion counts by bincount. It forgets
predictions whose horizon has passed and keeps truths that come first. It knows nothing of duplicates, corrections, lateness,
partitions, commits, or rungs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice, repeat, takewhile
from pathlib import Path
from typing import Final

import numpy as np

from schemas.decode import TruthRow, decode_predictions, decode_truths

CHUNK: Final = 10_000
MINUTE_MS: Final = 60_000
HORIZON_MS: Final = 5 * MINUTE_MS
SERIES_MAX: Final = 1 << 16
LABELS: Final = ("no", "yes")

# (model, version, minute since the epoch, actual, predicted) -> count
Cells = Counter[tuple[str, str, int, str, str]]


def chunks(path: Path) -> Iterator[list[bytes]]:
    """The lines of a file, CHUNK at a time."""
    with path.open("rb") as file:
        while lines := list(islice(file, CHUNK)):
            yield lines


def decode_only(folder: Path) -> int:
    """Decode both topics and drop the rows; returns their number."""
    rows = 0
    for lines in chunks(folder / "predictions.jsonl"):
        rows += len(decode_predictions(lines, range(len(lines)))[0])
    for lines in chunks(folder / "ground-truth.jsonl"):
        rows += len(decode_truths(lines, range(len(lines)))[0])
    return rows


def count(folder: Path) -> tuple[Cells, int]:
    """Confusion counts by series and minute, and the number of predictions that expired."""
    series: dict[tuple[str, str], int] = {}
    # id -> ((minute * SERIES_MAX + series) * 2 + predicted) * 2, to which the actual label is added
    waiting: dict[str, int] = {}
    early: dict[str, int] = {}
    counts: dict[int, int] = {}
    expired = 0
    truths = _truths(folder)
    arriving = next(truths, [])
    for lines in chunks(folder / "predictions.jsonl"):
        rows, _, _ = decode_predictions(lines, range(len(lines)))
        number = [series.setdefault((row.model_name, row.model_version), len(series)) for row in rows]
        minute = np.array([row.timestamp_ms for row in rows]) // MINUTE_MS
        predicted = np.array([row.prediction == "yes" for row in rows])
        places = (((minute * SERIES_MAX + number) * 2 + predicted) * 2).tolist()
        ids = [row.prediction_id for row in rows]
        waiting.update(zip(ids, places, strict=True))
        if early:
            _add(counts, [waiting.pop(i) + early.pop(i) for i in ids if i in early])
        while arriving and arriving[-1].timestamp_ms <= rows[-1].timestamp_ms:
            _join(arriving, waiting, early, counts)
            arriving = next(truths, [])
        expired += _forget(waiting, before_minute=int(minute[-1]) - HORIZON_MS // MINUTE_MS)
    while arriving:
        _join(arriving, waiting, early, counts)
        arriving = next(truths, [])
    return _named(counts, list(series)), expired + len(waiting)


def _truths(folder: Path) -> Iterator[list[TruthRow]]:
    for lines in chunks(folder / "ground-truth.jsonl"):
        yield decode_truths(lines, range(len(lines)))[0]


def _join(rows: list[TruthRow], waiting: dict[str, int], early: dict[str, int], counts: dict[int, int]) -> None:
    ids = [row.prediction_id for row in rows]
    actual = [row.label == "yes" for row in rows]
    places = np.fromiter(map(waiting.pop, ids, repeat(-1)), np.int64, len(ids))
    found = places >= 0
    _add(counts, places[found] + np.array(actual, np.int64)[found])
    if not found.all():
        early.update((ids[i], int(actual[i])) for i in np.flatnonzero(~found).tolist())


def _add(counts: dict[int, int], cells: np.ndarray | list[int]) -> None:
    if not len(cells):
        return
    distinct, places = np.unique(cells, return_inverse=True)
    for cell, n in zip(distinct.tolist(), np.bincount(places).tolist(), strict=True):
        counts[cell] = counts.get(cell, 0) + n


def _forget(waiting: dict[str, int], *, before_minute: int) -> int:
    # Predictions come nearly in order, so the oldest are in front; one that is out of order waits for those before it.
    limit = before_minute * SERIES_MAX * 4
    gone = [identity for identity, _ in takewhile(lambda item: item[1] < limit, waiting.items())]
    for identity in gone:
        del waiting[identity]
    return len(gone)


def _named(counts: dict[int, int], series: list[tuple[str, str]]) -> Cells:
    cells: Cells = Counter()
    for cell, n in counts.items():
        rest, actual = divmod(cell, 2)
        rest, predicted = divmod(rest, 2)
        minute, number = divmod(rest, SERIES_MAX)
        cells[(*series[number], minute, LABELS[actual], LABELS[predicted])] += n
    return cells
