"""Records of the `outcomes` topic: one for each new label of a prediction and each change of it.

They come in the order of the rows that led to them. A truth that arrives out of order may move a
change in time; the change is then emitted again.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from driftline.schemas.results import Outcome
from driftline.schemas.settings import Config
from driftline.schemas.times import EpochMs
from driftline.schemas.topics import OUTCOMES
from driftline.streams.join.code_book import CodeBook
from driftline.streams.label_vocabulary import is_same_label
from driftline.streams.lanes import (
    NO_LABEL,
    OTHER_LABEL,
    PREDICTED_NEGATIVE,
    PREDICTED_POSITIVE,
)
from driftline.streams.score_bins import SCORE_UNITS
from driftline.streams.stage import Record


class OutcomeChange(NamedTuple):
    """A change of the label in force, with the id and the rank of the row that led to it."""

    rank: int
    name: int
    key: bytes
    segments: tuple[int, ...]
    timestamp_ms: int
    predicted: int
    score: int
    known_ms: int
    delay_ms: int
    old: int
    new: int
    first: bool


def outcome_records(changes: list[OutcomeChange], book: CodeBook, config: Config) -> list[Record]:
    """Records by rank, then by model and version."""
    changes = sorted(changes, key=lambda row: (row.rank, book.names[row.name], row.known_ms))
    return [Record(OUTCOMES, _outcome(row, book, config), row.rank) for row in changes]


def _outcome(row: OutcomeChange, book: CodeBook, config: Config) -> Outcome:
    model, version = book.names[row.name]
    settings = config.for_model(model)
    positive = settings.positive_label
    label = None if row.new == NO_LABEL else book.label_text(row.new)
    predicted = (
        None
        if row.predicted in (PREDICTED_POSITIVE, PREDICTED_NEGATIVE)
        else book.label_text(row.predicted)
    )
    is_positive: bool | None = None
    if row.predicted >= PREDICTED_POSITIVE:
        # A label that follows from the score has a name only if the positive label is configured.
        is_positive = row.predicted == PREDICTED_POSITIVE
        predicted = positive if is_positive else None
    elif predicted is not None and positive is not None:
        is_positive = is_same_label(positive, predicted)
    correct: bool | None = None
    if label is not None and row.predicted < PREDICTED_POSITIVE:
        is_known = predicted is not None and OTHER_LABEL not in (row.new, row.predicted)
        correct = is_same_label(label, predicted) if is_known and predicted is not None else None
    elif label is not None and positive is not None:
        is_actual_positive = is_same_label(label, positive)
        correct = None if is_actual_positive is None else is_positive == is_actual_positive
    correction: Literal["corrected", "retracted"] | None = None
    if not row.first:
        correction = "retracted" if row.new == NO_LABEL else "corrected"
    segments = [book.segments.names[code - 1].partition("=") for code in row.segments if code]
    return Outcome(
        prediction_id=row.key.decode(),
        model_name=model,
        model_version=version,
        timestamp_ms=EpochMs(row.timestamp_ms),
        known_at_ms=EpochMs(row.known_ms),
        prediction=predicted,
        label=label,
        correct=correct,
        delay_ms=row.delay_ms,
        score=row.score / SCORE_UNITS if row.score >= 0 else None,
        segment={dimension: value for dimension, _, value in segments},
        cell=_cell(correct, is_positive, label, predicted),
        maturity=next((rung.name for rung in settings.maturity if row.delay_ms <= rung.ms), None),
        correction=correction,
    )


def _cell(
    correct: bool | None,
    is_positive: bool | None,
    label: str | None,
    predicted: str | None,
) -> str | None:
    if correct is None or label is None:
        return None
    if is_positive is None:
        return f"{label}>{predicted}"
    return ("t" if correct else "f") + ("p" if is_positive else "n")
