"""Rows of one batch as the join sees them: numbered texts, scaled scores, and how late each row is
by its own watermark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.schemas.settings import Config
from driftline.streams.columns import GroundTruthColumns, PredictionColumns
from driftline.streams.hashing import partitions_of
from driftline.streams.join.entry import NO_SCORE, Horizons
from driftline.streams.join.state_keys import LABELS, SEGMENT_VALUES, VERSIONS
from driftline.streams.lanes import (
    NO_LABEL,
    NO_MODEL,
    PREDICTED_NEGATIVE,
    PREDICTED_POSITIVE,
    SCORE_SCALE,
)
from driftline.streams.masks import some
from driftline.streams.named_columns import Named
from driftline.streams.numbering import Numbering, decode_texts
from driftline.streams.stage import State

Ints = NDArray[np.int64]

MAX_VALUES: Final = 10_000  # values of a segment dimension that a partition tells apart
OTHER: Final = "other"


class Texts:
    """The dictionaries of one partition, and what the configuration says of each model version in
    them.

    Parameters
    ----------
    homes
        Number of partitions after stage 1; that of a model is its home.

    Attributes
    ----------
    names
        (model_name, model_version) by code, V of them.
    names_by_home, place, home
        The same by home, then by model name; the place of each code in that order, shape (V,); and
        the home at each place, shape (V,).
    """

    def __init__(self, config: Config, state: State, homes: int = 1) -> None:
        self._config = config
        self._homes = homes
        self.labels: Numbering[str] = Numbering(LABELS, decode_texts, state)
        # "dimension=value"; code 0 in a row means that it has none.
        self.segments: Numbering[str] = Numbering(SEGMENT_VALUES, decode_texts, state)
        self._values = dict.fromkeys(config.segments, 0)
        for text in self.segments.names:
            self._values[text.partition("=")[0]] += 1
        self._versions: Numbering[str] = Numbering(VERSIONS, decode_texts, state)
        self.names: list[tuple[str, str]] = []
        self.horizons: list[Horizons] = []
        self._code_of_name: dict[tuple[str, str], int] = {}
        self._learn()

    def codes_of_names(self, names: Sequence[tuple[str, str]], state: State) -> Ints:
        """Code of each (model_name, model_version), shape (N,)."""
        if not self._code_of_name.keys() >= set(names):
            self._versions.numbers(
                [f"{len(model)}:{model}{version}" for model, version in names], state
            )
            self._learn()
        return np.array([self._code_of_name[name] for name in names], np.int64)

    def codes_of_values(self, dimension: str, values: Sequence[str], state: State) -> Ints:
        """Code of each value of a segment dimension, shape (N,), from 1.

        After MAX_VALUES of them, new values are counted as "other".
        """
        texts = [f"{dimension}={value}" for value in values]
        room = MAX_VALUES - self._values[dimension]
        new = [text for text in texts if text not in self.segments]
        for text in new[max(room, 0) :]:
            texts[texts.index(text)] = f"{dimension}={OTHER}"
        before = len(self.segments)
        codes = np.array(self.segments.numbers(texts, state), np.int64) + 1
        self._values[dimension] += len(self.segments) - before
        return codes

    def no_model(self, state: State) -> int:
        """The code that counts without a model go under."""
        return int(self.codes_of_names([(NO_MODEL, "")], state)[0])

    def rung_of(self, delay_ms: Ints, name: Ints) -> Ints:
        """First rung of the model's ladder that is at least the delay, shape (N,)."""
        return np.asarray((delay_ms[:, None] > self.ladder_ms[name]).sum(axis=1), np.int64)

    def _learn(self) -> None:
        for text in self._versions.names[len(self.names) :]:
            length, _, rest = text.partition(":")
            model, version = rest[: int(length)], rest[int(length) :]
            settings = self._config.for_model(model)
            self._code_of_name[model, version] = len(self.names)
            self.names.append((model, version))
            self.horizons.append(
                Horizons(
                    tuple(rung.ms for rung in settings.maturity), settings.correction_horizon_ms
                )
            )
        homes = partitions_of([model.encode() for model, _ in self.names], self._homes)
        by_home = sorted(
            range(len(self.names)), key=lambda code: (homes[code], self.names[code][0])
        )
        self.names_by_home = [self.names[code] for code in by_home]
        self.place: Ints = np.argsort(by_home)
        self.home = homes[by_home]
        models = [self._config.for_model(model) for model, _ in self.names]
        longest = max((len(h.ladder_ms) for h in self.horizons), default=1)
        padded = [h.ladder_ms + (h.label_ms,) * (longest - len(h.ladder_ms)) for h in self.horizons]
        self.ladder_ms = np.array(padded, np.int64).reshape(len(padded), longest)
        self.label_horizon_ms = np.array([h.label_ms for h in self.horizons], np.int64)
        self.correction_horizon_ms = np.array([h.correction_ms for h in self.horizons], np.int64)
        self.threshold = np.array([model.threshold for model in models], np.float64)
        self.has_last_n = np.array([bool(model.last_n) for model in models], np.bool_)
        self.has_dimension = self._flags([model.segments for model in models])
        self.has_features = self._flags([model.feature_segments for model in models])

    def _flags(self, chosen: Sequence[Sequence[str]]) -> NDArray[np.bool_]:
        """Which dimensions of the configuration are among those of each model version, shape (V,
        D).
        """
        dimensions = self._config.segments
        flags = np.array(
            [[dimension in some for dimension in dimensions] for some in chosen], np.bool_
        )
        return flags.reshape(len(chosen), len(dimensions))


