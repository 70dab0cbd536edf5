"""Why a value is rejected: the reason codes, and a sentence with what was needed and what came.

The decoder only reports that a value is invalid. Here the fields are checked one by one, without
hurry, to say why.
"""

import json
import math
from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct

from driftline.schemas.labels import (
    MAX_FEATURES,
    MAX_ID_INTEGER,
    MAX_LABEL_INTEGER,
    MAX_TEXT_CHARACTERS,
)
from driftline.schemas.probabilities import TOLERANCE, describe_scale
from driftline.schemas.times import parse_event_time, parse_time

__all__ = [
    "MAX_DEPTH",
    "MAX_VALUE_BYTES",
    "InvalidEvent",
    "Reason",
    "Reject",
    "RowNote",
    "describe_json",
    "event_time_fault",
    "find_field_fault",
    "find_non_finite",
]

MAX_VALUE_BYTES = 1 << 20
MAX_DEPTH = 64
"""Deeper nesting is rejected: how deep the parsers can go depends on the stack, which must not
decide what is counted.
"""

Reason = Literal[
    "not_json",
    "tombstone",
    "empty",
    "schema_registry",
    "avro",
    "compressed",
    "missing_field",
    "wrong_type",
    "out_of_range",
    "not_finite",
    "too_far_ahead",
    "too_large",
    "encoding",
    "checksum",
    "conflicting_fields",
    "conflict",
    "lost",
]
"""`tombstone` is a record without a value, `empty` one with nothing but blanks; `schema_registry`,
`avro` and `compressed` are records of other producers. `checksum` is a batch that was damaged on
the broker or on the way. The join rejects a second prediction with the same id and other content as
`conflict`. `lost` marks records that a worker never read because the broker does not have them any
more; all other reasons come from decoding.
"""


class Reject(Struct):
    """A value for the dead-letter topic.

    Attributes
    ----------
    error
        A full sentence with topic, partition (if known) and offset.
    raw
        The value as received; empty if a stage rejected the row, because the driver has the value.
    records
        How many records it stands for, from its offset on: all of a batch that cannot be read.
    """

    offset: int
    reason: Reason
    error: str
    raw: bytes = b""
    records: int = 1


class RowNote(Struct, frozen=True):
    """What the sender of an accepted row should know: a part of it was left out, or does not mean
    what it should.

    Attributes
    ----------
    row
        Index among the accepted rows of the batch.
    reason
        "left_out_feature" or "scores_not_one".
    error
        A full sentence with topic, partition (if known) and offset.
    """

    row: int
    reason: str
    error: str


class InvalidEvent(Exception):
    """A value is invalid; `reason` is the code, the text says why."""

    def __init__(self, reason: Reason, message: str) -> None:
        self.reason: Reason = reason
        super().__init__(message)


