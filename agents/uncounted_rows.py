"""Rows that do not count, or not everywhere: their number by topic and reason, with an example and
what to do, and log lines, at most one a minute for each topic, partition and reason.

Stage 1 finds late, repeated and expired rows (`driftline.streams.join.uncounted_rows`), decoding
finds invalid ones (`driftline.schemas.rejects`), stage 2 features that it does not watch. Both
drivers count and log them here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Literal, get_args

import msgspec

from driftline.agents.input_rules import Section, see, with_rules
from driftline.schemas.rejects import Reject, RowNote
from driftline.schemas.times import MINUTE_MS, format_time
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS
from driftline.streams.join.uncounted_rows import Reason, UncountedRow
from driftline.streams.measure.drift.profiles import ROWS_A_VALUE
from driftline.streams.measure.drift.unwatched_features import UnwatchedFeatures
from driftline.streams.summaries.feature_limits import MOST_SETTLED

log = logging.getLogger(__name__)

INTERVAL_MS: Final = MINUTE_MS
MAX_LOST_SHARE: Final = 0.01
"""Share of the rows of a topic that a replay may lose without saying that it failed."""

JOIN_REASONS: Final[dict[str, tuple[Reason, ...]]] = {
    PREDICTIONS: (
        "late_prediction",
        "dropped_prediction",
        "duplicate_prediction",
        "expired_prediction",
        "misdated_prediction",
    ),
    GROUND_TRUTH: ("late_truth", "duplicate_truth", "unmatched_truth", "misdated_truth"),
}
"""Reasons of stage 1, by topic."""

KeyReason = Literal["null_key", "foreign_key", "foreign_partition"]
KEY_REASONS: Final[tuple[KeyReason, ...]] = get_args(KeyReason)
"""A record of Kafka without a key, with a key that is not the prediction id, or with the right key
on another partition (`record_keys.py`).
"""

USUAL: Final = frozenset(
    {
        "duplicate_prediction",
        "duplicate_truth",
        "expired_prediction",
        "left_out_feature",
        "scores_not_one",
        "unwatched_feature",
        *KEY_REASONS,
    }
)
"""Reasons without a loss: a repeated event counts once, not every prediction gets a truth, and a
prediction counts without a feature that no figure can use or that hardly any other prediction has,
and with scores that do not add up to 1. A record with a wrong key counts; a truth that does not
meet its prediction is lost as `unmatched_truth`.
"""

COUNTER_REASONS: Final[dict[str, tuple[str, Reason]]] = {
    "late_predictions": (PREDICTIONS, "late_prediction"),
    "dropped_predictions": (PREDICTIONS, "dropped_prediction"),
    "duplicate_predictions": (PREDICTIONS, "duplicate_prediction"),
    "expired": (PREDICTIONS, "expired_prediction"),
    "late_truths": (GROUND_TRUTH, "late_truth"),
    "duplicate_truths": (GROUND_TRUTH, "duplicate_truth"),
    "unmatched": (GROUND_TRUTH, "unmatched_truth"),
}
"""Topic and reason of the counters of the arrivals lane that count rows."""

_MISDATED: Final = (
    "the event time is after the limit, which is an hour after the watermark, and the rows around"
    " it are not; it counts in the window of its event time, if the others ever get there"
)
_RULE: Final[dict[str, str]] = {
    "late_prediction": (
        "the event time is before the limit, which is the watermark less the grace;"
        " it counts in the decisions lane, not in traffic"
    ),
    "dropped_prediction": (
        "the event time is before the limit, from which on a duplicate could be recognised;"
        " it is dropped"
    ),
    "duplicate_prediction": "the same prediction came before; it counts once",
    "expired_prediction": (
        "no truth came before the limit, which is the label horizon after it,"
        " and the frontier has passed it; it counts without a label"
    ),
    "late_truth": (
        "its prediction had another truth before, and it is known after the limit, which is the"
        " label horizon or the correction horizon of the first truth; it changes no outcome"
    ),
    "duplicate_truth": "the same truth came before; it counts once",
    "unmatched_truth": (
        "no prediction that it is in time for came before the limit, which is the park time after"
        " it was known, and the frontier has passed it"
    ),
    "misdated_prediction": _MISDATED,
    "misdated_truth": _MISDATED,
    "left_out_feature": (
        "a feature is a list or an object, or infinite; it is left out and the prediction counts"
    ),
    "unwatched_feature": (
        "values of features that hardly any prediction has, or of more features than are kept, are"
        " not watched for drift; the predictions count, and the number is that of the values"
    ),
    "scores_not_one": (
        "the probabilities of its classes do not add up to 1; it counts, the class with the"
        " greatest one is predicted"
    ),
    "null_key": (
        "without a key it lies on any partition, and meets its counterpart only by chance;"
        " it counts"
    ),
    "foreign_key": (
        "its key is not its prediction id, so it meets its counterpart only by chance, or if that"
        " one has the same key; it counts"
    ),
    "foreign_partition": (
        "its key is its prediction id, but neither murmur2 nor CRC32 puts it on this partition, so"
        " it meets its counterpart only by chance, or if that one has the same partitioner; it"
        " counts"
    ),
}

_COMPARE_CLOCKS: Final = (
    "correct the producer: compare its clock, and its order of day and month, with those of others"
)
KEY_REMEDY: Final = (
    "send the prediction id as the key of each record, or set rekey = true under [kafka]"
)
_REMEDY: Final[dict[str, str]] = {
    "null_key": KEY_REMEDY,
    "foreign_key": KEY_REMEDY,
    "foreign_partition": (
        "give the producers of both topics the default partitioner of their client, and make the"
        " topics anew if their number of partitions was changed"
    ),
    "late_prediction": "lengthen prediction_grace if that is usual",
    "dropped_prediction": (
        "send predictions sooner; lengthen label_horizon and correction_horizon if that is usual"
    ),
    "duplicate_prediction": "none: it counts once",
    "expired_prediction": (
        "none where not every prediction gets a truth; else lengthen label_horizon"
    ),
    "late_truth": "lengthen label_horizon or correction_horizon if that is usual",
    "duplicate_truth": "none: it counts once",
    "unmatched_truth": (
        "compare the prediction ids of both topics, and on Kafka the keys; lengthen park if"
        " predictions come later, label_horizon or correction_horizon if truths do"
    ),
    "left_out_feature": (
        "none; to watch parts of it, send each as a feature of its own that is a number or a text"
    ),
    "unwatched_feature": (
        "none if no figure needs them; an id or a date among the names of features belongs into a"
        " value"
    ),
    "scores_not_one": (
        "none if only the most probable classes are sent; else send the softmax, since the Brier"
        " score takes them as probabilities, and the probability of the positive class alone as"
        " score"
    ),
    "misdated_prediction": _COMPARE_CLOCKS,
    "misdated_truth": _COMPARE_CLOCKS,
    "conflict": "make prediction ids unique",
    "lost": "send the records again if their source has them; give the topic a retention that is "
    "longer than the longest stop of the workers",
    "checksum": "read the broker's log and check its disks; send the records again if their source "
    "has them",
    "too_far_ahead": "compare the clock of the producer with that of the workers",
    "tombstone": (
        "none: nothing is deleted by it; retract a truth with retracted = true, and send no"
        " predictions without a value"
    ),
    "empty": "correct the producer: the value of each record is a JSON object",
    "schema_registry": (
        "set the serializer of the producer to JSON or JSON Schema, or give records of another"
        " format a topic of their own"
    ),
    "avro": "send JSON, or give records of another format a topic of their own",
    "compressed": (
        "send the JSON itself, and let the producer compress batches (compression.type), which"
        " needs no other setting here"
    ),
}
_CORRECT: Final = "correct the producer; driftline schema validate explains each row"
_SECTION: Final[dict[str, Section]] = {
    **dict.fromkeys(KEY_REASONS, "Keys on Kafka"),
    **dict.fromkeys(("duplicate_prediction", "duplicate_truth", "conflict"), "Ids and names"),
    "unmatched_truth": "Ids and names",
    **dict.fromkeys(
        (
            "late_prediction",
            "dropped_prediction",
            "late_truth",
            "expired_prediction",
            "misdated_prediction",
            "misdated_truth",
            "too_far_ahead",
        ),
        "Times",
    ),
    "unwatched_feature": "Many features",
    "scores_not_one": "Scores",
    **dict.fromkeys(
        ("tombstone", "empty", "schema_registry", "avro", "compressed", "encoding", "not_json"),
        "Records of other producers",
    ),
}
_FAULTS_ON_THE_WAY: Final = ("checksum", "lost")
"""Reasons that are no matter of how an input is understood."""


class Uncounted(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of one topic that do not count for one reason.

    Attributes
    ----------
    topic
        Name without prefix.
    reason
        One of `driftline.streams.join.uncounted_rows`, or of `driftline.schemas.rejects`.
    rows
        Number of rows.
    example
        The first of them: its place, and what decided.
    """

    topic: str
    reason: str
    rows: int
    example: str

    @property
    def is_rejected(self) -> bool:
        """Whether the rows are dead letters."""
        return self.reason not in _RULE

    @property
    def is_usual(self) -> bool:
        """Whether nothing is lost by it."""
        return self.reason in USUAL

    @property
    def meaning(self) -> str:
        """What decided."""
        return _RULE.get(self.reason, "the record cannot be accepted; it is kept as a dead letter")

    @property
    def remedy(self) -> str:
        """What to do about it, and where the rules are."""
        remedy = _REMEDY.get(self.reason, _CORRECT)
        return remedy if self.section is None else with_rules(remedy, self.section)

    @property
    def section(self) -> Section | None:
        """The section of the page that has the rules; None for a fault on the way."""
        return section_of(self.reason)


