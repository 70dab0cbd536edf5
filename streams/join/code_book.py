"""The code book of one partition: numbers for labels, segment values and model versions, with the
settings of each version as columns.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from driftline.schemas.settings import Config
from driftline.streams.hashing import partitions_of
from driftline.streams.join.entry import Horizons
from driftline.streams.join.state_keys import LABELS, SEGMENT_VALUES, VERSIONS
from driftline.streams.lanes import NO_LABEL, NO_MODEL, OTHER_LABEL
from driftline.streams.numbering import Numbering, decode_texts
from driftline.streams.stage import State

Ints = NDArray[np.int64]

MAX_VALUES: Final = 10_000  # values of one segment dimension that a partition counts separately
OTHER: Final = "other"
MAX_LONG_NUMBERS: Final = 10_000
MAX_OTHER_LABELS: Final = 50_000
OTHER_TEXT: Final = "(other)"
_LONG_NUMBER: Final = re.compile(r"-?(?:[0-9]{5,}|[0-9]+\.[0-9]+|[0-9.]+e[-+]?[0-9]+)", re.ASCII)


class CodeBook:
    """Codes of one partition, and the settings of each model version.

    Parameters
    ----------
    target_partitions
        Number of partitions of `window-partials`.

    Attributes
    ----------
    labels, segments
        Labels; segment values as "dimension=value". Code 0 of a row's segment means no value, so
        their codes are their numbers plus 1.
    names
        (model_name, model_version) by code, V of them.
    horizons
        Limits by code.
    names_by_target
        `names` in the order of target partition and model name.
    place
        Place of each code in that order, shape (V,).
    target
        Target partition of the model at each place, shape (V,).
    ladder_ms
        Rungs by code, shape (V, R); shorter ladders are filled up with their label horizon.
    label_horizon_ms, correction_horizon_ms, threshold, has_last_n
        Settings by code, shape (V,).
    has_dimension, has_features
        Whether predictions, and features, are counted by each segment dimension, shape (V, D).
    """

    def __init__(self, config: Config, state: State, target_partitions: int = 1) -> None:
        self._config = config
        self._target_partitions = target_partitions
        self.labels: Numbering[str] = Numbering(LABELS, decode_texts, state)
        self._numbered = Counter(
            _LONG_NUMBER.fullmatch(label) is not None for label in self.labels.names
        )
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

        After MAX_VALUES of them, new values count as "other".
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

    def label_codes(self, labels: Sequence[str], index: Ints, state: State) -> Ints:
        """Code of the label of each row, shape (N,).

        Numbers with decimals or more than four digits have MAX_LONG_NUMBERS codes, since those of a
        regression never end; all other labels have MAX_OTHER_LABELS. Further ones are OTHER_LABEL.

        Parameters
        ----------
        labels, index
            Distinct labels, and shape (N,) the index of each row into them, or UNLABELLED, -1.
        """
        new = [label for label in labels if self.labels.number_of(label) is None]
        if new:
            self._number_labels(new, state)
        codes = [self.labels.number_of(label) for label in labels]
        table = np.array(
            [OTHER_LABEL if code is None else code for code in codes] + [NO_LABEL], np.int64
        )
        return table[index]

    def label_text(self, code: int) -> str:
        """Text of a label; OTHER_TEXT for one beyond the limits."""
        return OTHER_TEXT if code == OTHER_LABEL else self.labels.names[code]

    def _number_labels(self, new: Sequence[str], state: State) -> None:
        is_long = [_LONG_NUMBER.fullmatch(label) is not None for label in new]
        for long, limit in ((True, MAX_LONG_NUMBERS), (False, MAX_OTHER_LABELS)):
            room = max(limit - self._numbered[long], 0)
            taken = [label for label, each in zip(new, is_long, strict=True) if each == long]
            self.labels.numbers(taken[:room], state)
            self._numbered[long] += len(taken[:room])

    def no_model(self, state: State) -> int:
        """Code for counts that belong to no model."""
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
        targets = partitions_of(
            [model.encode() for model, _ in self.names], self._target_partitions
        )
        by_target = sorted(
            range(len(self.names)), key=lambda code: (targets[code], self.names[code][0])
        )
        self.names_by_target = [self.names[code] for code in by_target]
        self.place: Ints = np.argsort(by_target)
        self.target = targets[by_target]
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
        """Whether each configured dimension is among those of each model version, shape (V, D)."""
        dimensions = self._config.segments
        flags = np.array(
            [[dimension in of_model for dimension in dimensions] for of_model in chosen], np.bool_
        )
        return flags.reshape(len(chosen), len(dimensions))
