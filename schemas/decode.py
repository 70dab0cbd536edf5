"""Decodes the values of the input topics into rows.

The plain case (canonical names, no other fields) is one call into msgspec. Any other value is read
again step by step: `envelope.py` removes the envelope, `aliases.py` knows the other accepted names,
`rejects.py` says what is wrong with the rest. Late, duplicate and conflicting rows are left to the
stages.
"""

import json
from collections.abc import Callable, Container, Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from driftline.schemas.alert_commands import AlertCommand
from driftline.schemas.aliases import ALIASES, ConflictingFields, resolve_aliases
from driftline.schemas.envelope import read_event
from driftline.schemas.labels import (
    MAX_FEATURES,
    MAX_ID_INTEGER,
    MAX_TEXT_CHARACTERS,
    MISSING_LABELS,
    is_missing_label,
    label_text,
)
from driftline.schemas.missing_values import clear_missing_values
from driftline.schemas.probabilities import clipped_probabilities, describe_sum
from driftline.schemas.rejects import (
    FIELD_CHECKS,
    MAX_VALUE_BYTES,
    InvalidEvent,
    Reason,
    Reject,
    RowNote,
    event_time_fault,
    find_field_fault,
)
from driftline.schemas.reports import JobRun, WorkerMetrics
from driftline.schemas.results import RegistryCommand
from driftline.schemas.rows import PredictionRow, TickRow, TruthRow, exceeds_limits
from driftline.schemas.times import (
    FIRST_EVENT_MS,
    HOUR_MS,
    LAST_PLAIN_MS,
    MAX_TIME_MS,
    MINUTE_MS,
    SECOND_MS,
    format_time,
    parse_duration,
    parse_event_time,
    parse_time,
)
from driftline.schemas.topics import (
    ALERT_COMMANDS,
    GROUND_TRUTH,
    JOB_RUNS,
    PREDICTIONS,
    REGISTRY_COMMANDS,
    REPORTS,
    TICKS,
    WORKER_METRICS,
    dlq_name,
)

__all__ = [
    "SIDE_DECODERS",
    "decode_alert_commands",
    "decode_commands",
    "decode_job_runs",
    "decode_predictions",
    "decode_ticks",
    "decode_truths",
    "decode_worker_metrics",
]

Row = TypeVar("Row", PredictionRow, TruthRow, TickRow)
Values = Sequence[bytes | None]

_decode_plain_prediction = msgspec.json.Decoder(PredictionRow).decode
_decode_plain_truth = msgspec.json.Decoder(TruthRow).decode
# What a plain decoder raises for any other value: msgspec's errors are ValueErrors, a null value
# is a TypeError.
_NOT_PLAIN = (ValueError, RecursionError, TypeError)

_SENT = {
    topic: {name: name for name in FIELD_CHECKS[topic]} | ALIASES.get(topic, {})
    for topic in FIELD_CHECKS
}
MANY_NAMES_BYTES = 4 * MAX_FEATURES
"""A shorter value cannot have more than MAX_FEATURES names."""
# Fields of text that may be sent as an integer, a key of a database.
_NAMES = frozenset({"prediction_id", "model_name", "model_version"})

# Times of one second share their first 19 characters; these are the most common tails. Any other
# time goes to parse_event_time.
_TAIL_MS = {f".{ms:03d}{utc}": ms for utc in ("Z", "+00:00") for ms in range(SECOND_MS)} | {
    "Z": 0,
    "+00:00": 0,
}
_MINUTES_MS = {
    f"T{hour:02d}:{minute:02d}:": hour * HOUR_MS + minute * MINUTE_MS
    for hour in range(24)
    for minute in range(60)
}
_SECONDS_MS = {f"{second:02d}": second * SECOND_MS for second in range(60)}


