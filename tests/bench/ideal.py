"""The baseline: the plain job as a hand-written program without durability.

One process, everything in memory: the decoder of the product, a dictionary join, 1-minute counts by
bincount. It computes the figures of the plain job: predictions and confusion counts by model
version and minute, and the number of expired predictions. It parks truths that arrive first and
expires predictions past their horizon. It does not handle duplicates, corrections, lateness,
partitions, commits or rungs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from itertools import islice, takewhile
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from driftline.schemas.decode import decode_predictions, decode_truths
from driftline.schemas.rows import PredictionRow, TruthRow

CHUNK: Final = 10_000
MINUTE_MS: Final = 60_000

# (model, version, start of the minute in ms) -> count; with actual and predicted label for cells
Predictions = Counter[tuple[str, str, int]]
Cells = Counter[tuple[str, str, int, str | None, str | None]]


def decode_only(folder: Path) -> int:
    """Decode both topics and discard the rows; returns their number."""
    return sum(map(len, predictions_of(folder))) + sum(map(len, truths_of(folder)))


def predictions_of(folder: Path) -> Iterator[list[PredictionRow]]:
    """The predictions of a log, CHUNK lines at a time."""
    for lines in _read_chunks(folder / "predictions.jsonl"):
        yield decode_predictions(lines, range(len(lines)))[0]


def truths_of(folder: Path) -> Iterator[list[TruthRow]]:
    """The truths of a log, CHUNK lines at a time."""
    for lines in _read_chunks(folder / "ground-truth.jsonl"):
        yield decode_truths(lines, range(len(lines)))[0]


def _read_chunks(path: Path) -> Iterator[list[bytes]]:
    with path.open("rb") as file:
        while lines := list(islice(file, CHUNK)):
            yield lines


class Ideal:
    """Join and counts of one log."""

    def __init__(self, horizon_ms: int) -> None:
        self.horizon_ms = horizon_ms
        self.waiting: dict[str, PredictionRow] = {}
        self.early: dict[str, TruthRow] = {}
        self.predictions: Predictions = Counter()
        self.cells: Cells = Counter()
        self.expired = 0

    def run(self, folder: Path) -> Ideal:
        """Process the log, with truths as soon as the predictions have reached their time."""
        truths = truths_of(folder)
        arriving = next(truths, [])
        for rows in predictions_of(folder):
            self.predict(rows)
            while arriving and arriving[-1].timestamp_ms <= rows[-1].timestamp_ms:
                self.join(arriving)
                arriving = next(truths, [])
            self.expire(rows[-1].timestamp_ms - self.horizon_ms)
        while arriving:
            self.join(arriving)
            arriving = next(truths, [])
        self.expired += len(self.waiting)
        return self

    def predict(self, rows: list[PredictionRow]) -> None:
        """Count predictions, and keep them for their truths."""
        for (model, version, minute), n in _count(
            [(row.model_name, row.model_version) for row in rows], _minutes(rows)
        ):
            self.predictions[model, version, minute] += n
        self.waiting.update((row.prediction_id, row) for row in rows)
        if self.early:
            self.join(
                [
                    self.early.pop(row.prediction_id)
                    for row in rows
                    if row.prediction_id in self.early
                ]
            )

    def join(self, truths: list[TruthRow]) -> None:
        """Count the outcomes of these truths, and park those without prediction."""
        matches = [self.waiting.pop(truth.prediction_id, None) for truth in truths]
        if None in matches:
            self.early.update(
                (truth.prediction_id, truth)
                for truth, row in zip(truths, matches, strict=True)
                if row is None
            )
        joined = [
            (row, truth.label)
            for row, truth in zip(matches, truths, strict=True)
            if row is not None and truth.timestamp_ms - row.timestamp_ms <= self.horizon_ms
        ]
        self.expired += len(matches) - matches.count(None) - len(joined)
        outcomes = [
            (row.model_name, row.model_version, label, row.prediction) for row, label in joined
        ]
        for (model, version, actual, predicted, minute), n in _count(
            outcomes, _minutes([row for row, _ in joined])
        ):
            self.cells[model, version, minute, actual, predicted] += n

    def expire(self, before_ms: int) -> None:
        """Expire predictions from before that time."""
        # They arrive nearly in order, so the oldest are in front; one that is out of order expires
        # after those before it.
        expired = [
            row.prediction_id
            for row in takewhile(lambda row: row.timestamp_ms < before_ms, self.waiting.values())
        ]
        for identity in expired:
            del self.waiting[identity]
        self.expired += len(expired)


def _minutes(rows: list[PredictionRow]) -> NDArray[np.int64]:
    return np.array([row.timestamp_ms for row in rows], np.int64) // MINUTE_MS


def _count(
    names: list[tuple[Hashable, ...]], minute: NDArray[np.int64]
) -> Iterator[tuple[tuple[object, ...], int]]:
    """Count of each (name, start of the minute)."""
    if not names:
        return
    codes: dict[tuple[Hashable, ...], int] = {}
    code = np.array([codes.setdefault(name, len(codes)) for name in names], np.int64)
    first = int(minute.min())
    counts = np.bincount((minute - first) * len(codes) + code)
    distinct = list(codes)
    for place in np.flatnonzero(counts).tolist():
        yield (
            (*distinct[place % len(codes)], (first + place // len(codes)) * MINUTE_MS),
            int(counts[place]),
        )