class Predictions(msgspec.Struct, gc=False):
    """Predictions of one batch; columns have shape (N,), `segments` (N, D).

    Attributes
    ----------
    keys
        The id of each row, under which its entry lies in the state.
    predicted
        Label code, PREDICTED_POSITIVE or PREDICTED_NEGATIVE where it follows from the score,
        NO_LABEL where there is none.
    score
        In SCORE_SCALE, NO_SCORE where there is none.
    floor_ms, lateness_ms
        The row's watermark less the grace; how far it lies behind that, never below 0.
    at
        Index of each row in the columns that the driver gave.
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
        watermark_ms: int,
        texts: Texts,
        config: Config,
        state: State,
    ) -> tuple[Self, int]:
        """The rows of a batch and the watermark after it; `watermark_ms` is the one before it."""
        n = len(columns)
        name = texts.codes_of_names(columns.names, state)[columns.name]
        marks = np.maximum.accumulate(
            np.maximum(np.maximum(columns.timestamp_ms, columns.tick_ms), watermark_ms)
        )
        floor_ms = marks - config.prediction_grace_ms
        labels = np.array([*texts.labels.numbers(columns.labels, state), NO_LABEL], np.int64)
        predicted = labels[np.where(columns.label == NO_LABEL, len(labels) - 1, columns.label)]
        score, scored = np.full(n, NO_SCORE), ~np.isnan(columns.score)
        if some(scored):
            score = np.where(
                scored, np.rint(np.where(scored, columns.score, 0.0) * SCORE_SCALE), NO_SCORE
            ).astype(np.int64)
            threshold = np.where(
                np.isnan(columns.threshold), texts.threshold[name], columns.threshold
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
            segments=_segment_codes(columns.segments, config.segments, texts, state)
            * texts.has_dimension[name],
            rank=columns.rank,
            at=np.arange(n),
        ), int(marks[-1])

    def take(self, at: Ints) -> Self:
        """The rows at the indexes `at`, in that order."""
        columns = {field: getattr(self, field)[at] for field in self.__struct_fields__[1:]}
        return type(self)(keys=[self.keys[i] for i in at.tolist()], **columns)


class Truths(msgspec.Struct, gc=False):
    """Ground truths of one batch; columns have shape (N,).

    `known_ms` is the greater of the row's time and `floor_ms`.
    """

    keys: list[bytes]
    timestamp_ms: Ints
    floor_ms: Ints
    known_ms: Ints
    label: Ints
    revision: Ints
    rank: Ints

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def of(
        cls,
        columns: GroundTruthColumns,
        watermark_ms: int,
        texts: Texts,
        config: Config,
        state: State,
    ) -> tuple[Self, int]:
        """The rows of a batch and the watermark after it; `watermark_ms` is the one before it."""
        marks = np.maximum.accumulate(
            np.maximum(np.maximum(columns.timestamp_ms, columns.tick_ms), watermark_ms)
        )
        floor_ms = marks - config.truth_grace_ms
        labels = np.array([*texts.labels.numbers(columns.labels, state), NO_LABEL], np.int64)
        return cls(
            keys=columns.ids,
            timestamp_ms=columns.timestamp_ms,
            floor_ms=floor_ms,
            known_ms=np.maximum(columns.timestamp_ms, floor_ms),
            label=labels[np.where(columns.label == NO_LABEL, len(labels) - 1, columns.label)],
            revision=columns.revision,
            rank=columns.rank,
        ), int(marks[-1])


def _segment_codes(segments: Named, dimensions: Sequence[str], texts: Texts, state: State) -> Ints:
    """Code of each row's value in each dimension, shape (N, D); 0 where the row has none."""
    codes = np.zeros((len(segments), len(dimensions)), np.int64)
    for d, dimension in enumerate(dimensions):
        if dimension not in segments.textual:
            continue
        words = segments.texts[segments.textual.index(dimension)]
        code_of = np.zeros(len(segments.words) + 1, np.int64)
        # In order of appearance, which decides what gets a code where there are too many values:
        # written last, the first row stays.
        first = np.full(len(code_of), len(words))
        first[words[::-1]] = np.arange(len(words))[::-1]
        seen = np.flatnonzero(first[:-1] < len(words))
        present = seen[np.argsort(first[seen])]
        code_of[present] = texts.codes_of_values(
            dimension, [segments.words[word] for word in present.tolist()], state
        )
        codes[:, d] = code_of[words]
    return codes