def decode_predictions(
    values: Values,
    offsets: Sequence[int],
    latest_ms: int | None = None,
    *,
    where: str = PREDICTIONS,
    notes: list[RowNote] | None = None,
    missing_labels: Container[str] = MISSING_LABELS,
) -> tuple[list[PredictionRow], list[int], list[Reject]]:
    """Decode one batch of the predictions topic.

    Parameters
    ----------
    values
        Shape (N,), record values; None for a record without a value.
    offsets
        Shape (N,), offsets of the records in their log.
    latest_ms
        Rows with a later event time are rejected as too far ahead; None sets no limit.
    where
        Topic, with its partition if it has one, for messages: "predictions[3]".
    notes
        Receives a note for each accepted row of which a feature was left out, and one for each
        whose `scores` do not add up to 1.
    missing_labels
        Texts that stand for no label; a row needs a score then.

    Returns
    -------
    rows, indexes, rejects
        Accepted rows, their indexes in `values`, and the rejected values, each in the order of the
        batch.

    Examples
    --------
    >>> value = b'{"request_id":"a","model":"churn","version":"1","ts":2e9,"probability":1.7}'
    >>> _, _, rejects = decode_predictions([value], [10482], where="predictions[3]")
    >>> rejects[0].error  # doctest: +ELLIPSIS
    'predictions[3]@10482: field "probability" (score) is 1.7, outside [0, 1]; if it is a ...'
    """
    rows: list[PredictionRow] = []
    rejected: list[int] = []
    rejects: list[Reject] = []
    limit_ms = MAX_TIME_MS if latest_ms is None else latest_ms
    plain_ms = min(limit_ms, LAST_PLAIN_MS)
    second, second_ms = "", 0
    labels: set[str] = set()  # of this batch, without those that stand for no label
    parts: list[str] = []
    for index, value in enumerate(values):
        try:
            is_parsed = False
            try:
                # A value that is None raises TypeError.
                size = len(value)  # type: ignore[arg-type]
                if size > MANY_NAMES_BYTES and _may_have_too_many_features(value):  # type: ignore[arg-type]
                    row = _decode_carefully(value, PREDICTIONS, PredictionRow, parts)
                    is_parsed = True
                else:
                    row = _decode_plain_prediction(value)  # type: ignore[arg-type]
                    if size > MAX_TEXT_CHARACTERS and _is_too_large(value, row):  # type: ignore[arg-type]
                        row = _decode_carefully(value, PREDICTIONS, PredictionRow, parts)
                        is_parsed = True
            except _NOT_PLAIN:
                row = _decode_carefully(value, PREDICTIONS, PredictionRow, parts)
                is_parsed = True
            time: Any = row.timestamp_ms
            if type(time) is str:
                # Inlined, as is the label text below: a call per row would cost a tenth of the
                # decoding.
                tail_ms = _TAIL_MS.get(time[19:])
                if tail_ms is not None and time[:19] == second:
                    time = second_ms + tail_ms
                else:
                    head, time = time[:19], _parse_plain_time_ms(time)
                    if tail_ms is not None:
                        second, second_ms = head, time - tail_ms
                row.timestamp_ms = time
            elif not is_parsed and (type(time) is float or not FIRST_EVENT_MS <= time <= plain_ms):
                row.timestamp_ms = time = _parse_plain_time_ms(time)
            if not FIRST_EVENT_MS <= time <= limit_ms:
                raise _outside(time)
            label: Any = row.prediction
            if type(label) is str and label not in labels:
                if is_missing_label(label, missing_labels):
                    row.prediction = label = None
                else:
                    labels.add(label)
            if type(label) is not str:
                if label is not None:
                    row.prediction = label_text(label)
                elif row.score is None and row.scores is None and row.status != "error":
                    raise InvalidEvent(
                        "missing_field",
                        'none of the fields "prediction", "score" and "scores" has a value',
                    )
            if row.segment is not None:
                row.segment = _as_texts(row.segment)
            if row.tags is not None:
                row.tags = _as_texts(row.tags)
            if notes is not None and (parts or row.scores is not None):
                notes += _notes(row, parts, len(rows), where, offsets[index])
            if parts:
                parts = []
            rows.append(row)
        except InvalidEvent as fault:
            parts = []
            rejected.append(index)
            rejects.append(_reject(fault, value, offsets[index], where))
    return rows, _accepted_indexes(rejected, len(values)), rejects


