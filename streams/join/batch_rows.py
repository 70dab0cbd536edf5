"""Rows of one batch as the join reads them: codes for texts, integer scores, and the lateness of
each row by its own watermark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.schemas.settings import Config
from driftline.streams.columns import GroundTruthColumns, PredictionColumns
from driftline.streams.join.code_book import CodeBook
from driftline.streams.join.entry import NO_SCORE
from driftline.streams.lanes import (
    NO_LABEL,
    PREDICTED_NEGATIVE,
    PREDICTED_POSITIVE,
)
from driftline.streams.masks import any_true
from driftline.streams.named_columns import Named
from driftline.streams.score_bins import units_of
from driftline.streams.stage import State

Ints = NDArray[np.int64]


class Predictions(msgspec.Struct, gc=False):
    """Predictions of one batch; columns have shape (N,), `segments` (N, D).

    Attributes
    ----------
    keys
        The id of each row, which is the key of its entry in the state.
    predicted
        Label code, PREDICTED_POSITIVE or PREDICTED_NEGATIVE where it follows from the score,
        NO_LABEL where there is none.
    score
        In SCORE_UNITS, NO_SCORE where there is none.
    floor_ms, lateness_ms
        The row's watermark less the grace; how far the event time is behind that, at least 0.
    at
        Index of each row in the columns of the batch.
    """

    keys: list[bytes]
    name: Ints
    timestamp_ms: Ints
    floor_ms: Ints
    lateness_ms: Ints
    fingerprint: NDArray[np.uint64]
    predicted: Ints
    score: Ints
    segments: Ints
    rank: Ints
    at: Ints

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def of(
        cls,
        columns: PredictionColumns,
        marks_ms: Ints,
        book: CodeBook,
        config: Config,
        state: State,
    ) -> Self:
        """The rows of a batch; `marks_ms` is the watermark at each of them, shape (N,)."""
        n = len(columns)
        name = book.codes_of_names(columns.names, state)[columns.name]
        floor_ms = marks_ms - config.prediction_grace_ms
        predicted = book.label_codes(columns.labels, columns.label, state)
        score, scored = np.full(n, NO_SCORE), ~np.isnan(columns.score)
        if any_true(scored):
            score = np.where(scored, units_of(np.where(scored, columns.score, 0.0)), NO_SCORE)
            threshold = np.where(
                np.isnan(columns.threshold), book.threshold[name], columns.threshold
            )
            by_score = np.where(columns.score >= threshold, PREDICTED_POSITIVE, PREDICTED_NEGATIVE)
            predicted = np.where((predicted == NO_LABEL) & scored, by_score, predicted)
        return cls(
            keys=columns.ids,
            name=name,
            timestamp_ms=columns.timestamp_ms,
            floor_ms=floor_ms,
            lateness_ms=np.maximum(floor_ms - columns.timestamp_ms, 0),
            fingerprint=columns.fingerprint,
            predicted=predicted,
            score=score,
            segments=_segment_codes(columns.segments, config.segments, book, state)
            * book.has_dimension[name],
            rank=columns.rank,
            at=np.arange(n),
        )

    def take(self, at: Ints) -> Self:
        """The rows at the indexes `at`, in that order."""
        columns = {field: getattr(self, field)[at] for field in self.__struct_fields__[1:]}
        return type(self)(keys=[self.keys[i] for i in at.tolist()], **columns)


class Truths(msgspec.Struct, gc=False):
    """Ground truths of one batch; columns have shape (N,).

    `floor_ms` is the row's watermark less the grace; `known_ms`, the greater of that and its event
    time, is the time from which the truth counts as known.
    """

    keys: list[bytes]
    timestamp_ms: Ints
    floor_ms: Ints
    known_ms: Ints
    label: Ints
    revision: Ints
    offset: Ints
    rank: Ints

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def of(
        cls,
        columns: GroundTruthColumns,
        marks_ms: Ints,
        book: CodeBook,
        config: Config,
        state: State,
    ) -> Self:
        """The rows of a batch; `marks_ms` is the watermark at each of them, shape (N,)."""
        floor_ms = marks_ms - config.truth_grace_ms
        return cls(
            keys=columns.ids,
            timestamp_ms=columns.timestamp_ms,
            floor_ms=floor_ms,
            known_ms=np.maximum(columns.timestamp_ms, floor_ms),
            label=book.label_codes(columns.labels, columns.label, state),
            revision=columns.revision,
            offset=columns.offset,
            rank=columns.rank,
        )


def _segment_codes(
    segments: Named, dimensions: Sequence[str], book: CodeBook, state: State
) -> Ints:
    """Code of each row's value in each dimension, shape (N, D); 0 where the row has none."""
    codes = np.zeros((len(segments), len(dimensions)), np.int64)
    for d, dimension in enumerate(dimensions):
        words = segments.texts_of(dimension)
        if words is None:
            continue
        code_of = np.zeros(len(segments.words) + 1, np.int64)
        # In order of appearance, which decides what gets a code where there are too many values:
        # written last, the first row stays.
        first = np.full(len(code_of), len(words))
        first[words[::-1]] = np.arange(len(words))[::-1]
        seen = np.flatnonzero(first[:-1] < len(words))
        present = seen[np.argsort(first[seen])]
        code_of[present] = book.codes_of_values(
            dimension, [segments.words[word] for word in present.tolist()], state
        )
        codes[:, d] = code_of[words]
    return codes
