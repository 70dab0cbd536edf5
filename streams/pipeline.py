"""The path of a record from topic to alert.

    predictions   keyed by prediction_id ─┐
    ground-truth  keyed by prediction_id ─┼─ the same partition for the same id
    ticks         one per partition      ─┘
                         │
      1 join      join by id; count what each batch adds    ─► window-partials, outcomes
                         │  all partitions of a model meet
      2 measure   add up; windows, metrics, drift           ─► metrics, drift, histograms,
                         │                                     registry-commands
      3 decide    rules; better thresholds; what people     ─► alerts, alert-events,
                  do about alerts                              recommendations
                         │
      4 registry  commands become events and the state in   ─► registry-events, registry,
                  force, which 2 and 3 read before the         reference-profiles, actions
                  next pane; what alerts lead to

A stage is a function of its batch and its state (`stage.py`). A driver in `agents` runs the stages
over a recorded log or on Kafka and commits outputs, state and positions together. `Upstream` is
stage 1 of one partition of the input topics, `Downstream` stages 2 to 4 for all models of one
target partition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, Final

import msgspec

from driftline.schemas.rejects import Reject
from driftline.schemas.settings import Config
from driftline.schemas.topics import (
    ALERT_COMMANDS,
    MODEL_LABELS,
    MODEL_RULES,
    OUTCOMES,
    REFERENCE_PROFILES,
    REGISTRY,
    REPORTS,
    WINDOW_PARTIALS,
)
from driftline.streams.decide import Decide
from driftline.streams.decide.alert_acts import ReceivedCommand
from driftline.streams.join import Join, Marks
from driftline.streams.join.uncounted_rows import UNCOUNTED_ROWS, UncountedRow
from driftline.streams.measure import Measure
from driftline.streams.measure.counts.labels import LabelReport
from driftline.streams.measure.timing.frontier import Frontier
from driftline.streams.ordered_outcomes import ORDERED_OUTCOMES
from driftline.streams.registry import Registry
from driftline.streams.stage import Batch, Record, SlicedStage, Stage, State
from driftline.streams.work_slices import WorkSlices, run_slices

STAGES: Final[tuple[type[Stage], ...]] = (Join, Measure, Decide, Registry)
PLACES: Final = {stage.name: place for place, stage in enumerate(STAGES)}
"""Place of each stage in the keys of a state store; never reorder."""
_IN_FORCE: Final = (REFERENCE_PROFILES, REGISTRY, MODEL_LABELS, MODEL_RULES)


class UpstreamResult(msgspec.Struct, gc=False):
    """What stage 1 emits for one batch.

    Attributes
    ----------
    partials
        Partials and watermarks for stage 2.
    outcomes
        Joined rows, in the order of the rows that led to them.
    conflicts
        Predictions that contradict an accepted one, in offset order: dead letters whose bytes the
        driver adds.
    uncounted_rows
        Rows that do not count, or not everywhere, one record per reason.
    """

    partials: list[Record]
    outcomes: list[Record]
    conflicts: list[Reject]
    uncounted_rows: list[UncountedRow] = []


class Upstream:
    """Stage 1 of one partition.

    Parameters
    ----------
    partition, partitions
        Number of the partition of the input topics, and how many there are.
    target_partitions
        Number of partitions of `window-partials`.
    """

    def __init__(
        self, config: Config, partition: int, partitions: int, target_partitions: int = 1
    ) -> None:
        self._join = Join(config, partition, partitions, target_partitions)

    @property
    def at_rest(self) -> bool:
        """Whether another call without rows would change nothing."""
        return self._join.at_rest

    def marks(self, state: State) -> Marks:
        """Watermarks of the partition."""
        return self._join.marks(state)

    def process(self, batch: Batch, state: State) -> UpstreamResult:
        """Join the rows of a batch."""
        result = UpstreamResult([], [], [])
        for record in self._join.process(batch, state):
            if record.topic == WINDOW_PARTIALS:
                result.partials.append(record)
            elif record.topic == OUTCOMES:
                result.outcomes.append(record)
            elif record.topic == UNCOUNTED_ROWS:
                result.uncounted_rows.append(record.value)
            else:
                result.conflicts.append(record.value)
        return result


class Downstream:
    """Stages 2 to 4 of one partition.

    They run until none of them emits anything before and after every pane, so that the output
    depends on event time alone. What may take long with very many models can also be done in
    slices: no other method may be called before such a call is done.

    Parameters
    ----------
    states
        The state of a stage, by its name.
    follow
        Take the registry's records from a recorded log instead of running stage 4.
    provisional
        Whether `provisional` will be called.
    """

    def __init__(
        self,
        config: Config,
        states: Callable[[str], State],
        *,
        follow: bool = False,
        provisional: bool = False,
    ) -> None:
        self._decide = Decide(config)
        self._measure = Measure(
            config, provisional=provisional, reads_outcomes=self._reads_outcomes
        )
        self._later: list[SlicedStage] = (
            [self._decide] if follow else [self._decide, Registry(config)]
        )
        self._states = states

    def merge(self, partials: Sequence[Any]) -> None:
        """`merge_in_slices` in one call."""
        run_slices(self.merge_in_slices(partials))

    def merge_in_slices(self, partials: Sequence[Any]) -> WorkSlices[None]:
        """Add partials and watermarks of stage 1; nothing is emitted."""
        yield from self._measured({WINDOW_PARTIALS: partials})

    def provisional(self) -> list[Record]:
        """`provisional_in_slices` in one call."""
        return run_slices(self.provisional_in_slices())

    def provisional_in_slices(self) -> WorkSlices[list[Record]]:
        """Metric records, marked as provisional, of the open windows that changed since the last
        call.

        May be called at any time: it changes no state and no other output. No stage reads these
        records.
        """
        return self._measure.provisional_in_slices(self._states(self._measure.name))

    def label_reports(self) -> list[LabelReport]:
        """What is known about the labels of each model."""
        return self._measure.label_reports(self._states(self._measure.name))

    def new_label_reports(self) -> list[LabelReport]:
        """Those of models whose labels changed since the last call; at first, all."""
        return self._measure.new_label_reports(self._states(self._measure.name))

    def due(self) -> int | None:
        """End of the pane that the next `advance` completes, in ms; None if no pane is complete."""
        return self._measure.due(self._states(self._measure.name))

    def due_after_quiet(self, command_ms: int | None) -> int | None:
        """As `due`, after time has passed the panes in which nothing happens.

        Parameters
        ----------
        command_ms
            Time of the first command that waits, None without any: the pane that is the first to be
            complete after it is not passed.
        """
        self._measure.pass_quiet_steps(command_ms, self._states(self._measure.name))
        return self.due()

    def frontier(self) -> Frontier:
        """How far stage 1 has come; read-only."""
        return self._measure.frontier(self._states(self._measure.name))

    def next_ms(self) -> int:
        """Event time before which no pane will become complete, in ms: commands with an earlier
        time can be carried out.
        """
        return self._measure.frontier(self._states(self._measure.name)).next_ms

    def advance(self, commands: Sequence[Record], decided: Sequence[Record] = ()) -> list[Record]:
        """`advance_in_slices` in one call."""
        return run_slices(self.advance_in_slices(commands, decided))

    def advance_in_slices(
        self, commands: Sequence[Record], decided: Sequence[Record] = ()
    ) -> WorkSlices[list[Record]]:
        """Complete one pane; gives all emitted records, in order.

        `commands` and, where a log is followed, its `decided` registry records are those before the
        end of the pane; they are in force for it. Decisions about the pane itself are in force from
        the next one on.
        """
        emitted = yield from self._before_the_pane(commands, decided)
        closed = yield from self._measured({})
        told = [record for record in closed if record.topic != ORDERED_OUTCOMES]
        return emitted + told + (yield from self._settled(closed))

    def finish(self, commands: Sequence[Record], decided: Sequence[Record] = ()) -> list[Record]:
        """Carry out commands without completing a pane."""
        return run_slices(self._before_the_pane(commands, decided))

    def change_settings(
        self, model_name: str, before: dict[str, Any], settings: dict[str, Any]
    ) -> list[Record]:
        """Put other rules, default_rules, tuner, policy and responses of a counted model in force;
        gives all emitted records, the effect record first.

        Parameters
        ----------
        before, settings
            Those until now and from now on, by key.
        """
        state = self._states(self._measure.name)
        effect = self._measure.settings_effect(model_name, before, settings, state)
        return self.finish([], [effect])

    def _before_the_pane(
        self, commands: Sequence[Record], decided: Sequence[Record]
    ) -> WorkSlices[list[Record]]:
        """Carry out commands in their order, alert commands and reports among `decided` included;
        gives the other ones of `decided`, and what was emitted.
        """
        emitted = [record for record in decided if record.topic not in (ALERT_COMMANDS, *REPORTS)]
        in_order = [
            self._received(record) if record.topic == ALERT_COMMANDS else record
            for record in (*commands, *decided)
        ]
        for _, records in groupby(in_order, _side):
            emitted += yield from self._settled(list(records))
        return emitted

    def _received(self, command: Record) -> Record:
        """An alert command with the event time that its model has reached, or that it had reached
        in a live run that is followed.
        """
        if isinstance(command.value, ReceivedCommand):
            return command
        state = self._states(self._measure.name)
        reached_ms = self._measure.reached_ms(command.value.model_name, state)
        return Record(ALERT_COMMANDS, ReceivedCommand(command.value, reached_ms))

    def _settled(self, records: Sequence[Record]) -> WorkSlices[list[Record]]:
        """Run stages 3 and 4 on `records` and on the records they emit, until they emit none; then
        run stage 2 on what the registry puts in force.
        """
        emitted: list[Record] = []
        fresh: Sequence[Record] = records
        while fresh:
            following: list[Record] = []
            for stage in self._later:
                inputs = _by_topic([*fresh, *following], stage.inputs)
                if inputs:
                    batch, state = Batch(records=inputs), self._states(stage.name)
                    following += yield from stage.work(batch, state)
            emitted += following
            fresh = following
        in_force = _by_topic([*records, *emitted], _IN_FORCE)
        return emitted + (yield from self._measured(in_force)) if in_force else emitted

    def _measured(self, records: dict[str, Sequence[Any]]) -> WorkSlices[list[Record]]:
        return self._measure.work(Batch(records=records), self._states(self._measure.name))

    def _reads_outcomes(self, model_name: str) -> bool:
        return self._decide.reads_outcomes(model_name, self._states(self._decide.name))


def _side(record: Record) -> str:
    """What records in a row have in common that may be handled together. Reports of several topics
    may not, so that their alerts are in the order of their times.
    """
    return record.topic if record.topic in (ALERT_COMMANDS, *REPORTS) else ""


def _by_topic(records: Sequence[Record], topics: Sequence[str]) -> dict[str, Sequence[Any]]:
    by_topic: dict[str, list[Any]] = {}
    for record in records:
        if record.topic in topics:
            by_topic.setdefault(record.topic, []).append(record.value)
    return dict(by_topic)