def decode_truths(
    values: Values,
    offsets: Sequence[int],
    latest_ms: int | None = None,
    *,
    where: str = GROUND_TRUTH,
    notes: list[RowNote] | None = None,
    missing_labels: Container[str] = MISSING_LABELS,
) -> tuple[list[TruthRow], list[int], list[Reject]]:
    """Decode one batch of the ground-truth topic; see `decode_predictions`. There are no notes."""
    rows: list[TruthRow] = []
    rejected: list[int] = []
    rejects: list[Reject] = []
    limit_ms = MAX_TIME_MS if latest_ms is None else latest_ms
    plain_ms = min(limit_ms, LAST_PLAIN_MS)
    second, second_ms = "", 0
    labels: set[str] = set()  # of this batch, without those that stand for no label
    for index, value in enumerate(values):
        try:
            is_parsed = False
            try:
                row = _decode_plain_truth(value)  # type: ignore[arg-type]
                if len(value) > MAX_TEXT_CHARACTERS and _is_too_large(value, row):  # type: ignore[arg-type]
                    row = _decode_carefully(value, GROUND_TRUTH, TruthRow)
                    is_parsed = True
            except _NOT_PLAIN:
                row = _decode_carefully(value, GROUND_TRUTH, TruthRow)
                is_parsed = True
            time: Any = row.timestamp_ms
            if type(time) is str:
                tail_ms = _TAIL_MS.get(time[19:])
                if tail_ms is not None and time[:19] == second:
                    time = second_ms + tail_ms
                else:
                    head, time = time[:19], _parse_plain_time_ms(time)
                    if tail_ms is not None:
                        second, second_ms = head, time - tail_ms
                row.timestamp_ms = time
            elif not is_parsed and (type(time) is float or not FIRST_EVENT_MS <= time <= plain_ms):
                row.timestamp_ms = time = _parse_plain_time_ms(time)
            if not FIRST_EVENT_MS <= time <= limit_ms:
                raise _outside(time)
            if row.retracted:
                row.label = None
            else:
                label: Any = row.label
                if type(label) is not str:
                    if label is None:
                        raise InvalidEvent(
                            "missing_field", 'field "label" is missing, and "retracted" is not true'
                        )
                    row.label = label_text(label)
                elif label not in labels:
                    if is_missing_label(label, missing_labels):
                        raise InvalidEvent(
                            "missing_field",
                            f'field "label" is {json.dumps(label)}, which stands for no label; if '
                            "it is one, take it out of missing_labels",
                        )
                    labels.add(label)
            rows.append(row)
        except InvalidEvent as fault:
            rejected.append(index)
            rejects.append(_reject(fault, value, offsets[index], where))
    return rows, _accepted_indexes(rejected, len(values)), rejects


def decode_ticks(
    values: Values,
    offsets: Sequence[int],
    latest_ms: int | None = None,
    *,
    where: str = TICKS,
    notes: list[RowNote] | None = None,
) -> tuple[list[TickRow], list[int], list[Reject]]:
    """Decode one batch of the ticks topic; see `decode_predictions`. There are no notes.

    After the end of a recorded history, event time runs on until all windows are final, however far
    that is. So of a tick with `ended` only that time is compared with `latest_ms`.
    """

    def tick(value: bytes | None) -> TickRow:
        row = _decode_carefully(value, TICKS, TickRow)
        claimed_ms = row.timestamp_ms if row.ended_ms is None else row.ended_ms
        if latest_ms is not None and claimed_ms > latest_ms:
            raise _too_far_ahead(claimed_ms)
        return row

    return _decode_each(values, offsets, where, tick)


def decode_commands(
    values: Values,
    offsets: Sequence[int],
    latest_ms: int | None = None,
    *,
    where: str = REGISTRY_COMMANDS,
) -> tuple[list[RegistryCommand], list[int], list[Reject]]:
    """Decode one batch of registry commands; see `decode_predictions`.

    Their `timestamp` becomes RFC 3339 in UTC, whatever form was sent.
    """
    return _decode_commands(RegistryCommand, values, offsets, latest_ms, where)


def decode_alert_commands(
    values: Values,
    offsets: Sequence[int],
    latest_ms: int | None = None,
    *,
    where: str = ALERT_COMMANDS,
) -> tuple[list[AlertCommand], list[int], list[Reject]]:
    """Decode one batch of alert commands; see `decode_commands`."""
    return _decode_commands(AlertCommand, values, offsets, latest_ms, where)


def decode_worker_metrics(
    values: Values,
    offsets: Sequence[int],
    latest_ms: int | None = None,
    *,
    where: str = WORKER_METRICS,
) -> tuple[list[WorkerMetrics], list[int], list[Reject]]:
    """Decode one batch of what workers report about themselves; see `decode_commands`."""
    return _decode_commands(WorkerMetrics, values, offsets, latest_ms, where)


