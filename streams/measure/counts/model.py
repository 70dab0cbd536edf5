"""One model in stage 2: names, versions, labels and registry state; its counts are `panes.py`."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from driftline.schemas.settings import ModelConfig
from driftline.schemas.times import DAY_MS
from driftline.streams.lanes import ALL, LANE_NAMES
from driftline.streams.measure.counts.dense_layout import NAMED
from driftline.streams.measure.counts.labels import NO_LABELS, ConfiguredLabels, LabelSet
from driftline.streams.measure.counts.packed_key import MAX_SERIES, Ints
from driftline.streams.measure.counts.pane_spans import PaneSpans
from driftline.streams.measure.state_keys import (
    FACTS,
    LABELS,
    REGISTERED,
    REGISTERED_NAMES,
    REGISTRY_REVISION,
    SERIES_NAMES,
    state_key,
)
from driftline.streams.numbering import Numbering, decode_pairs, decode_texts
from driftline.streams.stage import State

OTHER: Final = "other"
FORMAT: Final = 9

SeriesName = tuple[str, str]
"""Version and segment."""


class RegisteredVersion(msgspec.Struct):
    """The registry entry of a version, as far as stage 2 uses it.

    Attributes
    ----------
    stage
        "development", "production" and so on.
    since_ms
        Where "since deployment" begins: the pane after the deployment; None without one.
    reference_id
        Name of the reference in force; its profile has a state key of its own.
    span
        Start and end of the span of that reference, in ms.
    """

    stage: str
    since_ms: int | None = None
    reference_id: str | None = None
    span: tuple[int, int] | None = None


class ScoreRange(msgspec.Struct, frozen=True, array_like=True):
    """Number of predictions with a score, and their lowest and highest bin."""

    n: int
    lowest: int
    highest: int

    def joined(self, other: ScoreRange) -> ScoreRange:
        """The range of both."""
        return ScoreRange(
            self.n + other.n, min(self.lowest, other.lowest), max(self.highest, other.highest)
        )


class StreamVersion(msgspec.Struct):
    """One version of a model as the stream shows it.

    Attributes
    ----------
    first_ms
        Start of its first pane with traffic.
    last_ms
        End of its last window with traffic, among the windows of the smallest step; None before the
        first one.
    reported
        Whether its first appearance was reported to the registry.
    reference_made
        Whether its reference was computed from the stream.
    baselines
        Number of rungs with a recorded baseline.
    restarted_ms
        Where the version begins again after a few rows long before all others; NEVER_MS until
        traffic shows where that is, None without such rows.
    """

    first_ms: int
    last_ms: int | None = None
    reported: bool = False
    reference_made: bool = False
    baselines: int = 0
    restarted_ms: int | None = None

    @property
    def begin_ms(self) -> int:
        """Where its rows begin, without a few long before all others."""
        return self.first_ms if self.restarted_ms is None else self.restarted_ms

    def began_ms(self, end_ms: int, ended_ms: int | None) -> int:
        """As `begin_ms`, for a window that ends at a time and holds rows, and a log whose last
        prediction has the time `ended_ms`; misdated rows may lie after it.
        """
        until_ms = end_ms if ended_ms is None else min(end_ms, ended_ms + 1)
        return self.begin_ms if self.begin_ms < until_ms else self.first_ms


class ModelFacts(msgspec.Struct):
    """The part of a model that is written to state as one value.

    Attributes
    ----------
    first_pane_ms, last_pane_ms
        By lane, the first and the last pane with counts; None before that.
    kept_from_ms
        By lane, the time before which panes were dropped.
    occupied
        By lane, spans of the panes with counts, as in `PaneSpans`.
    versions
        By version, as the stream shows it.
    label_set
        The labels of the windows that are complete.
    truths, predictions
        Joined rows by actual and by predicted label until the classes are settled, by text.
    scored
        Predictions with a label and a score, by label, until it is known whose scores are higher.
    label_records
        How often the settled classes and their positive label were recorded in the registry.
    since_ms
        Time up to which "since deployment" is summed for good.
    features_ms
        Start of the first and of the last grain with feature summaries; None before that.
    features_settled_ms
        Time up to which it is settled which features are kept.
    """

    format: int = FORMAT
    first_pane_ms: list[int | None] = msgspec.field(
        default_factory=lambda: [None] * len(LANE_NAMES)
    )
    last_pane_ms: list[int | None] = msgspec.field(default_factory=lambda: [None] * len(LANE_NAMES))
    kept_from_ms: list[int] = msgspec.field(default_factory=lambda: [0] * len(LANE_NAMES))
    occupied: list[list[tuple[int, int]]] = msgspec.field(
        default_factory=lambda: [[] for _ in LANE_NAMES]
    )
    versions: dict[str, StreamVersion] = {}
    label_set: LabelSet = NO_LABELS
    truths: dict[str, int] = {}
    predictions: dict[str, int] = {}
    scored: dict[str, ScoreRange] = {}
    label_records: int = 0
    since_ms: int | None = None
    features_ms: tuple[int, int] | None = None
    features_settled_ms: int = 0


class RegistryView:
    """The registry entries of one model, as far as stage 2 uses them, each with a state key.

    Parameters
    ----------
    number
        The model's number in the task's state.

    Attributes
    ----------
    revision
        The registry revision in force.
    versions
        By version, in the order of their first entries; read only.
    """

    def __init__(self, number: int, state: State) -> None:
        self._number = number
        self._names: Numbering[str] = Numbering(
            state_key(REGISTERED_NAMES, number), decode_texts, state
        )
        names = self._names.names
        stored = state.get_many([self._key(place) for place in range(len(names))])
        self.versions = {
            name: _decode_registered(data)
            for name, data in zip(names, stored, strict=True)
            if data is not None
        }
        data = state.get(state_key(REGISTRY_REVISION, number))
        self.revision: int = 0 if data is None else msgspec.msgpack.decode(data, type=int)

    def put(self, version: str, registered: RegisteredVersion, state: State) -> None:
        """Set a version."""
        if self.versions.get(version) != registered:
            self.versions[version] = registered
            (place,) = self._names.numbers([version], state)
            state.put(self._key(place), _encode(registered))

    def advance(self, revision: int, state: State) -> None:
        """Raise the revision in force."""
        if revision > self.revision:
            self.revision = revision
            state.put(state_key(REGISTRY_REVISION, self._number), _encode(revision))

    def _key(self, place: int) -> bytes:
        return state_key(REGISTERED, self._number, place)


class MeasuredModel:
    """One model of the task.

    Parameters
    ----------
    number
        Its number in the task's state.
    name, config
        Its name and settings.
    pane_ms
        Length of a pane.

    Attributes
    ----------
    configured_labels
        What the configuration says about its labels.
    series, labels
        Numbers of its series (version, segment), and codes of its labels.
    registry
        Its registry entries.
    facts
        Everything else; `write` writes it to state.
    occupied
        By lane, the panes with counts that were not dropped.

    Raises
    ------
    ValueError
        If another release wrote the state.
    """

    def __init__(
        self, number: int, name: str, config: ModelConfig, pane_ms: int, state: State
    ) -> None:
        self.number = number
        self.name = name
        self.config = config
        self.configured_labels = ConfiguredLabels(config.labels, config.positive_label)
        self.series: Numbering[SeriesName] = Numbering(
            state_key(SERIES_NAMES, number), decode_pairs, state, limit=MAX_SERIES - 1
        )
        self.labels: Numbering[str] = Numbering(
            state_key(LABELS, number), decode_texts, state, limit=NAMED
        )
        self.registry = RegistryView(number, state)
        self.facts = self._read(state)
        self._day_ms = -(-DAY_MS // pane_ms) * pane_ms
        self.occupied = [PaneSpans(pane_ms, spans) for spans in self.facts.occupied]
        self._rank: Ints = np.zeros(0, np.int64)
        self._written = _encode(self.facts)

    def _read(self, state: State) -> ModelFacts:
        data = state.get(state_key(FACTS, self.number))
        if data is None:
            return ModelFacts()
        facts = _decode(data)
        if facts.format != FORMAT:
            raise ValueError(
                f"measure: model {self.name!r} has format {facts.format} in the state, this "
                f"release reads format {FORMAT}; replay the log into a new folder"
            )
        return facts

    def write(self, state: State) -> None:
        """Write the facts to state if they changed."""
        self.facts.occupied = [panes.spans for panes in self.occupied]
        data = _encode(self.facts)
        if data != self._written:
            state.put(state_key(FACTS, self.number), data)
            self._written = data

    def series_numbers(self, series: list[SeriesName], state: State) -> Ints:
        """The number of each series, shape (N,).

        After MAX_SERIES - 1 series, new values of a segment dimension count as its "other".
        """
        numbers = self.series.numbers(series, state)
        if len(self.series) >= MAX_SERIES - 1 and MAX_SERIES - 1 in numbers:
            fallbacks = self.series.numbers(
                [(version, other_of(segment)) for version, segment in series], state
            )
            numbers = [
                fallback if number == MAX_SERIES - 1 else number
                for number, fallback in zip(numbers, fallbacks, strict=True)
            ]
        return np.array(numbers, np.int64)

    @property
    def rank(self) -> Ints:
        """Place of each series number in the order of emission.

        By version, then "all" before the segments, then by segment.
        """
        if len(self._rank) != len(self.series):
            names = self.series.names
            order = sorted(
                range(len(names)),
                key=lambda number: (names[number][0], names[number][1] != ALL, names[number][1]),
            )
            self._rank = np.empty(len(names), np.int64)
            self._rank[order] = np.arange(len(names))
        return self._rank

    @property
    def first_pane_ms(self) -> int | None:
        """The first pane of any lane with counts; None before that."""
        return min((pane for pane in self.facts.first_pane_ms if pane is not None), default=None)

    def days_with_counts(self, lane: int, start_ms: int, end_ms: int) -> tuple[int, int]:
        """The part of a span of time that may have counts of a lane, of length 0 if there are none.

        It is cut at whole days, or at edges of panes where a day is not made of whole panes.
        """
        first_ms, last_ms = self.facts.first_pane_ms[lane], self.facts.last_pane_ms[lane]
        if first_ms is None or last_ms is None:
            return start_ms, start_ms
        day_ms = self._day_ms
        start_ms = max(start_ms, first_ms // day_ms * day_ms)
        return start_ms, max(min(end_ms, (last_ms // day_ms + 1) * day_ms), start_ms)

    def note_panes(self, lane: int, first_ms: int, last_ms: int) -> None:
        """Extend the first and the last pane of a lane by panes that gained counts."""
        facts = self.facts
        self.occupied[lane].add(first_ms, last_ms)
        before = facts.first_pane_ms[lane]
        facts.first_pane_ms[lane] = first_ms if before is None else min(before, first_ms)
        before = facts.last_pane_ms[lane]
        facts.last_pane_ms[lane] = last_ms if before is None else max(before, last_ms)


def other_of(segment: str) -> str:
    """The segment that takes all values of a dimension without a segment of their own.

    Examples
    --------
    >>> other_of("plan=pro"), other_of("all")
    ('plan=other', 'all')
    """
    dimension, equals, _ = segment.partition("=")
    return f"{dimension}={OTHER}" if equals else segment


_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode = msgspec.msgpack.Decoder(ModelFacts).decode
_decode_registered = msgspec.msgpack.Decoder(RegisteredVersion).decode
