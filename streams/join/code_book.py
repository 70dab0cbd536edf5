"""The code book of one partition: numbers for labels, segment values and model versions, with the
settings of each version as columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from driftline.schemas.settings import Config
from driftline.streams.hashing import partitions_of
from driftline.streams.join.entry import Horizons
from driftline.streams.join.state_keys import LABELS, SEGMENT_VALUES, VERSIONS
from driftline.streams.lanes import NO_MODEL
from driftline.streams.numbering import Numbering, decode_texts
from driftline.streams.stage import State

Ints = NDArray[np.int64]

MAX_VALUES: Final = 10_000  # values of a segment dimension that a partition tells apart
OTHER: Final = "other"


class CodeBook:
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