def decode_job_runs(
    values: Values,
    offsets: Sequence[int],
    latest_ms: int | None = None,
    *,
    where: str = JOB_RUNS,
) -> tuple[list[JobRun], list[int], list[Reject]]:
    """Decode one batch of runs of scheduled jobs; see `decode_commands`. Their other times become
    RFC 3339 in UTC too.
    """
    return _decode_commands(JobRun, values, offsets, latest_ms, where, _checked_run)


def _checked_run(run: JobRun) -> JobRun:
    for name in ("started", "ended"):
        if (text := getattr(run, name)) is not None:
            setattr(run, name, format_time(parse_time(text)))
    if run.interval is not None and parse_duration(run.interval) <= 0:
        raise ValueError(f"interval is {run.interval!r}, needed a duration above zero")
    return run


SIDE_DECODERS: dict[str, Callable[..., tuple[list[Any], list[int], list[Reject]]]] = {
    REGISTRY_COMMANDS: decode_commands,
    ALERT_COMMANDS: decode_alert_commands,
    WORKER_METRICS: decode_worker_metrics,
    JOB_RUNS: decode_job_runs,
}
"""By topic; see `driftline.schemas.topics.SIDE_INPUTS`."""


Command = TypeVar("Command", RegistryCommand, AlertCommand, WorkerMetrics, JobRun)


def _decode_commands(
    type_: type[Command],
    values: Values,
    offsets: Sequence[int],
    latest_ms: int | None,
    where: str,
    checked: Callable[[Command], Command] = lambda command: command,
) -> tuple[list[Command], list[int], list[Reject]]:
    what = "report" if where in REPORTS else "command"

    def command(value: bytes | None) -> Command:
        event = read_event(value)
        time_only = {name: event[name] for name in event if name == "timestamp"}
        if (fault := find_field_fault(time_only, TICKS, {})) is not None:
            raise InvalidEvent(*fault)
        time_ms = parse_time(event["timestamp"])
        if latest_ms is not None and time_ms > latest_ms:
            raise _too_far_ahead(time_ms)
        try:
            return checked(msgspec.convert(event | {"timestamp": format_time(time_ms)}, type_))
        except ValueError as error:
            missing = "missing required field" in str(error)
            raise InvalidEvent(
                "missing_field" if missing else "wrong_type",
                f"the {what} is not accepted: {error}",
            ) from error

    return _decode_each(values, offsets, where, command)


Decoded = TypeVar("Decoded")


def _decode_each(
    values: Values, offsets: Sequence[int], where: str, decode: Callable[[bytes | None], Decoded]
) -> tuple[list[Decoded], list[int], list[Reject]]:
    rows: list[Decoded] = []
    rejected: list[int] = []
    rejects: list[Reject] = []
    for index, value in enumerate(values):
        try:
            rows.append(decode(value))
        except InvalidEvent as fault:
            rejected.append(index)
            rejects.append(_reject(fault, value, offsets[index], where))
    return rows, _accepted_indexes(rejected, len(values)), rejects


def _decode_carefully(
    value: bytes | None, topic: str, row_type: type[Row], left_out: list[str] | None = None
) -> Row:
    """The row of a value that is not in the plain form; its times are already in milliseconds.

    Sentences about features that are left out are added to `left_out`.
    """
    sent = _SENT[topic]
    event, parts = clear_missing_values(read_event(value, allow_non_finite=True), sent)
    for name, field in event.items():
        if type(field) is int and sent.get(name) in _NAMES and abs(field) <= MAX_ID_INTEGER:
            event[name] = str(field)
    try:
        event, used = resolve_aliases(event, ALIASES[topic])
    except ConflictingFields as error:
        raise InvalidEvent("conflicting_fields", str(error)) from error
    if topic == PREDICTIONS:
        event = clipped_probabilities(event)
    fields = FIELD_CHECKS[topic]
    features = event.get("features")
    if isinstance(features, dict) and len(features) > MAX_FEATURES:
        # Before all of them are converted.
        raise InvalidEvent(*_first_fault(event, topic, used))
    try:
        row = msgspec.convert(
            {name: field for name, field in event.items() if name in fields}, row_type
        )
        parse = parse_time if isinstance(row, TickRow) else _parse_time_ms
        row.timestamp_ms = parse(row.timestamp_ms)
        if isinstance(row, TickRow):
            row.ended_ms, row.reached_ms = (
                None if time is None else parse_time(time)
                for time in (row.ended_ms, row.reached_ms)
            )
            for loss in row.lost:
                loss.from_ms, loss.until_ms = map(parse_time, (loss.from_ms, loss.until_ms))
    except (ValueError, OverflowError) as error:
        fault = find_field_fault(event, topic, used) or (
            "wrong_type",
            f"the value is not accepted: {error}",
        )
        raise InvalidEvent(*fault) from error
    if not isinstance(row, TickRow) and exceeds_limits(row):
        raise InvalidEvent(*_first_fault(event, topic, used))
    if left_out is not None:
        left_out += parts
    return row


