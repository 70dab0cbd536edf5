"""What stage 2 knows of one model beside its counts: names, versions, labels, and what the registry
says.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from driftline.schemas.settings import ModelConfig
from driftline.streams.lanes import ALL, LANE_NAMES
from driftline.streams.measure.counts.count_table import MAX_SERIES, Ints
from driftline.streams.measure.counts.dense_layout import NAMED
from driftline.streams.measure.counts.labels import LabelSet
from driftline.streams.measure.state_keys import FACTS, LABELS, SERIES_NAMES, state_key
from driftline.streams.numbering import Numbering, decode_pairs, decode_texts
from driftline.streams.stage import State

OTHER: Final = "other"
FORMAT: Final = 1

SeriesName = tuple[str, str]
"""Version and segment."""


class RegisteredVersion(msgspec.Struct):
    """What the registry says of a version, as far as this stage acts on it.

    Attributes
    ----------
    since_ms
        Where "since deployment" begins: the pane after the deployment; None without one.
    reference_id
        Name of the reference in force; the profile itself is kept apart.
    span
        Where a reference is wanted from, start and end, while there is no profile.
    """

    stage: str
    since_ms: int | None = None
    reference_id: str | None = None
    span: tuple[int, int] | None = None


class StreamVersion(msgspec.Struct):
    """One version of a model as the stream and the registry know it.

    Attributes
    ----------
    first_ms
        Start of its first pane with traffic.
    last_ms
        End of the last window with traffic, of those of the smallest step; None before the first
        one.
    announced
        Whether its first sight was reported.
    reference_made
        Whether its reference was made from the stream.
    baselines
        Number of rungs whose baseline is recorded.
    """

    first_ms: int
    last_ms: int | None = None
    announced: bool = False
    reference_made: bool = False
    baselines: int = 0


class ModelFacts(msgspec.Struct):
    """The part of a model that is written down as a whole.

    Attributes
    ----------
    first_pane_ms, last_pane_ms
        By lane, the first and the last pane that anything was counted in; None before that.
    kept_from_ms
        By lane, the time before which panes were dropped.
    versions, registry
        By name of the version: what the stream has shown, and what the registry knows.
    label_set
        The labels of the windows that are complete.
    revision
        The registry revision in force.
    since_ms
        How far "since deployment" has been summed for good.
    """

    format: int = FORMAT
    first_pane_ms: list[int | None] = msgspec.field(
        default_factory=lambda: [None] * len(LANE_NAMES)
    )
    last_pane_ms: list[int | None] = msgspec.field(default_factory=lambda: [None] * len(LANE_NAMES))
    kept_from_ms: list[int] = msgspec.field(default_factory=lambda: [0] * len(LANE_NAMES))
    versions: dict[str, StreamVersion] = {}
    registry: dict[str, RegisteredVersion] = {}
    label_set: LabelSet = LabelSet()
    revision: int = 0
    since_ms: int | None = None


class MeasuredModel:
    """One model.

    Parameters
    ----------
    number
        Its number inside the task's state.
    name, config
        Its name and settings.
    """

    def __init__(self, number: int, name: str, config: ModelConfig, state: State) -> None:
        self.number = number
        self.name = name
        self.config = config
        self.series: Numbering[SeriesName] = Numbering(
            state_key(SERIES_NAMES, number), decode_pairs, state, limit=MAX_SERIES - 1
        )
        self.labels: Numbering[str] = Numbering(
            state_key(LABELS, number), decode_texts, state, limit=NAMED
        )
        self.facts = self._read(state)
        self._rank: Ints = np.zeros(0, np.int64)
        self._written = _encode(self.facts)

    def _read(self, state: State) -> ModelFacts:
        held = state.get(state_key(FACTS, self.number))
        if held is None:
            return ModelFacts()
        facts = _decode(held)
        if facts.format != FORMAT:
            raise ValueError(
                f"measure: state of {self.name} has format {facts.format}, needed {FORMAT}; replay the log into a new folder"
            )
        return facts

    def write(self, state: State) -> None:
        """Write the facts down if they changed."""
        data = _encode(self.facts)
        if data != self._written:
            state.put(state_key(FACTS, self.number), data)
            self._written = data

    def series_numbers(self, series: list[SeriesName], state: State) -> Ints:
        """The number of each (version, segment), shape (N,).

        When numbers run out, further values of a dimension count as its "other".
        """
        numbers = self.series.numbers(series, state)
        if len(self.series) >= MAX_SERIES - 1 and MAX_SERIES - 1 in numbers:
            others = self.series.numbers(
                [(version, other_of(segment)) for version, segment in series], state
            )
            numbers = [
                other if number == MAX_SERIES - 1 else number
                for number, other in zip(numbers, others, strict=True)
            ]
        return np.array(numbers, np.int64)

    @property
    def rank(self) -> Ints:
        """Place of each series number in the order of announcement: by version, "all" before the
        segments, then by segment.
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
        """The first pane of all lanes that anything was counted in; None before that."""
        return min((pane for pane in self.facts.first_pane_ms if pane is not None), default=None)

    def saw(self, lane: int, first_ms: int, last_ms: int) -> None:
        """Panes from `first_ms` to `last_ms` of a lane gained counts."""
        facts = self.facts
        held = facts.first_pane_ms[lane]
        facts.first_pane_ms[lane] = first_ms if held is None else min(held, first_ms)
        held = facts.last_pane_ms[lane]
        facts.last_pane_ms[lane] = last_ms if held is None else max(held, last_ms)


def other_of(segment: str) -> str:
    """The segment that stands for all values of a dimension without one of their own.

    Examples
    --------
    >>> other_of("plan=pro"), other_of("all")
    ('plan=other', 'all')
    """
    dimension, equals, _ = segment.partition("=")
    return f"{dimension}={OTHER}" if equals else segment


_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode = msgspec.msgpack.Decoder(ModelFacts).decode