def section_of(reason: str) -> Section | None:
    """The section of the page that has the rules of a reason; None for a fault on the way."""
    if reason in _FAULTS_ON_THE_WAY:
        return None
    return _SECTION.get(reason, "Values of an event")


class BatchTally(msgspec.Struct):
    """Rows of one or more batches of a partition.

    Attributes
    ----------
    received
        Number of rows read, by topic.
    uncounted
        Those that do not count.
    """

    received: dict[str, int] = {}
    uncounted: list[Uncounted] = []

    def add_received(self, topic: str, rows: int) -> None:
        """Add rows that were read."""
        self.received[topic] = self.received.get(topic, 0) + rows

    def add(self, other: BatchTally) -> None:
        """Add the rows of another tally."""
        for topic, rows in other.received.items():
            self.add_received(topic, rows)
        self.uncounted += other.uncounted

    def add_rejects(self, topic: str, partition: int, rows: Sequence[Reject | RowNote]) -> None:
        """Add rows that decoding rejected, or has notes on."""
        self.uncounted += of_rejects(topic, rows, partition)

    def add_rows(self, partition: int, rows: Iterable[UncountedRow]) -> None:
        """Add what stage 1 found."""
        self.uncounted += [of_row(partition, row) for row in rows]


def of_rejects(
    topic: str, rows: Iterable[Reject | RowNote], partition: int | None = None
) -> list[Uncounted]:
    """The rows of one batch that decoding rejected, or has notes on, by reason.

    Parameters
    ----------
    partition
        Partition of the topic, for the example; None where the rows come from a file.
    """
    counts: dict[str, tuple[int, str]] = {}
    for row in rows:
        count, example = counts.get(row.reason, (0, row.error))
        records = row.records if isinstance(row, Reject) else 1
        counts[row.reason] = count + records, example
    return [
        Uncounted(
            topic=topic, reason=reason, rows=count, example=_placed(example, topic, partition)
        )
        for reason, (count, example) in counts.items()
    ]


