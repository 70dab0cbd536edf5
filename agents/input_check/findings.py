"""What a reader of figures should know about a log, and what is to be set or mended before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from driftline.agents.doctor.data_findings import (
    known_labels,
    labelled_predictions,
    stray_labels,
)
from driftline.agents.input_rules import see, with_rules
from driftline.agents.recorded.row_order import duration
from driftline.agents.uncounted_rows import MAX_LOST_SHARE, Uncounted
from driftline.schemas.check_result import CheckResult
from driftline.schemas.input_check import FeatureRead, ModelRead, TopicRead, VersionRead
from driftline.schemas.times import DAY_MS, parse_time
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS
from driftline.streams.label_vocabulary import quoted

MOST_FEATURES: Final = 10
"""Features of a version that are named one by one."""
NEAR_HORIZON: Final = 0.9
NARROW_SCORES: Final = 0.02
UNMATCHED: Final = "unmatched_truth"
MISDATED: Final = ("misdated_prediction", "misdated_truth")


def of_topics(topics: Sequence[TopicRead]) -> Iterator[CheckResult]:
    """Whether there are predictions."""
    for topic in topics:
        if topic.topic == PREDICTIONS and not topic.accepted:
            yield CheckResult(
                check="data",
                level="problem",
                message="no prediction was accepted",
                remedy=with_rules(
                    "driftline schema validate explains each line", "Values of an event"
                ),
            )


def of_rows(
    uncounted: Sequence[Uncounted], topics: Sequence[TopicRead], *, is_whole: bool
) -> Iterator[CheckResult]:
    """Rows that do not count, or not everywhere: a problem if they are rejected or misdated, or if
    they are lost and more than MAX_LOST_SHARE of their topic.

    Parameters
    ----------
    is_whole
        As in `check_log`: else truths without a prediction are no problem.
    """
    lines = {topic.topic: topic.lines for topic in topics}
    for rows in uncounted:
        of_topic = lines.get(rows.topic, 0)
        is_problem = not rows.is_usual and (
            rows.is_rejected
            or rows.reason in MISDATED
            or (rows.rows > MAX_LOST_SHARE * of_topic and (is_whole or rows.reason != UNMATCHED))
        )
        what = "values" if rows.reason == "unwatched_feature" else f"of {of_topic:,} rows"
        yield CheckResult(
            check="rows",
            level="problem" if is_problem else "note",
            message=f"{rows.topic}: {rows.rows:,} {what} {_verb(rows)} {rows.reason}; the first: "
            f"{rows.example}",
            remedy=rows.remedy,
        )


def _verb(rows: Uncounted) -> str:
    return "will be rejected as" if rows.is_rejected else "will be listed as"


def of_model(model: ModelRead) -> Iterator[CheckResult]:
    """How the labels of a model are read."""
    yield from known_labels(
        model.model_name,
        [each.name for each in model.classes],
        model.positive_label,
        model.positive_basis,
        model.problem,
    )
    if model.problem is None and model.doubt is not None:
        yield CheckResult(
            check="labels",
            level="note" if model.positive_label is None else "problem",
            message=f"{model.model_name}: {model.doubt}",
            remedy=see("Labels"),
        )
    if model.strays:
        rows = {label.label: max(label.predictions, label.truths) for label in model.labels}
        yield stray_labels(
            model.model_name,
            ", ".join(f"{quoted(label)} {rows.get(label, 0):,}" for label in model.strays),
        )


def of_version(
    version: VersionRead, topics: Sequence[TopicRead], *, is_whole: bool
) -> Iterator[CheckResult]:
    """Truths, delays, scores and features of a model version; `is_whole` as in `of_rows`."""
    name = f"{version.model_name} {version.model_version}"
    if is_whole and any(topic.topic == GROUND_TRUTH and topic.accepted for topic in topics):
        yield from labelled_predictions(name, version.predictions, version.labelled)
    yield from _delays(name, version)
    if (
        version.score_low is not None
        and version.score_high is not None
        and version.score_high - version.score_low < NARROW_SCORES
    ):
        yield CheckResult(
            check="scores",
            level="note",
            message=f"{name}: all scores lie between {version.score_low:.6g} and "
            f"{version.score_high:.6g}",
            remedy=with_rules(
                "none if the event is that rare; else compare them with what the model gives",
                "Scores",
            ),
        )
    noted = list(_features(name, version))
    yield from noted[:MOST_FEATURES]
    if len(noted) > MOST_FEATURES:
        yield CheckResult(
            check="features",
            level="note",
            message=f"{name}: {len(noted) - MOST_FEATURES} more features like these",
            remedy="--json lists all features",
        )


def _delays(name: str, version: VersionRead) -> Iterator[CheckResult]:
    delays = version.delays
    if delays is None:
        return
    if delays.max_ms == 0:
        yield CheckResult(
            check="delays",
            level="note",
            message=f"{name}: every truth counts as known at the time of its prediction",
            remedy=with_rules(
                "give truths the time at which they became known (in a table: label_timestamp), "
                "else figures by maturity say nothing",
                "Times",
            ),
        )
    elif delays.no_delay > MAX_LOST_SHARE:
        yield CheckResult(
            check="delays",
            level="note",
            message=f"{name}: {delays.no_delay:.0%} of the truths are dated at or before their "
            "prediction, and count as known at its time",
            remedy=with_rules("compare the clocks and time zones of both topics", "Times"),
        )
    if delays.p99_ms > NEAR_HORIZON * delays.horizon_ms:
        yield CheckResult(
            check="delays",
            level="note",
            message=f"{name}: truths come up to {duration(delays.max_ms)} after their prediction, "
            f"and those after the label horizon of {duration(delays.horizon_ms)} do not count",
            remedy=with_rules(
                "lengthen label_horizon if truths come later", "Order and loss of a recorded log"
            ),
        )


def _features(name: str, version: VersionRead) -> Iterator[CheckResult]:
    first_ms, last_ms = parse_time(version.first_event), parse_time(version.last_event)
    gap_ms = max(DAY_MS, (last_ms - first_ms) // 10)
    for feature in version.features:
        if feature.kind == "numbers and texts":
            yield CheckResult(
                check="features",
                level="note",
                message=f"{name}: feature {quoted(feature.name)} has numbers and texts",
                remedy=with_rules(
                    "send one kind; drift looks at each kind by itself", "Features that change"
                ),
            )
        if (missing := _missing_span(feature, first_ms, last_ms, gap_ms)) is not None:
            yield CheckResult(
                check="features",
                level="note",
                message=f"{name}: feature {quoted(feature.name)} {missing}",
                remedy=with_rules(
                    "ask its source whether it was meant to begin or to end there",
                    "Features that change",
                ),
            )


def _missing_span(feature: FeatureRead, first_ms: int, last_ms: int, gap_ms: int) -> str | None:
    """Where a feature that once has values has none."""
    if last_ms - parse_time(feature.last_event) > gap_ms:
        return f"has no value after {feature.last_event}"
    if parse_time(feature.first_event) - first_ms > gap_ms:
        return f"has no value before {feature.first_event}"
    return None
