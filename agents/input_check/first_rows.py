"""What the first rows of a log show that is to be set or mended, in a few sentences before a run.

Bounded: at most FIRST_ROWS rows of each file, whatever its size. `check.py` looks at all rows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from driftline.agents.input_rules import with_rules
from driftline.agents.recorded.log_files import NEEDED, decoders
from driftline.agents.recorded.merge import columns_by_topic
from driftline.agents.recorded.row_order import RowOrder
from driftline.agents.recorded.topic_log import Portion, TopicLog
from driftline.agents.uncounted_rows import MAX_LOST_SHARE, of_rejects
from driftline.schemas.settings import Config
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS
from driftline.streams.columns import GroundTruthColumns, PredictionColumns
from driftline.streams.measure.counts.label_evidence import higher_scored
from driftline.streams.measure.counts.labels import ConfiguredLabels, LabelSet
from driftline.streams.measure.counts.model import ScoreRange
from driftline.streams.score_bins import bins_of, units_of

FIRST_ROWS: Final = 2_000
LEAST_TRUTHS: Final = 20
"""Truths after which ids that do not meet are told."""


def notes_of_first_rows(
    files: Mapping[str, Path], order: Mapping[str, RowOrder], config: Config, latest_ms: int
) -> list[str]:
    """Sentences about what is to be set or mended; empty if there is nothing.

    Parameters
    ----------
    files
        The files of the log by topic.
    order
        Order of the rows of a plain file, where it was looked at.
    latest_ms
        Rows with a later time will be rejected.

    Raises
    ------
    LogError
        If a file cannot be read.
    """
    notes = [each.sentence(topic) for topic, each in order.items() if each.sorted]
    first = {topic: _first_rows(files[topic], topic, config, latest_ms) for topic in NEEDED}
    for topic, portion in first.items():
        notes += _rejected(topic, portion)
    predictions, truths = first[PREDICTIONS].rows, first[GROUND_TRUTH].rows
    if not isinstance(predictions, PredictionColumns) or not len(predictions):
        return notes
    if isinstance(truths, GroundTruthColumns) and len(truths):
        met = _met(predictions, truths)
        # Otherwise the first rows of the file are not the earliest ones.
        if not any(each.sorted for each in order.values()):
            notes += _apart(predictions, truths, met)
        notes += _labels(predictions, truths, met, config)
    return notes


def _first_rows(path: Path, topic: str, config: Config, latest_ms: int) -> Portion:
    columns = columns_by_topic(lambda model: config.for_model(model).positive_label)
    decode = decoders(latest_ms, config.missing_labels)[topic]
    with closing(TopicLog(path, decode, columns=columns[topic])) as log:
        log.fill(FIRST_ROWS)
        return log.take(min(FIRST_ROWS, log.buffered))


def _rejected(topic: str, portion: Portion) -> Iterator[str]:
    """Rejected rows, if they are more than MAX_LOST_SHARE."""
    rows = len(portion.line) + len(portion.rejects)
    if len(portion.rejects) <= MAX_LOST_SHARE * rows:
        return
    for rejected in of_rejects(topic, portion.rejects):
        yield with_rules(
            f"of the first {rows:,} rows of {topic} {rejected.rows:,} are rejected as "
            f"{rejected.reason}, for example {rejected.example}",
            rejected.section or "Values of an event",
        )


def _met(predictions: PredictionColumns, truths: GroundTruthColumns) -> dict[int, int]:
    """Index of a prediction by index of its truth, of those that have the same id."""
    place = {id_: at for at, id_ in enumerate(predictions.ids)}
    return {at: place[id_] for at, id_ in enumerate(truths.ids) if id_ in place}


def _apart(
    predictions: PredictionColumns, truths: GroundTruthColumns, met: Mapping[int, int]
) -> Iterator[str]:
    """Whether no truth that is known before the last of these predictions has one."""
    early = int(np.count_nonzero(truths.timestamp_ms <= predictions.timestamp_ms.max()))
    if early >= LEAST_TRUTHS and not met:
        yield with_rules(
            f"of the first {early:,} truths none has a prediction among the first "
            f"{len(predictions):,}, though they were known by then; their ids are such as "
            f'"{truths.ids[0].decode()}", those of predictions such as '
            f'"{predictions.ids[0].decode()}"',
            "Ids and names",
        )


def _labels(
    predictions: PredictionColumns,
    truths: GroundTruthColumns,
    met: Mapping[int, int],
    config: Config,
) -> Iterator[str]:
    """What is not known about the labels of each model, by the rules of stage 2."""
    pairs: dict[str, list[tuple[str, str | None]]] = defaultdict(list)
    for truth, prediction in met.items():
        code = int(truths.label[truth])
        if code >= 0:
            model = predictions.names[int(predictions.name[prediction])][0]
            own = int(predictions.label[prediction])
            label = predictions.labels[own] if own >= 0 else None
            if label is not None or not np.isnan(predictions.score[prediction]):
                pairs[model].append((truths.labels[code], label))
    for model, of_model in sorted(pairs.items()):
        settings = config.for_model(model)
        configured = ConfiguredLabels(settings.labels, settings.positive_label)
        actual = Counter(label for label, _ in of_model)
        predicted = Counter(label for _, label in of_model if label is not None)
        labels = LabelSet().with_more(
            actual,
            predicted,
            derived=any(label is None for _, label in of_model),
            many=False,
            configured=configured,
        )
        scored = higher_scored(_score_ranges(predictions, model))
        labels = msgspec.structs.replace(labels, scored=scored)
        report = labels.settle(actual, predicted, configured).report(model, configured)
        for warning in report.warnings:
            yield with_rules(f"in the first rows, {warning}", "Labels")


def _score_ranges(predictions: PredictionColumns, model: str) -> dict[str, ScoreRange]:
    """Scores by predicted label."""
    ranges = {}
    of_model = np.array([name == model for name, _ in predictions.names])[predictions.name]
    has_both = of_model & (predictions.label >= 0) & ~np.isnan(predictions.score)
    for code in np.unique(predictions.label[has_both]).tolist():
        scores = predictions.score[has_both & (predictions.label == code)]
        bins = bins_of(units_of(scores))
        ranges[predictions.labels[code]] = ScoreRange(len(scores), int(bins.min()), int(bins.max()))
    return ranges