def _placed(error: str, topic: str, partition: int | None) -> str:
    """The text of a reject, with the partition at its place."""
    return error if partition is None else error.replace(f"{topic}@", f"{topic}[{partition}]@", 1)


def of_row(partition: int, row: UncountedRow) -> Uncounted:
    """The rows of one batch that stage 1 found.

    Examples
    --------
    >>> row = UncountedRow(
    ...     reason="late_prediction",
    ...     count=2,
    ...     topic="predictions",
    ...     prediction_id="a1",
    ...     offset=7,
    ...     event_ms=0,
    ...     known_ms=0,
    ...     watermark_ms=900_000,
    ...     limit_ms=300_000,
    ... )
    >>> print(of_row(3, row).example.replace(": ", ":\\n"))
    predictions[3]@7, prediction_id "a1":
    event time 1970-01-01T00:00:00Z, watermark 1970-01-01T00:15:00Z, limit 1970-01-01T00:05:00Z
    """
    place = f"{row.topic}[{partition}]" + ("" if row.offset is None else f"@{row.offset}")
    times = f"event time {format_time(row.event_ms)}"
    if row.known_ms != row.event_ms:
        times += f", known at {format_time(row.known_ms)}"
    reached = "frontier" if row.reason in ("unmatched_truth", "expired_prediction") else "watermark"
    times += f", {reached} {format_time(row.watermark_ms)}"
    if row.limit_ms is not None:
        times += f", limit {format_time(row.limit_ms)}"
    example = f'{place}, prediction_id "{row.prediction_id}": {times}'
    return Uncounted(topic=row.topic, reason=row.reason, rows=row.count, example=example)