def describe_json(value: Any) -> str:
    """A value as JSON, shortened to fit in a sentence."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**40:
        return "an integer of more than 40 digits"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def find_non_finite(value: Any, path: str = "") -> str | None:
    """A sentence about the first NaN or infinity in a JSON value; None if there is none."""
    if isinstance(value, float) and not math.isfinite(value):
        kind = (
            "not a number (NaN)"
            if math.isnan(value)
            else "infinite, or beyond the range of a 64-bit float"
        )
        return f'field "{path}" is {kind}' if path else f"is {kind}"
    elements = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for name, element in elements:
        if fault := find_non_finite(element, f"{path}.{name}" if path else str(name)):
            return fault
    return None


Fault = tuple[Reason, str]


def find_field_fault(event: dict[str, Any], topic: str, used: dict[str, str]) -> Fault | None:
    """The first fault in an event's fields, or None.

    Parameters
    ----------
    event
        The event under canonical names.
    topic
        Canonical topic name, without prefix.
    used
        Aliases in the event (alias -> canonical name); messages name both.
    """
    sent = {name: alias for alias, name in used.items()}
    for name, (required, check) in FIELD_CHECKS[topic].items():
        label = f'field "{sent[name]}" ({name})' if name in sent else f'field "{name}"'
        value = event.get(name)
        if value is None:
            if name in event and name in _NOT_NULL:
                return ("wrong_type", f"{label} is null")
            if required:
                return (
                    "missing_field",
                    f"{label} is null" if name in event or name in sent else f"{label} is missing",
                )
        elif fault := check(value):
            return (fault[0], f"{label}{fault[1]}")
    return None


# Optional fields with a default: null would be ambiguous.
_NOT_NULL = frozenset({"status", "revision", "retracted", "weight"})


def _check_text(value: Any) -> Fault | None:
    if isinstance(value, str):
        return None
    return ("wrong_type", f" is {describe_json(value)}, not a string")


def _check_length(text: str) -> Fault | None:
    if len(text) <= MAX_TEXT_CHARACTERS:
        return None
    return (
        "too_large",
        f" is {len(text):,} characters long, more than {MAX_TEXT_CHARACTERS:,}",
    )


def _check_name(value: Any) -> Fault | None:
    if isinstance(value, float):
        return (
            "wrong_type",
            f" is {describe_json(value)}, not a string or an integer; "
            "a number with a point has more than one spelling, so send it as a string",
        )
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ("wrong_type", f" is {describe_json(value)}, not a string or an integer")
    if isinstance(value, int):
        return _check_integer_name(value)
    return _check_length(value) if value else ("missing_field", " is empty")


def _check_integer_name(value: int) -> Fault | None:
    if abs(value) <= MAX_ID_INTEGER:
        return None
    return ("too_large", f" is an integer of more than {MAX_TEXT_CHARACTERS:,} digits")


def _check_flag(value: Any) -> Fault | None:
    return (
        None
        if isinstance(value, bool)
        else ("wrong_type", f" is {describe_json(value)}, not true or false")
    )


def _check_time(value: Any) -> Fault | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return (
            "wrong_type",
            f" is {describe_json(value)}, neither an RFC 3339 time "
            "nor an integer of epoch milliseconds",
        )
    try:
        parse_time(value)
    except ValueError as error:
        if isinstance(value, int):
            return (
                "out_of_range",
                f" is {describe_json(value)}, outside the years 1970 to 9999 in epoch milliseconds",
            )
        is_time_outside = "is not a time between" in str(error)
        return (
            "out_of_range" if is_time_outside else "wrong_type",
            f" is {describe_json(value)}: {_without_value(str(error), value)}",
        )
    return None


def _check_event_time(value: Any) -> Fault | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return (
            "wrong_type",
            f" is {describe_json(value)}, neither a text with a date and time nor a number",
        )
    try:
        parse_event_time(value)
    except ValueError as error:
        is_outside = str(error).startswith(("before", "after"))
        return (
            "out_of_range" if is_outside else "wrong_type",
            f" is {describe_json(value)}, {error}",
        )
    return None


def event_time_fault(value: Any) -> Fault | None:
    """The fault of an event time under its canonical name, or None."""
    fault = _check_event_time(value)
    return None if fault is None else (fault[0], f'field "timestamp"{fault[1]}')


def _without_value(message: str, value: str) -> str:
    return message.removeprefix(repr(value)).strip()


def _check_integer(value: Any) -> Fault | None:
    if abs(value) > MAX_LABEL_INTEGER or value == MAX_LABEL_INTEGER:
        return ("out_of_range", f" is {describe_json(value)}, outside the 64-bit integers")
    return None


def _check_label(value: Any) -> Fault | None:
    return _check_length(value) if isinstance(value, str) else _check_tag(value)


def _check_tag_or_null(value: Any) -> Fault | None:
    return None if value is None else _check_tag(value)


def _check_tag(value: Any) -> Fault | None:
    if isinstance(value, bool | str | float):
        return None
    if isinstance(value, int):
        return _check_integer(value)
    return ("wrong_type", f" is {describe_json(value)}, not a string, integer, boolean or number")


def _check_segment_value(value: Any) -> Fault | None:
    if isinstance(value, float):
        return ("wrong_type", f" is {describe_json(value)}, not a string, integer or boolean")
    return None if value is None else _check_label(value)


def _check_feature_value(_value: Any) -> Fault | None:
    return None  # `missing_values.py` leaves out what is not a number, text or boolean


def _check_finite(value: int | float) -> Fault | None:
    try:
        float(value)
    except OverflowError:
        return ("not_finite", f" is {describe_json(value)}, beyond the range of a 64-bit float")
    return None


def _number_check(
    low: float, high: float, interval: str, *, low_included: bool = True, whole: bool = False
) -> "Check":
    def check(value: Any) -> Fault | None:
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            return (
                "wrong_type",
                f" is {describe_json(value)}, not {'an integer' if whole else 'a number'}",
            )
        if (fault := _check_finite(value)) is not None:
            return fault
        if not (low <= value if low_included else low < value) or value > high:
            return ("out_of_range", f" is {describe_json(value)}, outside {interval}")
        return None

    return check


def _mapping_check(
    check_value: "Check",
    *,
    may_be_empty: bool = True,
    may_be_long: bool = False,
    most: int | None = None,
) -> "Check":
    def check(value: Any) -> Fault | None:
        if not isinstance(value, dict):
            return ("wrong_type", f" is {describe_json(value)}, not an object")
        if not value and not may_be_empty:
            return ("missing_field", " is empty")
        if most is not None and len(value) > most:
            return ("too_large", f" has {len(value):,} entries, more than {most:,}")
        for name, element in value.items():
            if fault := (not may_be_long and _check_length(name)) or check_value(element):
                return (fault[0], f": {describe_json(name)}{fault[1]}")
        return None

    return check


def _check_losses(value: Any) -> Fault | None:
    if isinstance(value, list) and all(isinstance(each, dict) for each in value):
        return None
    return ("wrong_type", f" is {describe_json(value)}, not a list of objects")


def _check_status(value: Any) -> Fault | None:
    return (
        None
        if value in ("ok", "error")
        else ("wrong_type", f' is {describe_json(value)}, neither "ok" nor "error"')
    )


def _check_probability(value: Any) -> Fault | None:
    fault = _check_share(value)
    if fault is None or fault[0] != "out_of_range":
        return fault
    if -TOLERANCE <= value <= 1 + TOLERANCE and isinstance(value, float):
        return None
    return (fault[0], f"{fault[1]}; {describe_scale(value)}")


Check = Callable[[Any], Fault | None]
_check_share = _number_check(0, 1, "[0, 1]")

FIELD_CHECKS: dict[str, dict[str, tuple[bool, Check]]] = {
    "predictions": {
        "prediction_id": (True, _check_name),
        "model_name": (True, _check_name),
        "model_version": (True, _check_name),
        "timestamp": (True, _check_event_time),
        "prediction": (False, _check_label),
        "score": (False, _check_probability),
        "scores": (False, _mapping_check(_check_probability, may_be_empty=False)),
        "threshold": (False, _check_probability),
        "features": (False, _mapping_check(_check_feature_value, most=MAX_FEATURES)),
        "segment": (False, _mapping_check(_check_segment_value)),
        "latency_ms": (False, _number_check(0, math.inf, "[0, infinity)")),
        "status": (False, _check_status),
        "environment": (False, _check_text),
        "variant": (False, _check_text),
        "tags": (False, _mapping_check(_check_tag_or_null, may_be_long=True)),
    },
    "ground-truth": {
        "prediction_id": (True, _check_name),
        "timestamp": (True, _check_event_time),
        "label": (False, _check_label),
        "source": (False, _check_text),
        "revision": (False, _number_check(0, 2**63 - 1, "[0, 2^63)", whole=True)),
        "retracted": (False, _check_flag),
        "weight": (False, _number_check(0, math.inf, "(0, infinity)", low_included=False)),
    },
    "ticks": {
        "timestamp": (True, _check_time),
        "after": (False, _mapping_check(_number_check(0, 2**63 - 1, "[0, 2^63)", whole=True))),
        "ended": (False, _check_time),
        "reached": (False, _check_time),
        "settled": (False, _number_check(0, 2**31 - 1, "[0, 2^31)", whole=True)),
        "lost": (False, _check_losses),
    },
}
"""By topic and field: whether the field is required, and its check.

The row types in `rows.py` state the same; a test keeps the two consistent.
"""
