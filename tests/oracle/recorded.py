"""Reader of a recorded log: the valid rows with their partitions, and the floor at each of them.

A line is a valid row if it is a JSON object of at most 1 MiB in UTF-8 with the required fields of
the right types, finite numbers, probabilities in [0, 1], and a time after 1973-03-03T09:46:40Z and
not after `latest` (5 minutes after the start of the first run). Common field names of other systems
are aliases of ours.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tests.oracle.label_rules import NO_LABEL
from tests.oracle.watermark import keys

MAX_BYTES = 1 << 20
FIRST_EVENT = 10**11  # 1973-03-03T09:46:40Z in ms
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

COMMON_NAMES = {
    "inference_id": "prediction_id",
    "request_id": "prediction_id",
    "identifier": "prediction_id",
    "model": "model_name",
    "model_id": "model_name",
    "version": "model_version",
    "ts": "timestamp",
    "event_time": "timestamp",
    "timestamp_ms": "timestamp",
}
PREDICTION_NAMES = {
    **COMMON_NAMES,
    "probability": "score",
    "prediction_proba": "score",
    "y_pred_proba": "score",
    "y_pred": "prediction",
    "predicted_label": "prediction",
}
TRUTH_NAMES = {
    **COMMON_NAMES,
    "target": "label",
    "y_true": "label",
    "ground_truth": "label",
    "actual": "label",
}


class Invalid(Exception):
    """An invalid line; the message says why."""


@dataclass(frozen=True)
class Row:
    """One valid row.

    `line` is its number in the file from 0, `floor` the watermark of its topic partition up to and
    including itself, less the grace (0 before the rows are in reading order), and `head` its
    key in its file.
    """

    line: int
    partition: int
    time: int
    floor: int
    value: dict[str, Any]
    head: int = 0

    @property
    def id(self) -> str:
        return str(self.value["prediction_id"])

    @property
    def counted_at(self) -> int:
        """Event time at which incidents of the row count."""
        return max(self.time, self.floor)


def read_predictions(
    folder: Path, *, partitions: int, latest: int
) -> tuple[list[Row], dict[int, str]]:
    """Valid predictions in the order of the file, and the reason of each invalid line by its
    number.
    """
    return _read(folder / "predictions.jsonl", prediction, partitions=partitions, latest=latest)


def read_truths(folder: Path, *, partitions: int, latest: int) -> tuple[list[Row], dict[int, str]]:
    """Valid truths in the order of the file, and the reason of each invalid line by its number."""
    return _read(folder / "ground-truth.jsonl", truth, partitions=partitions, latest=latest)


class LabelCommand(NamedTuple):
    """A command that sets the labels of a model; None leaves them to the events."""

    time: int
    model: str
    labels: tuple[str, ...] | None
    positive: str | None


def read_label_commands(folder: Path) -> list[LabelCommand]:
    """The commands `set_labels` of the log, all of which are valid, in the order of the file."""
    path = folder / "registry-commands.jsonl"
    found = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        value = json.loads(line)
        if value["command"] != "set_labels":
            continue
        labels = value["params"].get("labels")
        found.append(
            LabelCommand(
                _time(value),
                value["model_name"],
                None if labels is None else tuple(labels),
                value["params"].get("positive_label"),
            )
        )
    return found


def _read(
    path: Path, decode: Any, *, partitions: int, latest: int
) -> tuple[list[Row], dict[int, str]]:
    rows: list[Row] = []
    invalid: dict[int, str] = {}
    with path.open("rb") as file:
        for line, raw in enumerate(file):
            try:
                value = decode(raw.rstrip(b"\n"))
                time = value["timestamp"]
                if time > latest:
                    raise Invalid("too far ahead")
            except Invalid as why:
                invalid[line] = str(why)
                continue
            identity = value["prediction_id"]
            partition = partition_of(identity.encode(), partitions)
            rows.append(Row(line, partition, time, 0, value))
    heads = keys([(row.time, row.id) for row in rows])
    return [replace(row, head=head) for row, head in zip(rows, heads, strict=True)], invalid


def prediction(raw: bytes) -> dict[str, Any]:
    value = _object(raw, PREDICTION_NAMES)
    for name in ("prediction_id", "model_name", "model_version"):
        _text(value, name)
    value["timestamp"] = _time(value)
    value["prediction"] = label_of(value.get("prediction"))
    for name in ("score", "threshold"):
        if value.get(name) is not None:
            value[name] = _probability(value[name])
    for name in ("features", "segment", "scores"):
        if not isinstance(value.get(name), dict | None):
            raise Invalid(f"{name} is no object")
    scores = value.get("scores") or {}
    for label in scores:
        scores[label] = _probability(scores[label])
    failed = value.get("status") == "error"
    if (
        not failed
        and value["prediction"] is None
        and value.get("score") is None
        and not value.get("scores")
    ):
        raise Invalid("neither prediction nor score")
    return value


def truth(raw: bytes) -> dict[str, Any]:
    value = _object(raw, TRUTH_NAMES)
    _text(value, "prediction_id")
    value["timestamp"] = _time(value)
    revision = value.setdefault("revision", 0)
    if not isinstance(revision, int) or isinstance(revision, bool):
        raise Invalid("revision is no integer")
    retracted = value.get("retracted", False)
    if not isinstance(retracted, bool):
        raise Invalid("retracted is neither true nor false")
    value["label"] = None if retracted else label_of(value.get("label"))
    if value["label"] is None and not retracted:
        raise Invalid("no label")
    return value


def label_of(label: Any) -> str | None:
    """Text of a label; None for blanks and for words that stand for no value."""
    text = label_text(label)
    return None if text is None or text in NO_LABEL or not text.strip() else text


def label_text(label: Any) -> str | None:
    """Text of a label: "yes", 1, 1.0 and true become "yes", "1", "1" and "true"."""
    if label is None or isinstance(label, str):
        return label
    if isinstance(label, bool):
        return "true" if label else "false"
    if isinstance(label, int | float):
        return str(int(label)) if label == int(label) else repr(label)
    raise Invalid("a label is a text, a number, or true or false")


def _object(raw: bytes, names: dict[str, str]) -> dict[str, Any]:
    if len(raw) > MAX_BYTES:
        raise Invalid("too large")
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_not_finite)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise Invalid("not JSON in UTF-8") from error
    if not isinstance(value, dict):
        raise Invalid("no object")
    return {names.get(name, name): content for name, content in value.items()}


def _not_finite(text: str) -> float:
    raise Invalid(f"{text} is no JSON")


def _text(value: dict[str, Any], name: str) -> None:
    if isinstance(value.get(name), int) and not isinstance(value[name], bool):
        value[name] = str(value[name])
    if not isinstance(value.get(name), str) or not value[name]:
        raise Invalid(f"{name} is missing or no text")


def _time(value: dict[str, Any]) -> int:
    time = any_time(value.get("timestamp"))
    if time < FIRST_EVENT:
        raise Invalid("a time that was never set")
    return time


def any_time(time: Any) -> int:
    """A time in ms; that of a tick may be before the first of all events."""
    if isinstance(time, bool) or not isinstance(time, int | float | str):
        raise Invalid("timestamp is missing or no time")
    if isinstance(time, str) and time.isdecimal():
        time = int(time)
    if isinstance(time, str):
        try:
            moment = datetime.fromisoformat(time)
        except ValueError as error:
            raise Invalid("timestamp is no RFC 3339 time") from error
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return (moment - EPOCH) // timedelta(milliseconds=1)
    for digits, ms in ((11, 1_000), (14, 1), (17, Fraction(1, 1_000)), (20, Fraction(1, 10**6))):
        if abs(time) < 10**digits:
            return math.floor(Fraction(str(time)) * ms)
    raise Invalid("timestamp is beyond all times")


def _probability(number: Any) -> Any:
    """The number; 0 or 1 where it is beyond by at most a millionth."""
    if not isinstance(number, int | float) or isinstance(number, bool):
        raise Invalid("a probability is a number")
    if not -1e-6 <= number <= 1 + 1e-6:
        raise Invalid("a probability is in [0, 1]")
    return number if 0 <= number <= 1 else float(round(number))


@cache
def partition_of(key: bytes, partitions: int) -> int:
    """Kafka's default partitioner for a record with a key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(key: bytes) -> int:
    """MurmurHash2 with Kafka's seed, unsigned.

    Examples
    --------
    Numbers from the unit tests of Apache Kafka (UtilsTest.testMurmur2), which are signed.

    >>> [murmur2(text) - 2**32 for text in (b"21", b"foobar", b"a-little-bit-long-string")]
    [-973932308, -790332482, -985981536]
    """
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = 0x9747B28C ^ len(key)
    whole = len(key) - len(key) % 4
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    if whole < len(key):
        h = (h ^ int.from_bytes(key[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15