def of_unwatched(features: UnwatchedFeatures) -> Uncounted:
    """The values of features that stage 2 does not watch.

    Examples
    --------
    >>> features = UnwatchedFeatures(
    ...     model_name="churn",
    ...     model_version="1",
    ...     reason="rare",
    ...     start_ms=0,
    ...     end_ms=2_592_000_000,
    ...     values=5_120,
    ...     example="user_17",
    ... )
    >>> print(of_unwatched(features).example.replace(": ", ":\\n"))
    churn 1, 1970-01-01T00:00:00Z to 1970-01-31T00:00:00Z:
    "user_17" and others are in less than 1 of 1,000 predictions of the reference
    """
    named = f'"{features.example}" and others' if features.example else "features"
    why = {
        "rare": f"{named} are in less than 1 of {ROWS_A_VALUE:,} predictions of the reference",
        "crowded": f"{named} are beyond the {MOST_SETTLED:,} features that most predictions have",
    }[features.reason]
    span = f"{format_time(features.start_ms)} to {format_time(features.end_ms)}"
    return Uncounted(
        topic=PREDICTIONS,
        reason="unwatched_feature",
        rows=features.values,
        example=f"{features.model_name} {features.model_version}, {span}: {why}",
    )


class _Logged(msgspec.Struct):
    """When a reason was last logged, and how many rows came since."""

    at_ms: int
    suppressed: int = 0


class UncountedLog:
    """Writes uncounted rows to the log, with level INFO: most are an ordinary part of a stream.

    Parameters
    ----------
    clock
        Milliseconds since the epoch.
    rejected
        Level of rejected rows, and of wrong keys.
    """

    def __init__(self, clock: Callable[[], int], *, rejected: int = logging.INFO) -> None:
        self._clock = clock
        self._rejected = rejected
        self._logged: dict[tuple[str, int, str], _Logged] = {}

    def write(self, partition: int, uncounted: Iterable[Uncounted]) -> None:
        """Log the uncounted rows of one batch of a partition.

        The first of a topic and reason is logged at once, then at most one in INTERVAL_MS, with the
        number of rows since the line before.
        """
        for rows in uncounted:
            now_ms, key = self._clock(), (rows.topic, partition, rows.reason)
            last = self._logged.get(key)
            if last is not None and now_ms - last.at_ms < INTERVAL_MS:
                last.suppressed += rows.rows
                continue
            is_fault = rows.is_rejected or rows.reason in KEY_REASONS
            level = self._rejected if is_fault else logging.INFO
            log.log(level, "%s", message(rows, 0 if last is None else last.suppressed))
            self._logged[key] = _Logged(now_ms)


