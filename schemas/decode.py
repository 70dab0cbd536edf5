"""Bytes from the input topics to rows.

The plain case (canonical names, nothing else in the value) is one call into msgspec. Whatever that
does not take is read once more with care: `envelope.py` takes off what is wrapped around it,
`names.py` knows the other accepted names, `refusals.py` says what is wrong with the rest. Which
rows are late, double or in conflict with each other is for the stages.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from driftline.schemas.aliases import ALIASES, ConflictingFields, canonical
from driftline.schemas.envelope import read_event
from driftline.schemas.labels import label_text
from driftline.schemas.rejects import FIELDS, MAX_VALUE_BYTES, InvalidEvent, Reject, field_fault
from driftline.schemas.results import RegistryCommand
from driftline.schemas.rows import PredictionRow, TickRow, TruthRow
from driftline.schemas.times import (
    HOUR_MS,
    MAX_TIME_MS,
    MINUTE_MS,
    SECOND_MS,
    format_time,
    parse_time,
)
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS, REGISTRY_COMMANDS, TICKS, dlq_name

__all__ = [
    "PredictionRow",
    "Reject",
    "TickRow",
    "TruthRow",
    "decode_commands",
    "decode_predictions",
    "decode_ticks",
    "decode_truths",
]

Row = TypeVar("Row", PredictionRow, TruthRow, TickRow)
Values = Sequence[bytes | None]

_plain_prediction = msgspec.json.Decoder(PredictionRow).decode
_plain_truth = msgspec.json.Decoder(TruthRow).decode
# What a plain decoder raises where the value needs care: msgspec's errors are ValueErrors,
# TypeError is a null value.
_NOT_PLAIN = (ValueError, RecursionError, TypeError)

# Times of one second share their first 19 characters; these are the ends seen most. Anything else
# goes to parse_time (0.9 us).
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
) -> tuple[list[PredictionRow], list[int], list[Reject]]:
    """Decode one batch of the predictions topic.

    Parameters
    ----------
    values
        Shape (N,), record values; None is a record without one.
    offsets
        Shape (N,), where they stand in the log.
    latest_ms
        Times after this are refused as too far ahead; None sets no bound.
    where
        Topic, with partition where there is one, for messages: "predictions[3]".

    Returns
    -------
    rows, indexes, rejects
        The good rows, their indexes in `values`, and what was refused, each in the order of the
        batch.

    Examples
    --------
    >>> value = b'{"request_id":"a","model":"churn","version":"1","ts":0,"probability":1.7}'
    >>> decode_predictions([value], [10482], where="predictions[3]")[2][0].error
    'predictions[3]@10482: field "probability" (score) is 1.7, outside [0, 1]; record sent to predictions.dlq'
    """
    rows: list[PredictionRow] = []
    rejected: list[int] = []
    rejects: list[Reject] = []
    limit_ms = MAX_TIME_MS if latest_ms is None else latest_ms
    second, second_ms = "", 0
    for index, value in enumerate(values):
        try:
            try:
                row = _plain_prediction(value)  # type: ignore[arg-type]
                if len(value) > MAX_VALUE_BYTES:  # type: ignore[arg-type]
                    row = _careful(value, PREDICTIONS, PredictionRow)
            except _NOT_PLAIN:
                row = _careful(value, PREDICTIONS, PredictionRow)
            time: Any = row.timestamp_ms
            if type(time) is str:
                # In line, as are the texts below: a call per row would cost a tenth of the
                # decoding.
                tail_ms = _TAIL_MS.get(time[19:])
                if tail_ms is not None and time[:19] == second:
                    time = second_ms + tail_ms
                else:
                    head, time = time[:19], _plain_time_ms(time)
                    if tail_ms is not None:
                        second, second_ms = head, time - tail_ms
                row.timestamp_ms = time
            if time > limit_ms:
                raise _too_far_ahead(time)
            label: Any = row.prediction
            if type(label) is not str:
                if label is not None:
                    row.prediction = label_text(label)
                elif row.score is None and row.scores is None and row.status != "error":
                    raise InvalidEvent(
                        "missing_field",
                        'none of the fields "prediction", "score" and "scores" is there',
                    )
            if row.segment is not None:
                row.segment = _texts(row.segment)
            if row.tags is not None:
                row.tags = _texts(row.tags)
            rows.append(row)
        except InvalidEvent as refusal:
            rejected.append(index)
            rejects.append(_reject(refusal, value, offsets[index], where))
    return rows, _others(rejected, len(values)), rejects


def decode_truths(
    values: Values,
    offsets: Sequence[int],
    latest_ms: int | None = None,
    *,
    where: str = GROUND_TRUTH,
) -> tuple[list[TruthRow], list[int], list[Reject]]:
    """Decode one batch of the ground-truth topic; as `decode_predictions`."""
    rows: list[TruthRow] = []
    rejected: list[int] = []
    rejects: list[Reject] = []
    limit_ms = MAX_TIME_MS if latest_ms is None else latest_ms
    second, second_ms = "", 0
    for index, value in enumerate(values):
        try:
            try:
                row = _plain_truth(value)  # type: ignore[arg-type]
                if len(value) > MAX_VALUE_BYTES:  # type: ignore[arg-type]
                    row = _careful(value, GROUND_TRUTH, TruthRow)
            except _NOT_PLAIN:
                row = _careful(value, GROUND_TRUTH, TruthRow)
            time: Any = row.timestamp_ms
            if type(time) is str:
                tail_ms = _TAIL_MS.get(time[19:])
                if tail_ms is not None and time[:19] == second:
                    time = second_ms + tail_ms
                else:
                    head, time = time[:19], _plain_time_ms(time)
                    if tail_ms is not None:
                        second, second_ms = head, time - tail_ms
                row.timestamp_ms = time
            if time > limit_ms:
                raise _too_far_ahead(time)
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
            rows.append(row)
        except InvalidEvent as refusal:
            rejected.append(index)
            rejects.append(_reject(refusal, value, offsets[index], where))
    return rows, _others(rejected, len(values)), rejects


def decode_ticks(
    values: Values, offsets: Sequence[int], latest_ms: int | None = None, *, where: str = TICKS
) -> tuple[list[TickRow], list[int], list[Reject]]:
    """Decode one batch of the ticks topic; as `decode_predictions`.

    Where a history has ended, time runs on until its windows are final, however far that is: only
    its end may not be too far ahead.
    """

    def tick(value: bytes | None) -> TickRow:
        row = _careful(value, TICKS, TickRow)
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
    """Decode one batch of registry commands; as `decode_predictions`.

    Their `timestamp` becomes RFC 3339 in UTC whatever was sent.
    """

    def command(value: bytes | None) -> RegistryCommand:
        event = read_event(value)
        if (
            fault := field_fault(
                {name: event[name] for name in event if name == "timestamp"}, TICKS, {}
            )
        ) is not None:
            raise InvalidEvent(*fault)
        time_ms = parse_time(event["timestamp"])
        if latest_ms is not None and time_ms > latest_ms:
            raise _too_far_ahead(time_ms)
        try:
            return msgspec.convert(event | {"timestamp": format_time(time_ms)}, RegistryCommand)
        except ValueError as error:
            missing = "missing required field" in str(error)
            raise InvalidEvent(
                "missing_field" if missing else "wrong_type",
                f"the command is not accepted: {error}",
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
        except InvalidEvent as refusal:
            rejected.append(index)
            rejects.append(_reject(refusal, value, offsets[index], where))
    return rows, _others(rejected, len(values)), rejects


def _careful(value: bytes | None, topic: str, row_type: type[Row]) -> Row:
    """A row of a value that is not in the plain form; its time is in milliseconds already."""
    event = read_event(value)
    try:
        event, used = canonical(event, ALIASES[topic])
    except ConflictingFields as error:
        raise InvalidEvent("conflicting_fields", str(error)) from error
    fields = FIELDS[topic]
    try:
        row = msgspec.convert(
            {name: field for name, field in event.items() if name in fields}, row_type
        )
        row.timestamp_ms = _time_ms(row.timestamp_ms)
        if isinstance(row, TickRow):
            row.ended_ms, row.reached_ms = (
                None if time is None else _time_ms(time) for time in (row.ended_ms, row.reached_ms)
            )
    except (ValueError, OverflowError) as error:
        fault = field_fault(event, topic, used) or (
            "wrong_type",
            f"the value is not accepted: {error}",
        )
        raise InvalidEvent(*fault) from error
    return row


def _time_ms(time: str | int) -> int:
    """As `parse_time`, in a third of its time for the common form."""
    if isinstance(time, str) and (tail_ms := _TAIL_MS.get(time[19:])) is not None:
        minute_ms, second_ms = _MINUTES_MS.get(time[10:17]), _SECONDS_MS.get(time[17:19])
        if minute_ms is not None and second_ms is not None:
            return _day_ms(time[:10]) + minute_ms + second_ms + tail_ms
    return parse_time(time)


@lru_cache(maxsize=4096)
def _day_ms(day: str) -> int:
    return parse_time(f"{day}T00:00:00Z")


def _plain_time_ms(time: str) -> int:
    try:
        return _time_ms(time)
    except ValueError as error:
        raise InvalidEvent(
            *(field_fault({"timestamp": time}, TICKS, {}) or ("wrong_type", str(error)))
        ) from error


def _texts(values: dict[str, Any]) -> dict[str, str] | None:
    """The mapping with canonical texts;

    None for an empty one, so that equal content stays equal.
    """
    # Nearly always all are texts: values alone are looked at in half the time of names and values.
    for value in values.values():
        if type(value) is not str:
            return {
                name: value if type(value) is str else label_text(value)
                for name, value in values.items()
            }
    return values or None


def _too_far_ahead(time_ms: int) -> InvalidEvent:
    # Without the bound itself: it follows from a clock, and two runs over one log must write the
    # same bytes.
    return InvalidEvent(
        "too_far_ahead",
        f'field "timestamp" is {format_time(time_ms)}, further ahead of the clock than max_ahead allows',
    )


def _reject(refusal: InvalidEvent, value: bytes | None, offset: int, where: str) -> Reject:
    error = f"{where}@{offset}: {refusal}; record sent to {dlq_name(where.partition('[')[0])}"
    return Reject(offset, refusal.reason, error, value or b"")


def _others(rejected: list[int], n: int) -> list[int]:
    if not rejected:
        return list(range(n))
    gone = frozenset(rejected)
    return [index for index in range(n) if index not in gone]
