"""The stages of a replay with a look at what passes through them, and without figures.

Everything that decides which rows count and what a label is runs as in a replay: decoding, order,
watermarks, join, windows, label rules, references. Metrics, rules and the tuner do not, and no
record is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from driftline.agents.inprocess.replay import Stages
from driftline.agents.input_check.tallies import Tallies
from driftline.schemas.settings import Config, ModelConfig
from driftline.streams import pipeline
from driftline.streams.measure.counts.labels import LabelReport
from driftline.streams.measure.drift.unwatched_features import UNWATCHED_FEATURES
from driftline.streams.pipeline import UpstreamResult
from driftline.streams.stage import Batch, Record, State


class WatchedStages:
    """The stages of one run.

    Attributes
    ----------
    tallies
        What has passed so far.
    """

    def __init__(self, config: Config, partitions: int) -> None:
        self.tallies = Tallies()
        self._downstream: _WithoutFigures | None = None
        counted = msgspec.structs.replace(config, outcomes=True)
        self._config = _without_figures(config)
        self.stages = Stages(
            [_Watched(counted, number, partitions, self.tallies) for number in range(partitions)],
            self._make_downstream,
        )

    def label_reports(self) -> Sequence[LabelReport]:
        """What is known about the labels of each model, at the end of the run."""
        return () if self._downstream is None else self._downstream.known_labels

    def _make_downstream(self, states: Callable[[str], State]) -> _WithoutFigures:
        self._downstream = _WithoutFigures(self._config, states)
        return self._downstream


class _Watched(pipeline.Upstream):
    """Stage 1 of one partition."""

    def __init__(self, config: Config, partition: int, partitions: int, tallies: Tallies) -> None:
        super().__init__(config, partition, partitions)
        self._tallies = tallies

    def process(self, batch: Batch, state: State) -> UpstreamResult:
        """Join the rows of a batch, and count them and what they met."""
        self._tallies.add_batch(batch)
        result = super().process(batch, state)
        self._tallies.add_outcomes(record.value for record in result.outcomes)
        result.outcomes = []
        return result


class _WithoutFigures(pipeline.Downstream):
    """Stages 2 to 4 of which only the notes on unwatched features are emitted.

    Attributes
    ----------
    known_labels
        What was known about the labels of each model at the end of the run.
    """

    known_labels: Sequence[LabelReport] = ()

    def advance(self, commands: Sequence[Record], decided: Sequence[Record] = ()) -> list[Record]:
        """Complete one pane."""
        return _notes(super().advance(commands, decided))

    def finish(self, commands: Sequence[Record], decided: Sequence[Record] = ()) -> list[Record]:
        """Carry out commands without completing a pane."""
        return _notes(super().finish(commands, decided))

    def label_reports(self) -> list[LabelReport]:
        """None: the summary of the run would have their sentences among its notes."""
        self.known_labels = super().label_reports()
        return []


def _notes(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record.topic == UNWATCHED_FEATURES]


def _without_figures(config: Config) -> Config:
    """The settings without metrics, rules and tuner; windows and references stay, since labels
    settle in windows and references decide which features are watched.
    """

    def reduced(model: ModelConfig) -> ModelConfig:
        return msgspec.structs.replace(
            model,
            metrics=(),
            rules=(),
            default_rules=False,
            tuner={},
            policy={},
            responses=(),
        )

    models = {name: reduced(model) for name, model in config.models.items()}
    return msgspec.structs.replace(config, defaults=reduced(config.defaults), models=models)