def message(uncounted: Uncounted, suppressed: int) -> str:
    """The log line of the rows of one batch, topic and reason.

    Parameters
    ----------
    suppressed
        Rows with the same topic, partition and reason since the line before, without those of this
        batch.

    Examples
    --------
    >>> rows = Uncounted(
    ...     topic="predictions", reason="late_prediction", rows=2, example="predictions[3]@7, ..."
    ... )
    >>> print(message(rows, 40).replace(": ", ":\\n").replace("; ", ";\\n"))
    late_prediction:
    predictions[3]@7, ...:
    the event time is before the limit, which is the watermark less the grace;
    it counts in the decisions lane, not in traffic;
    2 rows of this batch, 40 more since the last line (see "Times" in docs/inputs.md)
    """
    rows = "1 row" if uncounted.rows == 1 else f"{uncounted.rows} rows"
    more = f", {suppressed} more since the last line" if suppressed else ""
    rule = _RULE.get(uncounted.reason)
    name = uncounted.reason if rule else f"rejected ({uncounted.reason})"
    reason = f": {rule}" if rule else ""
    advice = ""
    if uncounted.reason in KEY_REASONS:
        advice = f". {uncounted.remedy[0].upper()}{uncounted.remedy[1:]}"
    elif uncounted.section is not None:
        advice = f" ({see(uncounted.section)})"
    return f"{name}: {uncounted.example}{reason}; {rows} of this batch{more}{advice}"


def lost_shares(uncounted: Iterable[Uncounted], lines: Mapping[str, int]) -> dict[str, float]:
    """Share of the lines of predictions and of ground truth that are lost, without empty topics.

    Lost is a row that counts nowhere, or not in every lane; the reasons in USUAL lose nothing. A
    truth that is late for several predictions of its id counts once for each.

    Parameters
    ----------
    lines
        Lines read, by topic.

    Examples
    --------
    >>> rows = [
    ...     Uncounted(topic="predictions", reason=reason, rows=3, example="")
    ...     for reason in ("late_prediction", "not_json", "expired_prediction")
    ... ]
    >>> lost_shares(rows, {"predictions": 60, "ground-truth": 0})
    {'predictions': 0.1}
    """
    lost = dict.fromkeys((PREDICTIONS, GROUND_TRUTH), 0)
    for rows in uncounted:
        if rows.topic in lost and not rows.is_usual:
            lost[rows.topic] += rows.rows
    return {topic: rows / lines[topic] for topic, rows in lost.items() if lines.get(topic)}


class UncountedTotals:
    """Uncounted rows in total, by topic and reason.

    Parameters
    ----------
    totals
        Totals so far; updated in place.
    """

    def __init__(self, totals: dict[str, dict[str, Uncounted]]) -> None:
        self._totals = totals

    def add(self, uncounted: Iterable[Uncounted]) -> None:
        """Add rows; the first example of a topic and reason stays."""
        for rows in uncounted:
            of_topic = self._totals.setdefault(rows.topic, {})
            total = of_topic.get(rows.reason)
            of_topic[rows.reason] = (
                rows
                if total is None
                else msgspec.structs.replace(total, rows=total.rows + rows.rows)
            )

    def listed(self) -> list[Uncounted]:
        """The totals, most rows first."""
        return sorted(
            (total for of_topic in self._totals.values() for total in of_topic.values()),
            key=lambda total: (-total.rows, total.topic, total.reason),
        )
