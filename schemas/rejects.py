"""Why a value is refused: the reasons, and a sentence that says what was needed and what came.

The decoder itself only says that a value is wrong; here the fields are looked at one by one, at
leisure, to say what.
"""

import json
import math
from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct

from driftline.schemas.labels import MAX_LABEL_INTEGER
from driftline.schemas.times import parse_time

__all__ = [
    "MAX_DEPTH",
    "MAX_VALUE_BYTES",
    "InvalidEvent",
    "Reason",
    "Reject",
    "field_fault",
    "not_finite",
    "shown",
]

MAX_VALUE_BYTES = 1 << 20
MAX_DEPTH = 64
"""Nesting beyond this is refused: what the parsers bear depends on the stack, and must not decide
what is counted.
"""

Reason = Literal[
    "not_json",
    "missing_field",
    "wrong_type",
    "out_of_range",
    "not_finite",
    "too_far_ahead",
    "too_large",
    "encoding",
    "conflicting_fields",
    "conflict",
]
"""`conflict` is given by the join, to a second prediction with the same id and other content; all
others by decoding.
"""


class Reject(Struct):
    """A value for the dead-letter topic.

    Attributes
    ----------
    error
        A full sentence with topic, partition (where known) and offset.
    raw
        The bytes as they came; none where a stage refused a row, of which the driver has them.
    """

    offset: int
    reason: Reason
    error: str
    raw: bytes = b""


class InvalidEvent(Exception):
    """One value cannot be accepted; `reason` is the code, the text says why."""

    def __init__(self, reason: Reason, message: str) -> None:
        self.reason: Reason = reason
        super().__init__(message)


def shown(value: Any) -> str:
    """A value as JSON, cut to what fits in a sentence."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**40:
        return "an integer of more than 40 digits"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def not_finite(value: Any, path: str = "") -> str | None:
    """Where the first NaN or infinity of a JSON value stands, and what it is;

    None if all is finite.
    """
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
        if found := not_finite(element, f"{path}.{name}" if path else str(name)):
            return found
    return None


Fault = tuple[Reason, str]


def field_fault(event: dict[str, Any], topic: str, used: dict[str, str]) -> Fault | None:
    """The first thing wrong with an event's fields, or None.

    Parameters
    ----------
    event
        The event under canonical names.
    topic
        Canonical topic name, without prefix.
    used
        Aliases that were sent (alias -> canonical name); messages name both.
    """
    sent = {name: alias for alias, name in used.items()}
    for name, (required, check) in FIELDS[topic].items():
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


# Optional fields whose absence means a value, so that null would be a guess.
_NOT_NULL = frozenset({"status", "revision", "retracted", "weight"})


def _text(value: Any) -> Fault | None:
    return None if isinstance(value, str) else ("wrong_type", f" is {shown(value)}, not a string")


def _name(value: Any) -> Fault | None:
    return _text(value) or (None if value else ("missing_field", " is empty"))


def _flag(value: Any) -> Fault | None:
    return (
        None
        if isinstance(value, bool)
        else ("wrong_type", f" is {shown(value)}, not true or false")
    )


def _time(value: Any) -> Fault | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return (
            "wrong_type",
            f" is {shown(value)}, neither an RFC 3339 time nor an integer of epoch milliseconds",
        )
    try:
        parse_time(value)
    except ValueError as error:
        if isinstance(value, int):
            return (
                "out_of_range",
                f" is {shown(value)}, outside the years 1970 to 9999 in epoch milliseconds",
            )
        is_time_outside = "is not a time between" in str(error)
        return (
            "out_of_range" if is_time_outside else "wrong_type",
            f" is {shown(value)}: {_without_value(str(error), value)}",
        )
    return None


def _without_value(message: str, value: str) -> str:
    return message.removeprefix(repr(value)).strip()


def _integer(value: Any) -> Fault | None:
    if abs(value) > MAX_LABEL_INTEGER or value == MAX_LABEL_INTEGER:
        return ("out_of_range", f" is {shown(value)}, outside the 64-bit integers")
    return None


def _label(value: Any) -> Fault | None:
    if isinstance(value, bool | str | float):
        return None
    if isinstance(value, int):
        return _integer(value)
    return ("wrong_type", f" is {shown(value)}, not a string, integer, boolean or number")


def _segment_value(value: Any) -> Fault | None:
    if isinstance(value, float | None):
        return ("wrong_type", f" is {shown(value)}, not a string, integer or boolean")
    return _label(value)


def _feature_value(value: Any) -> Fault | None:
    if value is None or isinstance(value, str | bool):
        return None
    if isinstance(value, int | float):
        return _finite(value)
    return ("wrong_type", f" is {shown(value)}, not a number, string, boolean or null")


def _finite(value: int | float) -> Fault | None:
    try:
        float(value)
    except OverflowError:
        return ("not_finite", f" is {shown(value)}, beyond the range of a 64-bit float")
    return None


def _number(
    low: float, high: float, interval: str, *, low_included: bool = True, whole: bool = False
) -> "Check":
    def check(value: Any) -> Fault | None:
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            return (
                "wrong_type",
                f" is {shown(value)}, not {'an integer' if whole else 'a number'}",
            )
        if (fault := _finite(value)) is not None:
            return fault
        if not (low <= value if low_included else low < value) or value > high:
            return ("out_of_range", f" is {shown(value)}, outside {interval}")
        return None

    return check


def _mapping(check_value: "Check", *, may_be_empty: bool = True) -> "Check":
    def check(value: Any) -> Fault | None:
        if not isinstance(value, dict):
            return ("wrong_type", f" is {shown(value)}, not an object")
        if not value and not may_be_empty:
            return ("missing_field", " is empty")
        for name, element in value.items():
            if fault := check_value(element):
                return (fault[0], f": {shown(name)}{fault[1]}")
        return None

    return check


def _status(value: Any) -> Fault | None:
    return (
        None
        if value in ("ok", "error")
        else ("wrong_type", f' is {shown(value)}, neither "ok" nor "error"')
    )


Check = Callable[[Any], Fault | None]
_probability = _number(0, 1, "[0, 1]")

FIELDS: dict[str, dict[str, tuple[bool, Check]]] = {
    "predictions": {
        "prediction_id": (True, _name),
        "model_name": (True, _name),
        "model_version": (True, _name),
        "timestamp": (True, _time),
        "prediction": (False, _label),
        "score": (False, _probability),
        "scores": (False, _mapping(_probability, may_be_empty=False)),
        "threshold": (False, _probability),
        "features": (False, _mapping(_feature_value)),
        "segment": (False, _mapping(_segment_value)),
        "latency_ms": (False, _number(0, math.inf, "[0, infinity)")),
        "status": (False, _status),
        "environment": (False, _text),
        "variant": (False, _text),
        "tags": (False, _mapping(_label)),
    },
    "ground-truth": {
        "prediction_id": (True, _name),
        "timestamp": (True, _time),
        "label": (False, _label),
        "source": (False, _text),
        "revision": (False, _number(0, 2**63 - 1, "[0, 2^63)", whole=True)),
        "retracted": (False, _flag),
        "weight": (False, _number(0, math.inf, "(0, infinity)", low_included=False)),
    },
    "ticks": {
        "timestamp": (True, _time),
        "after": (False, _mapping(_number(0, 2**63 - 1, "[0, 2^63)", whole=True))),
        "ended": (False, _time),
        "reached": (False, _time),
        "settled": (False, _number(0, 2**31 - 1, "[0, 2^31)", whole=True)),
    },
}
"""What every field must be: required or not, and its check.

The row types in `rows.py` say the same; a test holds them together.
"""
