"""Calls of a model with their truths, as the partials that stage 1 would send.

The partials are built row by row in plain Python, without `driftline.streams.join`; only the wire
format is shared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.results import RegistryCommand, RegistryEntry
from driftline.schemas.settings import Config
from driftline.schemas.times import format_time
from driftline.schemas.topics import (
    REFERENCE_PROFILES,
    REGISTRY,
    REGISTRY_COMMANDS,
    WINDOW_PARTIALS,
)
from driftline.streams import lanes
from driftline.streams.lanes import COUNTER_CODES, PREDICTED_NEGATIVE, PREDICTED_POSITIVE
from driftline.streams.measure import Measure
from driftline.streams.partial import COUNT_COLUMNS, RECENT_COLUMNS, Partial, Watermarks
from driftline.streams.registry.commands import profile_of
from driftline.streams.score_bins import bins_of, units_of
from driftline.streams.stage import Batch, Record
from driftline.streams.summaries.feature_summary import FeatureSummary
from driftline.streams.summaries.loglinear import bin_of
from driftline.streams.summaries.numeric_bins import NumericSummary
from tests.streams.summaries import table_of

SPECIAL = {"+": PREDICTED_POSITIVE, "-": PREDICTED_NEGATIVE}


@dataclass(frozen=True)
class Call:
    """One prediction and its truths.

    Attributes
    ----------
    predicted
        The predicted label; "+" and "-" are labels derived from the score.
    changes
        (delay, new label or None for a retraction), by delay.
    lateness
        How late the prediction itself arrived.
    """

    at: int
    predicted: str = "yes"
    version: str = "1"
    segments: tuple[str, ...] = ()
    score: float | None = None
    latency_us: int | None = None
    features: dict[str, float] = field(default_factory=dict)
    changes: tuple[tuple[int, str | None], ...] = ()
    lateness: int = 0
    model: str = "m"
    key: int = 0

    @property
    def series(self) -> list[tuple[str, str]]:
        return [(self.version, segment) for segment in ("all", *self.segments)]

    def label_at(self, delay: int) -> str | None:
        """The label in force once all truths with at most this delay are known."""
        known = [label for after, label in self.changes if after <= delay]
        return known[-1] if known else None


@dataclass
class Moment:
    """The counts of stage 1 at one time, for one model and partition."""

    at: int
    model: str
    partition: int
    counts: list[tuple[Any, ...]] = field(
        default_factory=list
    )  # lane, pane, series, rung, measure, a, b, count; labels as text
    features: list[tuple[int, tuple[str, str], str, float]] = field(default_factory=list)
    recent: list[tuple[Any, ...]] = field(default_factory=list)


def moments(calls: Iterable[Call], config: Config, partitions: int = 1) -> list[Moment]:
    """The increments of all calls, by the time at which stage 1 counts them."""
    increments: list[Moment] = []
    pane = lambda at: at - at % config.pane_ms  # noqa: E731
    for call in calls:
        ladder = [rung.ms for rung in config.for_model(call.model).maturity]
        rung_of = lambda delay: next(i for i, ms in enumerate(ladder) if delay <= ms)  # noqa: E731, B023
        partition = call.key % partitions
        made = Moment(call.at + call.lateness, call.model, partition)
        units = None if call.score is None else round(call.score * 1_000_000)
        score_bin = (
            None if call.score is None else int(bins_of(units_of(np.array([call.score])))[0])
        )
        for series in call.series:
            if not call.lateness:
                made.counts.append(
                    (
                        lanes.TRAFFIC,
                        pane(call.at),
                        series,
                        0,
                        lanes.COUNT,
                        0,
                        COUNTER_CODES["predictions"],
                        1,
                    )
                )
                if call.latency_us is not None:
                    latency_bin = int(bin_of(np.array([call.latency_us]))[0])
                    made.counts.append(
                        (lanes.TRAFFIC, pane(call.at), series, 0, lanes.LATENCY, 0, latency_bin, 1)
                    )
                if units is not None:
                    made.counts.append(
                        (
                            lanes.TRAFFIC,
                            pane(call.at),
                            series,
                            0,
                            lanes.PREDICTED_SCORES,
                            call.predicted,
                            score_bin,
                            1,
                        )
                    )
                else:
                    made.counts.append(
                        (
                            lanes.TRAFFIC,
                            pane(call.at),
                            series,
                            0,
                            lanes.PREDICTED,
                            call.predicted,
                            0,
                            1,
                        )
                    )
            made.counts.append(
                (
                    lanes.DECISIONS,
                    pane(call.at),
                    series,
                    rung_of(call.lateness),
                    lanes.COUNT,
                    0,
                    COUNTER_CODES["predictions"],
                    1,
                )
            )
        # A late prediction enters no traffic pane, so its features are not counted either.
        features = {} if call.lateness else call.features
        made.features = [
            (pane(call.at), (call.version, "all"), name, value) for name, value in features.items()
        ]
        increments.append(made)
        label_before: str | None = None
        for place, (delay, label) in enumerate(call.changes):
            changed = Moment(call.at + delay, call.model, partition)
            for series in call.series:
                for lane, start, rung in (
                    (lanes.DECISIONS, call.at, rung_of(delay)),
                    (lanes.ARRIVALS, call.at + delay, 0),
                ):
                    for text, sign in ((label, 1), (label_before, -1)):
                        if text is None or (lane == lanes.ARRIVALS and sign < 0):
                            continue
                        changed.counts.append(
                            (
                                lane,
                                pane(start),
                                series,
                                rung,
                                lanes.CELLS,
                                text,
                                call.predicted,
                                sign,
                            )
                        )
                        if units is not None and lane == lanes.DECISIONS:
                            half = lanes.SCORES_HOLDOUT if call.key & 1 else lanes.SCORES_FIT
                            changed.counts.append(
                                (lane, pane(start), series, rung, half, text, score_bin, sign)
                            )
                            changed.counts.append(
                                (
                                    lane,
                                    pane(start),
                                    series,
                                    rung,
                                    lanes.SCORE_SUM,
                                    text,
                                    0,
                                    sign * units,
                                )
                            )
                            squares = (units * units + 500_000) // 1_000_000
                            changed.counts.append(
                                (
                                    lane,
                                    pane(start),
                                    series,
                                    rung,
                                    lanes.SCORE_SQUARES,
                                    text,
                                    0,
                                    sign * squares,
                                )
                            )
                if place == 0:
                    first = (
                        lanes.DECISIONS,
                        pane(call.at),
                        series,
                        rung_of(delay),
                        lanes.COUNT,
                        0,
                        COUNTER_CODES["joined"],
                        1,
                    )
                    changed.counts.append(first)
                    delay_bin = int(bin_of(np.array([delay]))[0])
                    changed.counts.append(
                        (
                            lanes.DECISIONS,
                            pane(call.at),
                            series,
                            rung_of(delay),
                            lanes.DELAY,
                            0,
                            delay_bin,
                            1,
                        )
                    )
                    if label is not None:
                        changed.recent.append(
                            (series, call.at + delay, call.key, label, call.predicted, 1)
                        )
            label_before = label
            increments.append(changed)
    return sorted(increments, key=lambda moment: moment.at)


def partials(part: Sequence[Moment]) -> list[Partial]:
    """One partial per partition, as one commit of stage 1 with these moments would send."""
    groups: dict[int, list[Moment]] = {}
    for moment in sorted(part, key=lambda moment: moment.model):
        groups.setdefault(moment.partition, []).append(moment)
    return [_partial(partition, group) for partition, group in groups.items()]


def _partial(partition: int, group: Sequence[Moment]) -> Partial:
    series: dict[tuple[str, str, str], int] = {}
    labels: dict[str, int] = {"of another model": 0}

    def code(text: str | int) -> int:
        if isinstance(text, int):
            return text
        return SPECIAL[text] if text in SPECIAL else labels.setdefault(text, len(labels))

    def number(moment: Moment, pair: tuple[str, str]) -> int:
        return series.setdefault((moment.model, *pair), len(series))

    sums: Counter[tuple[int, ...]] = Counter()
    recent = []
    summaries: dict[tuple[int, int, str], list[float]] = {}
    for moment in group:
        for lane, start, pair, rung, measure, a, b, count in moment.counts:
            sums[lane, start, number(moment, pair), rung, measure, code(a), code(b)] += count
        for start, pair, name, value in moment.features:
            summaries.setdefault((number(moment, pair), start, name), []).append(value)
        for pair, time, key, actual, predicted, sign in moment.recent:
            recent.append((number(moment, pair), time, key, code(actual), code(predicted), sign))
    rows = [(*key, count) for key, count in sums.items() if count]
    return Partial(
        partition=partition,
        series=list(series),
        labels=list(labels),
        counts={
            name: np.array([row[i] for row in rows], dtype)
            for i, (name, dtype) in enumerate(COUNT_COLUMNS)
        },
        features=table_of(
            [
                (number, name, FeatureSummary(NumericSummary.of(np.array(values))))
                for (number, _, name), values in summaries.items()
            ]
        ),
        feature_panes=np.array([start for _, start, _ in summaries], np.int64),
        recent={
            name: np.array([row[i] for row in recent], dtype)
            for i, (name, dtype) in enumerate(RECENT_COLUMNS)
        },
    )


class MeasureRun:
    """Stage 2 on a state in memory, fed with moments in order."""

    def __init__(
        self,
        config: Config,
        *,
        partitions: int = 1,
        restarting: bool = False,
        registry: bool = False,
    ) -> None:
        self.config = config
        self.partitions = partitions
        self.restarting = restarting
        self.registry = registry
        self.entries: dict[tuple[str, str], dict[str, Any]] = {}
        self.revision = 0
        self.state = MemoryState()
        self.stage = Measure(config)
        self.records: list[Record] = []

    def call(self, records: dict[str, Any]) -> None:
        """One call of the stage; a restarting run creates the stage again before each call."""
        if self.restarting:
            self.stage = Measure(self.config)
        self.records += self.stage.process(Batch(records=records), self.state)

    def feed(self, part: Sequence[Moment], *, upto: int, rest: bool = True) -> None:
        """Add moments and the watermarks after them; then run all steps that are due."""
        marks = [
            Watermarks(partition, self.partitions, upto, upto)
            for partition in range(self.partitions)
        ]
        self.call({WINDOW_PARTIALS: [*partials(part), *marks]})
        while rest and self.stage.due(self.state) is not None:
            before = len(self.records)
            self.call({})
            commands = [
                record.value
                for record in self.records[before:]
                if record.topic == REGISTRY_COMMANDS
            ]
            if self.registry and commands:
                self.call(self.entry_after(commands))

    def entry_after(self, commands: Sequence[RegistryCommand]) -> dict[str, Any]:
        """The records of a registry that accepts everything."""
        profiles = [profile for command in commands if (profile := profile_of(command)) is not None]
        entries = [self.entry(command) for command in commands]
        return {REFERENCE_PROFILES: profiles, REGISTRY: entries}

    def entry(self, command: RegistryCommand) -> RegistryEntry:
        """The entry of a version after a command."""
        self.revision += 1
        version = command.model_version or ""
        entry = self.entries.setdefault((command.model_name, version), {"stage": "development"})
        if command.command == "record_reference":
            entry["reference_id"] = command.params["reference_id"]
        return RegistryEntry(
            model_name=command.model_name, model_version=version, revision=self.revision, **entry
        )

    def deployed(self, model: str, version: str, at: int) -> None:
        """Apply the entry of a version that went into production."""
        self.revision += 1
        entry = self.entries.setdefault((model, version), {}) | {
            "stage": "production",
            "deployed_at": format_time(at),
        }
        self.entries[model, version] = entry
        self.call(
            {
                REGISTRY: [
                    RegistryEntry(
                        model_name=model, model_version=version, revision=self.revision, **entry
                    )
                ]
            }
        )

    def of(self, topic: str) -> list[Any]:
        """Values on one topic."""
        return [record.value for record in self.records if record.topic == topic]


def run(
    config: Config,
    calls: Sequence[Call],
    *,
    end: int,
    cuts: Sequence[int] = (),
    partitions: int = 1,
    restarting: bool = False,
    registry: bool = False,
) -> MeasureRun:
    """The run of a stream that is cut after the moments numbered `cuts`, with time up to `end`."""
    stream = moments(calls, config, partitions)
    running = MeasureRun(config, partitions=partitions, restarting=restarting, registry=registry)
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    for begin, stop in pairwise(edges):
        # The watermark is the time of the last row: the next row may have the same time.
        upto = end if stop == len(stream) else stream[stop - 1].at if stop else 0
        running.feed(stream[begin:stop], upto=upto)
    return running
