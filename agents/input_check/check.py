"""Look at a recorded log before its first run: a replay in a temporary folder, without figures.

What it says about rows, pairs and labels is what the replay of the same log with the same settings
says afterwards, since the same code decides.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from driftline.agents.inprocess.replay import replay
from driftline.agents.inprocess.run_summary import Progress, ReplaySummary
from driftline.agents.input_check import findings
from driftline.agents.input_check.described import median_per_day, model_read, version_read
from driftline.agents.input_check.watched_stages import WatchedStages
from driftline.agents.recorded.tables.column_mapping import ColumnUse, Options
from driftline.schemas.check_result import CheckResult
from driftline.schemas.input_check import (
    ColumnRead,
    InputCheck,
    ModelRead,
    NotCounted,
    TopicRead,
    VersionRead,
)
from driftline.schemas.settings import Config
from driftline.schemas.times import format_time, parse_time
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS


def check_log(
    source: Path,
    config: Config,
    *,
    partitions: int,
    keep_order: bool = False,
    is_whole: bool = True,
    options: Options | None = None,
    progress: Callable[[Progress], None] | None = None,
    mapped: Callable[[Sequence[ColumnUse]], None] | None = None,
    clock: Callable[[], int] | None = None,
) -> InputCheck:
    """What a replay of a log will understand.

    Parameters
    ----------
    source, config, partitions, keep_order, options, progress, mapped, clock
        As those of the replay.
    is_whole
        Whether the log has all rows of its time; else predictions of its truths may be missing.

    Raises
    ------
    LogError
        If the log cannot be read.
    """
    watched = WatchedStages(config, partitions)
    with tempfile.TemporaryDirectory(prefix="driftline-check-") as folder:
        out = Path(folder) / "out"
        summary = replay(
            source,
            out,
            config,
            partitions=partitions,
            keep_order=keep_order,
            options=options,
            progress=progress,
            mapped=mapped,
            clock=clock,
            stages=watched.stages,
        )
    tallies = watched.tallies
    topics = [_topic(topic, summary, watched) for topic in (PREDICTIONS, GROUND_TRUTH)]
    reports = {report.model: report for report in watched.label_reports()}
    # A model may have no label that counts, or be known by a command only.
    names = sorted({*tallies.models, *reports, *(model for model, _ in tallies.versions)})
    models = [model_read(name, tallies.models[name], reports.get(name)) for name in names]
    ended_ms = parse_time(summary.last_event) if summary.last_event else 0
    versions = [
        version_read(
            name, tallies.versions[name], config.for_model(name[0]), config.pane_ms, ended_ms
        )
        for name in sorted(tallies.versions)
    ]
    return InputCheck(
        topics=topics,
        columns=[
            ColumnRead(
                table=use.table, column=use.column, field=use.field, kind=use.kind, why=use.why
            )
            for use in summary.columns
        ],
        models=models,
        versions=versions,
        rejected=summary.rejected,
        not_counted=[
            NotCounted(
                topic=rows.topic,
                reason=rows.reason,
                rows=rows.rows,
                example=rows.example,
                remedy=rows.remedy,
            )
            for rows in summary.uncounted
        ],
        findings=list(_findings(summary, folder, topics, models, versions, is_whole)),
    )


def _topic(topic: str, summary: ReplaySummary, watched: WatchedStages) -> TopicRead:
    lines, order = summary.lines[topic], summary.order.get(topic)
    times = watched.tallies.topics[topic]
    return TopicRead(
        topic=topic,
        lines=lines,
        accepted=lines - sum(summary.rejected.get(topic, {}).values()),
        first_event=None if times.first_ms is None else format_time(times.first_ms),
        last_event=None if times.first_ms is None else format_time(times.last_ms),
        days=len(times.days),
        per_day=median_per_day(times),
        behind=None if order is None else order.behind,
        most_behind_ms=None if order is None else order.most_ms,
        sorted=order is not None and order.sorted,
    )


def _findings(
    summary: ReplaySummary,
    folder: str,
    topics: Sequence[TopicRead],
    models: Sequence[ModelRead],
    versions: Sequence[VersionRead],
    is_whole: bool,
) -> Iterator[CheckResult]:
    yield from findings.of_topics(topics)
    for note in summary.notes:
        if folder not in note:  # the folder is gone
            yield CheckResult(check="input", level="note", message=note)
    yield from findings.of_rows(summary.uncounted, topics, is_whole=is_whole)
    for model in models:
        yield from findings.of_model(model)
    for version in versions:
        yield from findings.of_version(version, topics, is_whole=is_whole)
