"""Parses one record value to the JSON object in it.

Removes a Schema Registry prefix, a byte order mark and a CloudEvents envelope (structured mode).
Says what is wrong if there is no object. Formats of other producers are known to
`foreign_values.py`, the fields of the object are left to `rejects.py`.
"""

import base64
import binascii
import json
import re
from typing import Any

import msgspec

from driftline.schemas.foreign_values import PREFIX_BYTES, find_foreign_format, schema_id
from driftline.schemas.rejects import (
    MAX_DEPTH,
    MAX_VALUE_BYTES,
    InvalidEvent,
    describe_json,
    find_non_finite,
)

__all__ = ["read_event"]

_json = msgspec.json.Decoder().decode
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_event(value: bytes | None, *, allow_non_finite: bool = False) -> dict[str, Any]:
    r"""The JSON object in a value.

    Parameters
    ----------
    allow_non_finite
        Whether NaN and infinities, which are no JSON, are read as floats instead of rejected.

    Raises
    ------
    InvalidEvent
        If there is none, or it exceeds the limits of size or depth.

    Examples
    --------
    >>> read_event(b'\x00\x00\x00\x00\x11{"specversion": "1.0", "id": "1", "data": {"a": 1}}')
    {'a': 1}
    """
    if value is None:
        raise InvalidEvent("tombstone", "the record has no value (a tombstone)")
    if len(value) > MAX_VALUE_BYTES:
        raise InvalidEvent(
            "too_large", f"the value is {len(value):,} bytes long, more than {MAX_VALUE_BYTES:,}"
        )
    if (fault := find_foreign_format(value)) is not None:
        raise fault
    schema = schema_id(value)
    text = (value if schema is None else value[PREFIX_BYTES:]).removeprefix(_BYTE_ORDER_MARK)
    event = _require_object(_parse(text, schema, allow_non_finite), "the value")
    if "specversion" in event and ("data" in event or "data_base64" in event):
        data = _read_cloud_event_data(event, allow_non_finite)
        event = _require_object(data, 'field "data" of the CloudEvent')
    return event


def _require_object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidEvent("wrong_type", f"{what} is {describe_json(value)}, not an object")
    return value


def _parse(text: bytes, schema: int | None, allow_non_finite: bool) -> Any:
    # Bytes behind a prefix that are no JSON may hold any number of brackets.
    is_nested = schema is None or text.lstrip()[:1] in (b"{", b"[")
    if is_nested and text.count(b"[") + text.count(b"{") > MAX_DEPTH and _is_too_deep(text):
        raise InvalidEvent("too_large", f"the value is nested deeper than {MAX_DEPTH} levels")
    try:
        return _json(text)
    except ValueError as error:
        if allow_non_finite and schema is None and (parsed := _parse_non_finite(text)) is not None:
            return parsed
        raise _explain_unreadable(text, schema, str(error)) from error


def _parse_non_finite(text: bytes) -> Any:
    """The value of JSON that would be strict without its NaN and infinities; None for any other."""
    try:
        parsed = json.loads(text.decode("utf-8"))
        msgspec.json.encode(parsed)  # what the lenient parser accepts beyond them: lone surrogates
    except (ValueError, TypeError, RecursionError):
        return None
    return parsed if find_non_finite(parsed) else None


def _is_too_deep(text: bytes) -> bool:
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        first = token[0][:1]
        depth += (first in b"[{") - (first in b"]}")
        if depth > MAX_DEPTH:
            return True
    return False


def _read_cloud_event_data(event: dict[str, Any], allow_non_finite: bool) -> Any:
    data = event.get("data")
    if data is None and isinstance(encoded := event.get("data_base64"), str):
        try:
            decoded = base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise InvalidEvent(
                "encoding", f'field "data_base64" of the CloudEvent is not base64: {error}'
            ) from error
        if (fault := find_foreign_format(decoded)) is not None:
            raise fault
        return _parse(decoded, None, allow_non_finite)
    return _parse(data.encode(), None, allow_non_finite) if isinstance(data, str) else data


def _explain_unreadable(value: bytes, schema: int | None, error: str) -> InvalidEvent:
    """Why the strict parser refused a value, according to the standard library's lenient one."""
    if schema is not None:
        what = f"the value starts with a Schema Registry prefix (schema {schema})"
        return InvalidEvent(
            "schema_registry",
            f"{what}, but what follows is not JSON (Avro and Protobuf are not read)",
        )
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as fault:
        return InvalidEvent(
            "encoding",
            f"the value is not UTF-8 text (byte 0x{value[fault.start]:02x} "
            f"at position {fault.start})",
        )
    if "\0" in text:
        return InvalidEvent(
            "encoding", "the value holds NUL bytes; UTF-16 and binary formats are not read"
        )
    if not text.strip():
        return InvalidEvent("empty", "the value is empty")
    try:
        parsed = json.loads(text)
    except json.JSONDecodeError as fault:
        return InvalidEvent("not_json", f"the value is not JSON: {fault}")
    except ValueError:  # Python's limit on the digits of an integer
        return InvalidEvent("out_of_range", "the value holds an integer of thousands of digits")
    if fault_text := find_non_finite(parsed):
        return InvalidEvent("not_finite", fault_text)
    return InvalidEvent("not_json", f"the value is not strict JSON: {error}")