def _first_fault(event: dict[str, Any], topic: str, used: dict[str, str]) -> tuple[Reason, str]:
    """The first fault of an event that is too large."""
    return find_field_fault(event, topic, used) or (
        "too_large",
        "a text or a mapping of the value is too large",
    )


def _may_have_too_many_features(value: bytes) -> bool:
    """Whether a value has more names than features are accepted, or texts that look like names.

    A row with tens of thousands is not worth a first attempt at the plain form.
    """
    return value.count(b'":') > MAX_FEATURES


def _is_too_large(value: bytes, row: PredictionRow | TruthRow) -> bool:
    return len(value) > MAX_VALUE_BYTES or exceeds_limits(row)


def _parse_time_ms(time: str | float) -> int:
    """Same as `parse_event_time`, in a third of the time for the common form."""
    if isinstance(time, str) and (tail_ms := _TAIL_MS.get(time[19:])) is not None:
        minute_ms, second_ms = _MINUTES_MS.get(time[10:17]), _SECONDS_MS.get(time[17:19])
        if minute_ms is not None and second_ms is not None:
            return _day_ms(time[:10]) + minute_ms + second_ms + tail_ms
    return parse_event_time(time)


@lru_cache(maxsize=4096)
def _day_ms(day: str) -> int:
    return parse_time(f"{day}T00:00:00Z")


def _parse_plain_time_ms(time: str | float) -> int:
    try:
        return _parse_time_ms(time)
    except ValueError as error:
        fault = event_time_fault(time) or ("wrong_type", str(error))
        raise InvalidEvent(*fault) from error


def _as_texts(values: dict[str, Any]) -> dict[str, str] | None:
    """The mapping with all values as canonical text; None if it is empty, so that rows with equal
    content are equal.
    """
    # Nearly always all values are text: a loop over the values alone takes half the time of one
    # over names and values.
    for value in values.values():
        if type(value) is not str:
            return {
                name: value if type(value) is str else label_text(value)
                for name, value in values.items()
            }
    return values or None


def _outside(time_ms: int) -> InvalidEvent:
    fault = event_time_fault(format_time(time_ms))
    return _too_far_ahead(time_ms) if fault is None else InvalidEvent(*fault)


def _too_far_ahead(time_ms: int) -> InvalidEvent:
    # The limit itself depends on a clock, so it is left out: two runs over one log must write the
    # same bytes.
    return InvalidEvent(
        "too_far_ahead",
        f'field "timestamp" is {format_time(time_ms)}, '
        "further ahead of the clock than max_ahead allows",
    )


def _reject(fault: InvalidEvent, value: bytes | None, offset: int, where: str) -> Reject:
    error = f"{where}@{offset}: {fault}; record sent to {dlq_name(where.partition('[')[0])}"
    return Reject(offset, fault.reason, error, value or b"")


def _notes(
    row: PredictionRow, parts: list[str], number: int, where: str, offset: int
) -> Iterator[RowNote]:
    """The notes on an accepted row with the index `number`; `parts` are the sentences about
    features that were left out.
    """
    if parts:
        others = f", and {len(parts) - 1} more" if len(parts) > 1 else ""
        yield RowNote(number, "left_out_feature", f"{where}@{offset}: {parts[0]}{others}")
    if row.scores is not None and (fault := describe_sum(row.scores)) is not None:
        yield RowNote(number, "scores_not_one", f"{where}@{offset}: {fault}")


def _accepted_indexes(rejected: list[int], n: int) -> list[int]:
    if not rejected:
        return list(range(n))
    excluded = frozenset(rejected)
    return [index for index in range(n) if index not in excluded]
