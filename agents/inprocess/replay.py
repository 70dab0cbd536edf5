"""Replay of a recorded log through all stages, with durable state and resume.

Every step is one atomic change: stage 1 processes the step's lines partition by partition, stages 2
to 4 close the panes that became complete, the output files are appended, and one write batch
commits state, input positions and file lengths. A killed run resumes from its last commit and ends
with the same bytes. Reading and merging the log is `driftline.agents.recorded.merge`; the order of
stages 2 to 4 is `driftline.streams.pipeline`.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from driftline.agents.garbage_collection import rarely_collecting
from driftline.agents.inprocess.output_files import OutputFiles
from driftline.agents.inprocess.run_identity import (
    FORMAT,
    Identity,
    claim,
    identify,
    locked,
    program_version,
    release,
)
from driftline.agents.inprocess.run_summary import Progress, ReplaySummary
from driftline.agents.input_rules import with_rules
from driftline.agents.label_notes import label_notes
from driftline.agents.recorded.dead_letters import DeadLetters
from driftline.agents.recorded.lines import LogError
from driftline.agents.recorded.log_files import NEEDED, decoders, input_files
from driftline.agents.recorded.merge import Merge, Step, columns_by_topic
from driftline.agents.recorded.recorded_ticks import RecordedTicks
from driftline.agents.recorded.registry_log import (
    RecordedCommands,
    RecordedDecisions,
    at_the_beginning,
    unfollowed_note,
)
from driftline.agents.recorded.row_order import RowOrder, graces_ms, look, sort_file
from driftline.agents.recorded.tables.column_mapping import ColumnUse, Options
from driftline.agents.recorded.tables.file_content import is_table
from driftline.agents.recorded.tables.table_to_log import convert_table, reports_of
from driftline.agents.recorded.topic_log import Position, TopicLog, is_exported
from driftline.agents.state.rocks import RocksState
from driftline.agents.uncounted_rows import (
    Uncounted,
    UncountedLog,
    UncountedTotals,
    lost_shares,
    of_row,
    of_unwatched,
)
from driftline.schemas.rejects import Reject
from driftline.schemas.setting_changes import recorded_settings
from driftline.schemas.settings import Config
from driftline.schemas.times import format_time
from driftline.schemas.topics import (
    ACTIONS,
    ALERT_EVENTS,
    ALERTS,
    DRIFT,
    GROUND_TRUTH,
    HISTOGRAMS,
    METRICS,
    MODEL_LABELS,
    MODEL_RULES,
    NOTIFICATIONS,
    OUTCOMES,
    PREDICTIONS,
    RECOMMENDATIONS,
    REFERENCE_PROFILES,
    REGISTRY,
    REGISTRY_EFFECTS,
    REGISTRY_EVENTS,
    RULE_WINDOWS,
    SIDE_INPUTS,
    TICKS,
)
from driftline.streams import pipeline
from driftline.streams.end_of_time import end_of_time
from driftline.streams.join import Join
from driftline.streams.measure.counts.labels import LabelReport
from driftline.streams.measure.drift.unwatched_features import UNWATCHED_FEATURES
from driftline.streams.partial import LostSpan
from driftline.streams.pipeline import PLACES, UpstreamResult
from driftline.streams.stage import Batch, Record, State

STATE_FOLDER: Final = "state"
TABLE_LOG_FOLDER: Final = "log"
SORTED_FOLDER: Final = "sorted-log"
MAX_PARTITIONS: Final = 1 << 15
# Panes closed between commits if event time jumps far ahead; it bounds memory and nothing else.
PANES_PER_COMMIT: Final = 256
__all__ = ["Progress", "ReplaySummary", "Stages", "replay"]

_CHECKPOINT: Final = "run"
_RESULTS: Final = (
    METRICS,
    HISTOGRAMS,
    DRIFT,
    ALERTS,
    ALERT_EVENTS,
    RECOMMENDATIONS,
    RULE_WINDOWS,
    REGISTRY_EVENTS,
    REGISTRY_EFFECTS,
    REGISTRY,
    ACTIONS,
    MODEL_LABELS,
    MODEL_RULES,
    REFERENCE_PROFILES,
)


class UpstreamStage(Protocol):
    """Stage 1 of one partition, as `driftline.streams.pipeline.Upstream` runs it."""

    def process(self, batch: Batch, state: State, /) -> UpstreamResult: ...


class DownstreamStages(Protocol):
    """Stages 2 to 4, as `driftline.streams.pipeline.Downstream` runs them."""

    def merge(self, partials: Sequence[Any], /) -> None: ...
    def due_after_quiet(self, command_ms: int | None, /) -> int | None: ...
    def next_ms(self) -> int: ...
    def advance(self, commands: Sequence[Record], decided: Sequence[Record], /) -> list[Record]: ...
    def finish(self, commands: Sequence[Record], decided: Sequence[Record], /) -> list[Record]: ...
    def label_reports(self) -> list[LabelReport]: ...


class Stages(Struct, frozen=True):
    """The stages of a run.

    Attributes
    ----------
    upstream
        Stage 1 of every partition.
    downstream
        Makes stages 2 to 4 from the state of each stage, by its name.
    """

    upstream: Sequence[UpstreamStage]
    downstream: Callable[[Callable[[str], State]], DownstreamStages]


class _Checkpoint(Struct, kw_only=True):
    """Progress of the run, committed with the state of the stages.

    Attributes
    ----------
    phase
        As in `Progress`.
    positions
        How far each input file was read.
    ticks, offsets
        As in `Merge`.
    followed
        Effect records and alert commands applied, with `follow`.
    lengths
        Bytes of each output file.
    end_ms
        Event time at which everything is final; 0 while reading.
    first_ms, last_ms
        Event times of the first and the latest valid row, 0 before one.
    rejected, written, order
        As in `ReplaySummary`.
    uncounted
        As in `ReplaySummary`, by topic and reason.
    """

    phase: str = "reading"
    positions: dict[str, Position] = {}
    ticks: list[int] = []
    offsets: dict[str, list[int]] = {}
    followed: int = 0
    lengths: dict[str, int] = {}
    end_ms: int = 0
    first_ms: int = 0
    last_ms: int = 0
    rejected: dict[str, dict[str, int]] = {}
    written: dict[str, int] = {}
    order: dict[str, RowOrder] = {}
    uncounted: dict[str, dict[str, Uncounted]] = {}


def replay(
    source: Path,
    out: Path,
    config: Config,
    *,
    partitions: int = 8,
    batch: int = 10_000,
    open_end: bool = False,
    follow: bool = False,
    keep_order: bool = False,
    options: Options | None = None,
    progress: Callable[[Progress], None] | None = None,
    mapped: Callable[[Sequence[ColumnUse]], None] | None = None,
    clock: Callable[[], int] | None = None,
    stages: Stages | None = None,
    reached: Callable[[str], None] | None = None,
    ready: Callable[[Mapping[str, Path], Mapping[str, RowOrder], int], None] | None = None,
) -> ReplaySummary:
    """Run a recorded log through the pipeline, or resume a stopped run.

    Parameters
    ----------
    source
        Folder of a recorded log, or a table file, which is first converted to a log inside `out`.
    out
        Output folder: new, empty, or of the same run.
    config
        The configuration.
    partitions
        Partitions of stage 1.
    batch
        Lines per step; affects speed and memory, not the results.
    open_end
        Stop at the last record instead of advancing time until every window is final; later
        commands are not executed.
    follow
        Apply the recorded registry events instead of executing the commands.
    keep_order
        Take the order of plain files as the order of arrival, whatever their event times are. Else
        a file whose rows would be late because of it is read in order of event time
        (`recorded/row_order.py`).
    options
        What the caller says about the columns, if `source` is a table.
    progress
        Called after every commit.
    mapped
        Called before the rows of a table are converted, with what became of each column.
    clock
        Time in ms since the epoch: read at the first start, and for log lines.
    stages
        Stages in place of the pipeline's, for tests.
    reached
        Called at "appended" (outputs appended, not committed) and "committed" of every commit, with
        every progress of "checking" and "sorting" a file, and at "sorted", so that tests can stop a
        run there.
    ready
        Called before the first row of a new run is read: with the files of the log by topic, the
        order of those whose order was looked at, and the event time in ms after which rows are
        rejected.

    Raises
    ------
    RunRefused
        If `out` is in use or belongs to another run.
    LogError
        If the log cannot be read.
    StateError
        If the state of the run cannot be read.
    """
    if not 1 <= partitions <= MAX_PARTITIONS or batch < 1:
        raise ValueError(
            f"partitions must be in 1..{MAX_PARTITIONS} and batch at least 1, "
            f"got {partitions} and {batch}"
        )
    clock = clock or _wall_clock
    options = options or Options()
    from_table = is_table(source)
    if not from_table and (options.mapping or options.features or options.drop):
        raise LogError(
            f"{source} is no table; only columns of a table are mapped, taken as features or "
            "left out"
        )
    # Checked before the output folder is created: a wrong input leaves no folder behind.
    sources = [source] if from_table else list(input_files(source, follow=follow).values())
    with locked(out):
        identity = claim(
            out,
            Identity(
                format=FORMAT,
                driftline=program_version(),
                started_at_ms=clock(),
                inputs={path.name: identify(path) for path in sources},
                config=config.fingerprint(),
                settings=recorded_settings(config),
                partitions=partitions,
                open_end=open_end,
                follow=follow,
                mapping=dict(options.mapping),
                features=list(options.features),
                drop=list(options.drop),
                keep_order=keep_order,
            ),
        )
        if from_table:
            report = (
                partial(_report_file, progress, "converting", source.stat().st_size)
                if progress
                else None
            )
            try:
                convert_table(
                    source,
                    out / TABLE_LOG_FOLDER,
                    options=msgspec.structs.replace(options, segments=config.segments),
                    missing_labels=config.missing_labels,
                    progress=report,
                    mapped=mapped,
                )
            except LogError:
                # Nothing has been computed, so a call with a corrected mapping or table may use
                # the folder.
                release(out)
                raise
        files = input_files(out / TABLE_LOG_FOLDER if from_table else source, follow=follow)
        if follow:
            config = at_the_beginning(config, files[REGISTRY_EFFECTS].parent)
        stages = stages or _pipeline(config, partitions, follow=follow)
        with rarely_collecting(), ExitStack() as opened:
            run = _Run(
                files=files,
                out=out,
                config=config,
                identity=identity,
                stages=stages,
                batch=batch,
                progress=progress,
                clock=clock,
                reached=reached,
                ready=ready,
                opened=opened,
            )
            return run.finish()


class _Run:
    """One call of `replay`: the open files, the tasks, and the checkpoint of the next commit."""

    def __init__(
        self,
        *,
        files: dict[str, Path],
        out: Path,
        config: Config,
        identity: Identity,
        stages: Stages,
        batch: int,
        progress: Callable[[Progress], None] | None,
        clock: Callable[[], int],
        reached: Callable[[str], None] | None,
        ready: Callable[[Mapping[str, Path], Mapping[str, RowOrder], int], None] | None,
        opened: ExitStack,
    ) -> None:
        state = RocksState(out / STATE_FOLDER, tasks=identity.partitions + len(PLACES) - 1)
        opened.callback(state.close)
        committed = state.mark(_CHECKPOINT)
        self._checkpoint = (
            msgspec.msgpack.decode(committed, type=_Checkpoint) if committed else _Checkpoint()
        )
        self._resumed = committed is not None
        self._out = out
        self._source = next(iter(files.values())).parent
        self._config = config
        self._identity = identity
        self._state = state
        self._batch = batch
        self._progress = progress
        self._reached = reached or (lambda point: None)
        latest_ms = identity.started_at_ms + config.max_ahead_ms
        is_done = self._checkpoint.phase == "done"
        given = files
        if not is_done and not identity.keep_order:
            files = self._with_sorted(given, latest_ms)
        if ready is not None and not self._resumed:
            ready(given, self._checkpoint.order, latest_ms)
        self._total_bytes = sum(path.stat().st_size for path in files.values())
        self._outputs = OutputFiles(out, self._checkpoint.lengths, others=(NOTIFICATIONS,))
        opened.callback(self._outputs.close)
        topics = [*_RESULTS, OUTCOMES] if config.outcomes else _RESULTS
        self._outputs.create(topics)
        self._uncounted_log = UncountedLog(clock)
        self._uncounted = UncountedTotals(self._checkpoint.uncounted)
        self._dead_letters = DeadLetters(
            self._outputs.write, self._checkpoint.rejected, self._note_uncounted
        )
        logs, columns = {}, columns_by_topic(lambda model: config.for_model(model).positive_label)
        decode_by_topic = decoders(latest_ms, config.missing_labels)
        self._ticks: RecordedTicks | None = None
        if TICKS in files and any(is_exported(files[topic]) for topic in (TICKS, *NEEDED)):
            self._ticks = RecordedTicks(
                files[TICKS], decode_by_topic.pop(TICKS), identity.partitions
            )
        for topic, decode in decode_by_topic.items():
            # Nothing is read any more when the run is done, and a sorted file is gone then.
            if topic in files and not (is_done and self._is_sorted(topic)):
                logs[topic] = TopicLog(
                    files[topic],
                    decode,
                    columns=columns.get(topic),
                    position=self._checkpoint.positions.get(topic),
                    is_sorted=self._is_sorted(topic),
                )
                opened.callback(logs[topic].close)
        self._merge = Merge(
            logs,
            partitions=identity.partitions,
            pane_ms=config.pane_ms,
            ticks=self._checkpoint.ticks,
            recorded=self._ticks,
            offsets=self._checkpoint.offsets,
        )
        side_inputs = RecordedCommands(
            files,
            self._checkpoint.positions,
            latest_ms=latest_ms,
            write_rejected=self._dead_letters.write,
        )
        opened.callback(side_inputs.close)
        self._recorded: RecordedCommands | RecordedDecisions = side_inputs
        if identity.follow:
            self._recorded = RecordedDecisions(
                files[REGISTRY_EVENTS].parent, side_inputs, done=self._checkpoint.followed
            )
        self._upstream = [
            (stage, state.task(PLACES[Join.name], partition))
            for partition, stage in enumerate(stages.upstream)
        ]
        self._downstream = stages.downstream(lambda name: state.task(PLACES[name], 0))

    def finish(self) -> ReplaySummary:
        """Continue from the last commit until the run is done."""
        started, started_cpu = time.monotonic(), time.process_time()
        already_finished = self._checkpoint.phase == "done"
        if not already_finished:
            if self._ticks is not None and not self._resumed:
                for portion in self._ticks.rejects:
                    self._dead_letters.write(TICKS, portion)
                # Before any row counts, so that no window is announced without its mark.
                self._downstream.merge(self._ticks.losses)
            self._close_panes()
        if self._checkpoint.phase == "reading":
            self._read()
        if self._checkpoint.phase == "closing":
            self._advance_to_the_end()
        shutil.rmtree(self._out / SORTED_FOLDER, ignore_errors=True)
        return self._summary(
            already_finished=already_finished,
            elapsed_s=time.monotonic() - started,
            cpu_s=time.process_time() - started_cpu,
        )

    def _with_sorted(self, files: dict[str, Path], latest_ms: int) -> dict[str, Path]:
        """The files to read: those of the log, or sorted ones in their place.

        An exported file has the order of its offsets, and ticks apply at their place in the files.
        """
        if TICKS in files:
            return files
        read, order = dict(files), self._checkpoint.order
        for topic in NEEDED:
            if is_exported(files[topic]):
                continue
            if topic not in order:
                order[topic] = look(
                    files[topic],
                    topic,
                    grace_ms=graces_ms(self._config)[topic],
                    latest_ms=latest_ms,
                    progress=self._reporter("checking", files[topic]),
                )
            if order[topic].sorted:
                read[topic] = self._out / SORTED_FOLDER / f"{topic}.jsonl"
                if not read[topic].exists():
                    sort_file(
                        files[topic],
                        topic,
                        read[topic],
                        latest_ms=latest_ms,
                        progress=self._reporter("sorting", files[topic]),
                    )
                self._reached("sorted")
        return read

    def _reporter(self, phase: str, path: Path) -> Callable[[int, int], None]:
        """What reports the progress of reading a file before the run."""
        total_bytes = path.stat().st_size

        def report(lines: int, read_bytes: int) -> None:
            if self._progress is not None:
                _report_file(self._progress, phase, total_bytes, lines, read_bytes)
            self._reached(phase)

        return report

    def _is_sorted(self, topic: str) -> bool:
        return topic in self._checkpoint.order and self._checkpoint.order[topic].sorted

    def _read(self) -> None:
        while (step := self._merge.step(self._batch)) is not None:
            self._checkpoint.first_ms = self._checkpoint.first_ms or _first_ms(step)
            self._checkpoint.last_ms = max(self._checkpoint.last_ms, step.event_ms)
            self._upstream_step(step.batches, step)
            self._close_panes()
        if self._ticks is not None:
            self._apply_last_ticks(self._ticks)
        ended = self._ticks is not None and self._ticks.ended
        if self._identity.open_end or ended:
            self._finish_registry(time_is_over=ended)
            return
        self._checkpoint.phase = "closing"
        self._checkpoint.end_ms = end_of_time(self._config, self._checkpoint.last_ms)
        self._commit()

    def _apply_last_ticks(self, ticks: RecordedTicks) -> None:
        """Advance every partition as far as the live run did, possibly to the end of time."""
        self._checkpoint.last_ms = max(
            self._checkpoint.last_ms, 0 if ticks.ended else ticks.last_ms
        )
        at_rest = False
        while not at_rest:
            self._upstream_step(self._merge.last_batches(ticks), None)
            at_rest = not any(state.changed for _, state in self._upstream)
            self._close_panes()

    def _advance_to_the_end(self) -> None:
        """Advance event time until every window is final and every entry has expired.

        Stage 1 expires a bounded number of entries per call and holds its watermarks back until
        they are counted, so it is called until nothing changes.
        """
        at_rest = not self._checkpoint.last_ms
        while not at_rest:
            batches = [
                Batch(
                    partition=partition,
                    tick_ms=self._checkpoint.end_ms,
                    ended_ms=self._checkpoint.last_ms,
                    predictions_ended_ms=0,
                )
                for partition in range(len(self._upstream))
            ]
            self._upstream_step(batches, None)
            at_rest = not any(state.changed for _, state in self._upstream)
            self._close_panes()
        self._finish_registry(time_is_over=True)

    def _finish_registry(self, *, time_is_over: bool) -> None:
        """Execute the remaining commands: all of them at the end of time, at an open end those
        whose time has come. Then mark the run as done.
        """
        if not time_is_over:
            self._emit(self._downstream.finish(*self._recorded.before(self._downstream.next_ms())))
        commands, decided = self._recorded.before(None)
        self._emit(self._downstream.finish(commands if time_is_over else [], decided))
        self._checkpoint.phase = "done"
        self._commit()

    def _upstream_step(self, batches: Sequence[Batch], step: Step | None) -> None:
        """Run stage 1 on every partition and pass its partials to stage 2."""
        partials: list[Record] = []
        outcomes: list[Record] = []
        conflicts: list[tuple[int, Reject]] = []
        for (upstream, state), batch in zip(self._upstream, batches, strict=True):
            result = upstream.process(batch, state)
            partials += result.partials
            outcomes += result.outcomes
            conflicts += [(batch.partition, reject) for reject in result.conflicts]
            if result.uncounted_rows:
                self._note_uncounted(
                    batch.partition, [of_row(batch.partition, row) for row in result.uncounted_rows]
                )
        self._emit(sorted(outcomes, key=lambda record: record.rank))
        for topic, portion in (step.portions if step else {}).items():
            self._dead_letters.write(topic, portion, conflicts if topic == PREDICTIONS else ())
        self._downstream.merge([record.value for record in partials])

    def _note_uncounted(self, partition: int, uncounted: list[Uncounted]) -> None:
        self._uncounted_log.write(partition, uncounted)
        self._uncounted.add(uncounted)

    def _close_panes(self) -> None:
        """Close the complete panes, and commit."""
        panes = 0
        while (due_ms := self._downstream.due_after_quiet(self._recorded.next_ms)) is not None:
            self._emit(self._downstream.advance(*self._recorded.before(due_ms)))
            panes += 1
            if panes % PANES_PER_COMMIT == 0:
                self._commit()
        self._commit()

    def _commit(self) -> None:
        """Commit everything since the last commit: first the files, then one write batch."""
        checkpoint = self._checkpoint
        checkpoint.lengths = self._outputs.flush()
        checkpoint.positions = self._merge.positions
        checkpoint.ticks, checkpoint.offsets = self._merge.ticks, self._merge.offsets
        checkpoint.positions |= self._recorded.positions
        if isinstance(self._recorded, RecordedDecisions):
            checkpoint.followed = self._recorded.done
        self._reached("appended")
        commit = self._state.finish if checkpoint.phase == "done" else self._state.commit
        commit({_CHECKPOINT: msgspec.msgpack.encode(checkpoint)})
        self._reached("committed")
        if self._progress is not None:
            self._progress(
                Progress(
                    phase=checkpoint.phase,
                    lines=sum(position.line for position in checkpoint.positions.values()),
                    bytes=sum(position.byte for position in checkpoint.positions.values()),
                    total_bytes=self._total_bytes,
                    event_ms=self._event_ms(),
                    end_ms=checkpoint.end_ms or None,
                )
            )

    def _event_ms(self) -> int:
        """Event time that the run has reached."""
        checkpoint = self._checkpoint
        if not checkpoint.end_ms:
            return checkpoint.last_ms
        return max(checkpoint.last_ms, min(self._downstream.next_ms(), checkpoint.end_ms))

    def _emit(self, records: Sequence[Record]) -> None:
        by_topic: dict[str, list[Any]] = {}
        for record in records:
            by_topic.setdefault(record.topic, []).append(record.value)
        # Commands between stages have no file of their own: the events that follow record them.
        for topic in SIDE_INPUTS:
            by_topic.pop(topic, None)
        # One task of stage 2 has all models here, so its partition is 0.
        self._note_uncounted(0, list(map(of_unwatched, by_topic.pop(UNWATCHED_FEATURES, ()))))
        for topic, values in by_topic.items():
            self._outputs.write(topic, values)
            self._checkpoint.written[topic] = self._checkpoint.written.get(topic, 0) + len(values)

    def _summary(self, *, already_finished: bool, elapsed_s: float, cpu_s: float) -> ReplaySummary:
        checkpoint = self._checkpoint
        lines = {
            topic: position.line
            for topic, position in checkpoint.positions.items()
            if position.line or topic in NEEDED
        }
        return ReplaySummary(
            out=str(self._out),
            lines=lines,
            rejected=checkpoint.rejected,
            written=checkpoint.written,
            uncounted=self._uncounted.listed(),
            columns=[use for report in reports_of(self._source) for use in report.columns],
            uncounted_share=lost_shares(self._uncounted.listed(), lines),
            order=checkpoint.order,
            first_event=format_time(checkpoint.first_ms) if checkpoint.first_ms else None,
            last_event=format_time(checkpoint.last_ms) if checkpoint.last_ms else None,
            resumed=self._resumed and not already_finished,
            already_finished=already_finished,
            notes=[
                *_notes(
                    self._out, self._source, checkpoint, self._ticks.losses if self._ticks else ()
                ),
                *self._unfollowed(),
                *label_notes(self._downstream.label_reports()),
            ],
            elapsed_s=elapsed_s,
            cpu_s=cpu_s,
        )

    def _unfollowed(self) -> Iterator[str]:
        """A sentence about registry effects of the log, if this run follows none."""
        if not self._identity.follow:
            note = unfollowed_note(self._source / f"{REGISTRY_EFFECTS}.jsonl")
            if note is not None:
                yield note


def _pipeline(config: Config, partitions: int, *, follow: bool) -> Stages:
    """The stages of `driftline.streams.pipeline`."""
    return Stages(
        [pipeline.Upstream(config, partition, partitions) for partition in range(partitions)],
        lambda states: pipeline.Downstream(config, states, follow=follow),
    )


def _first_ms(step: Step) -> int:
    """Smallest event time of the first valid row of each topic in a step, 0 without one."""
    first = (
        int(step.portions[topic].rows.timestamp_ms[0])
        for topic in NEEDED
        if len(step.portions[topic].key)
    )
    return min(first, default=0)


def _report_file(
    progress: Callable[[Progress], None],
    phase: str,
    total_bytes: int,
    lines: int,
    read_bytes: int = 0,
) -> None:
    """Report a file that is read before the run."""
    progress(
        Progress(
            phase=phase,
            lines=lines,
            bytes=read_bytes,
            total_bytes=total_bytes,
            event_ms=0,
            end_ms=None,
        )
    )


def _notes(
    out: Path, source: Path, checkpoint: _Checkpoint, losses: Sequence[LostSpan]
) -> list[str]:
    """Sentences about facts that the results do not show."""
    notes = []
    if source == out / TABLE_LOG_FOLDER:
        sentence = "the rows of the table were sorted by event time; the log made from them is"
        notes.append(with_rules(f"{sentence} {source}", "Tables"))
    for report in reports_of(source):
        notes += report.notes
    notes += [order.sentence(topic) for topic, order in checkpoint.order.items() if order.sorted]
    if losses:
        topics = " and ".join(sorted({loss.topic for loss in losses}))
        first_ms, last_ms = (
            min(loss.from_ms for loss in losses),
            max(loss.until_ms for loss in losses),
        )
        notes.append(
            f"the recorded run lost rows of {topics} before it read them, between "
            f"{format_time(first_ms)} and {format_time(last_ms)}; records of the windows that may "
            "lack them name them in the field losses"
        )
    truths = checkpoint.positions.get(GROUND_TRUTH, Position())
    if not truths.key_ms and checkpoint.last_ms:
        what = "all ground truth was rejected" if truths.line else "the log has no ground truth"
        notes.append(
            f"{what}: figures that need labels are empty, and every prediction expired without a "
            "truth"
        )
    return notes


def _wall_clock() -> int:
    return time.time_ns() // 1_000_000
