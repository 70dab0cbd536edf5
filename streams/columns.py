"""Decoded rows of one topic partition as numpy columns, built once per batch.

The rows come from `driftline.schemas.decode`, which has validated them. Codes number the distinct
texts of one batch and have no meaning outside it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import chain, repeat
from operator import attrgetter
from typing import Any, Final, Self, TypeVar

import msgspec
import numpy as np
from msgspec.structs import astuple
from numpy.typing import NDArray
from xxhash import xxh64_intdigest

from driftline.schemas.rows import PredictionRow, TruthRow
from driftline.streams.hashing import mixed, text_hashes
from driftline.streams.label_vocabulary import evident_positive
from driftline.streams.named_columns import NAN, Named

Indexes = NDArray[np.int64]

UNLABELLED: Final = -1
"""Index of the label of a row without one."""
_Text = TypeVar("_Text", bound=Hashable)
_Value = TypeVar("_Value")
_REST = ("scores", "environment", "variant", "tags")
# Mappings by sorted key, so that equal content has equal bytes.
_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_HASH_OF_NO_REST = np.uint64(xxh64_intdigest(_encode((None,) * len(_REST))))


class PredictionColumns(msgspec.Struct, gc=False):
    """Predictions of one batch; every column has shape (N,).

    Attributes
    ----------
    ids
        prediction_id as UTF-8.
    names, name
        Distinct (model_name, model_version), and the index of each row in them.
    timestamp_ms
        Event time.
    labels, label
        Distinct predicted labels as canonical text, and the index of each row in them; UNLABELLED
        where the label follows from the score.
    score, threshold, latency_ms
        NaN where the row has none.
    failed
        True where status is "error".
    features, segments
        Values by name, shapes (F, N).
    fingerprint
        64-bit hash of all fields except id, model and version. Equal content has the same hash
        however it is written; a named value that is null counts as absent.
    offset, rank
        Position in the topic partition, and in the order of the log
        (`driftline.streams.log_order`).
    tick_ms
        Event time that the partition had reached by ticks when the row was read, 0 without ticks.
        It is the row's watermark if it is above that of the topic.
    """

    ids: list[bytes]
    names: list[tuple[str, str]]
    name: Indexes
    timestamp_ms: Indexes
    labels: list[str]
    label: Indexes
    score: NDArray[np.float64]
    threshold: NDArray[np.float64]
    latency_ms: NDArray[np.float64]
    failed: NDArray[np.bool_]
    features: Named
    segments: Named
    fingerprint: NDArray[np.uint64]
    offset: Indexes
    rank: Indexes
    tick_ms: Indexes

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(
        cls,
        rows: Sequence[PredictionRow],
        offset: Indexes,
        positive_label: Callable[[str], str | None],
    ) -> Self:
        """Columns of `rows`, without ranks.

        `positive_label` returns a model's configured positive label, for scores by class.
        """
        n = len(rows)
        fields = _transposed(rows)
        names, name = _coded(zip(fields["model_name"], fields["model_version"], strict=True))
        labels, label = _labelled(fields["prediction"])
        timestamp_ms = np.array(fields["timestamp_ms"], np.int64)
        score, threshold, latency_ms = (
            _numbers(fields[field]) for field in ("score", "threshold", "latency_ms")
        )
        failed = (
            np.fromiter(map("error".__eq__, fields["status"]), np.bool_, n)
            if "error" in fields["status"]
            else np.zeros(n, np.bool_)
        )
        features, segments = Named.of(fields["features"]), Named.of(fields["segment"])
        texts = np.append(text_hashes(labels), np.uint64(0))[label]
        named = mixed([features.hashes(), segments.hashes()])
        fingerprint = mixed(
            [
                _hashes_of_rest(fields),
                named,
                texts,
                timestamp_ms,
                score,
                threshold,
                latency_ms,
                failed.astype(np.uint64),
            ]
        )
        if fields["scores"].count(None) < n:
            predicted = list(fields["prediction"])
            for i, row in enumerate(rows):
                if row.scores:
                    predicted[i], score[i] = _from_class_scores(row, positive_label(row.model_name))
            labels, label = _labelled(predicted)
        return cls(
            ids=list(map(str.encode, fields["prediction_id"])),
            names=names,
            name=name,
            timestamp_ms=timestamp_ms,
            labels=labels,
            label=label,
            score=score,
            threshold=threshold,
            latency_ms=latency_ms,
            failed=failed,
            features=features,
            segments=segments,
            fingerprint=fingerprint,
            offset=offset,
            rank=np.zeros(n, np.int64),
            tick_ms=np.zeros(n, np.int64),
        )

    def take(self, at: Indexes | slice) -> PredictionColumns:
        """The rows at the indexes `at`, shape (M,), in that order, or in a slice."""
        return _taken(self, at)


class GroundTruthColumns(msgspec.Struct, gc=False):
    """Ground truths of one batch; every column has shape (N,).

    `label` is UNLABELLED for a retraction; the other columns are as in `PredictionColumns`.
    """

    ids: list[bytes]
    timestamp_ms: Indexes
    labels: list[str]
    label: Indexes
    revision: Indexes
    offset: Indexes
    rank: Indexes
    tick_ms: Indexes

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, rows: Sequence[TruthRow], offset: Indexes) -> Self:
        """Columns of `rows`, without ranks."""
        n = len(rows)
        labels, label = _labelled([r.label for r in rows])
        return cls(
            ids=[r.prediction_id.encode() for r in rows],
            timestamp_ms=np.array([r.timestamp_ms for r in rows], np.int64),
            labels=labels,
            label=label,
            revision=np.array([r.revision for r in rows], np.int64),
            offset=offset,
            rank=np.zeros(n, np.int64),
            tick_ms=np.zeros(n, np.int64),
        )

    def take(self, at: Indexes | slice) -> GroundTruthColumns:
        """The rows at the indexes `at`, shape (M,), in that order, or in a slice."""
        return _taken(self, at)


Columns = TypeVar("Columns", PredictionColumns, GroundTruthColumns)
_DISTINCT = {"name": "names", "label": "labels"}  # columns of indexes, and their texts


def concatenate_columns(parts: Sequence[Columns]) -> Columns:
    """Rows of several parts, at least one, that follow each other."""
    if len(parts) == 1:
        return parts[0]
    together: dict[str, Any] = {}
    for index, texts in _DISTINCT.items():
        if not hasattr(parts[0], texts):
            continue
        distinct, own = list(map(attrgetter(texts), parts)), map(attrgetter(index), parts)
        code: dict[Any, int] = {
            text: i for i, text in enumerate(dict.fromkeys(chain.from_iterable(distinct)))
        }
        together[texts] = list(code)
        recoded = (
            _recoded(part, list(map(code.__getitem__, known)))
            for part, known in zip(own, distinct, strict=True)
        )
        together[index] = np.concatenate(list(recoded))
    for field in parts[0].__struct_fields__:
        if field in together:
            continue
        columns = [getattr(part, field) for part in parts]
        if isinstance(columns[0], np.ndarray):
            together[field] = np.concatenate(columns)
        elif isinstance(columns[0], Named):
            together[field] = Named.concatenate(columns)
        else:
            together[field] = list(chain.from_iterable(columns))
    return type(parts[0])(**together)


def _taken(columns: Columns, at: Indexes | slice) -> Columns:
    picked, indexes = {}, None if isinstance(at, slice) else at.tolist()
    for field in columns.__struct_fields__:
        column: Any = getattr(columns, field)
        if isinstance(column, np.ndarray) or (
            isinstance(column, list) and indexes is None and field not in _DISTINCT.values()
        ):
            column = column[at]
        elif isinstance(column, list) and field not in _DISTINCT.values():
            column = list(map(column.__getitem__, indexes or ()))
        elif isinstance(column, Named):
            column = column.take(at)
        picked[field] = column
    return type(columns)(**picked)


def _recoded(index: Indexes, codes: list[int]) -> Indexes:
    """The code of each index; UNLABELLED, which is -1, stays."""
    return np.array([*codes, UNLABELLED], np.int64)[index]


def _transposed(rows: Sequence[PredictionRow]) -> dict[str, tuple[Any, ...]]:
    """The values of all rows, by field."""
    # One pass over the rows; one attribute of all rows at a time takes one and a half times as
    # long.
    columns = zip(*map(astuple, rows), strict=True) if rows else repeat(())
    return dict(zip(PredictionRow.__struct_fields__, columns, strict=False))


def _hashes_of_rest(fields: dict[str, tuple[Any, ...]]) -> NDArray[np.uint64]:
    """64-bit hash of the fields that few rows have, shape (N,)."""
    rest = [fields[field] for field in _REST]
    if all(column.count(None) == len(column) for column in rest):
        return np.full(len(rest[0]), _HASH_OF_NO_REST)
    return np.fromiter(
        map(xxh64_intdigest, map(_encode, zip(*rest, strict=True))), np.uint64, len(rest[0])
    )


class _Codes(dict[_Text, int]):
    """Numbers texts from 0 in order of appearance."""

    def __missing__(self, text: _Text) -> int:
        self[text] = code = len(self)
        return code


def _coded(texts: Iterable[_Text]) -> tuple[list[_Text], Indexes]:
    """Distinct texts in order of appearance, and the index of each text among them, shape (N,)."""
    codes = _Codes[_Text]()
    index = np.fromiter(map(codes.__getitem__, texts), np.int64)
    return list(codes), index


def _labelled(texts: Sequence[str | None]) -> tuple[list[str], Indexes]:
    """As `_coded`, with UNLABELLED as the index of None."""
    labels, label = _coded(texts)
    if None in labels:
        label[label == labels.index(None)] = UNLABELLED
    return [text or "" for text in labels], label


def _numbers(values: Sequence[float | None]) -> NDArray[np.float64]:
    """Shape (N,), NaN for None."""
    missing = values.count(None)
    if missing == len(values):
        return np.full(len(values), NAN)
    return np.array(
        [NAN if value is None else value for value in values] if missing else values, np.float64
    )


def _from_class_scores(row: PredictionRow, positive: str | None) -> tuple[str | None, float]:
    """Predicted label and score of a row with a probability for each class.

    The label is that of the row, otherwise None if the row has a score, otherwise the class with
    the highest probability, ties by name. With two classes the score is the probability of the
    positive one; the row has none if neither the configuration nor the pair of names says which one
    that is.
    """
    scores: dict[str, float] = row.scores or {}
    score = NAN if row.score is None else row.score
    if row.score is None and len(scores) == 2:
        if positive is None:
            positive = evident_positive(*scores)
        score = NAN if positive is None else scores.get(positive, NAN)
    if row.prediction is not None or row.score is not None:
        return row.prediction, score
    return max(sorted(scores), key=scores.__getitem__), score
