"""Decoding: accepted values and names, and the reason for every reject."""

import base64
import gzip
import json
import lzma
import random
import zlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.schemas.aliases import ALIASES
from driftline.schemas.decode import (
    decode_commands,
    decode_predictions,
    decode_ticks,
    decode_truths,
)
from driftline.schemas.events import GroundTruth, Prediction
from driftline.schemas.labels import MAX_FEATURES, MAX_TEXT_CHARACTERS, label_text
from driftline.schemas.rejects import FIELD_CHECKS, MAX_VALUE_BYTES, Reject, find_field_fault
from driftline.schemas.results import encode
from driftline.schemas.rows import PredictionRow, TickRow, TruthRow
from driftline.schemas.times import FIRST_EVENT_MS, format_time, parse_time

PLAIN = {
    "prediction_id": "a",
    "model_name": "churn",
    "model_version": "1.4.2",
    "timestamp": "2026-11-21T10:00:00Z",
    "prediction": "yes",
}
TRUTH = {"prediction_id": "a", "label": "yes", "timestamp": "2026-11-21T10:00:00Z"}
AT_MS = parse_time("2026-11-21T10:00:00Z")


def line(event: Any) -> bytes:
    return json.dumps(event).encode()


def accepted(event: dict[str, Any] | bytes) -> PredictionRow:
    rows, indexes, rejects = decode_predictions(
        [event if isinstance(event, bytes) else line(event)], [7]
    )
    assert (indexes, rejects) == ([0], [])
    return rows[0]


def reject_of(event: dict[str, Any] | bytes | None, latest_ms: int | None = None) -> Reject:
    value = line(event) if isinstance(event, dict) else event
    rows, indexes, rejects = decode_predictions([value], [10482], latest_ms, where="predictions[3]")
    assert (rows, indexes, len(rejects)) == ([], [], 1)
    assert rejects[0].offset == 10482
    assert rejects[0].raw == (value or b"")
    assert rejects[0].error.startswith("predictions[3]@10482: ")
    assert rejects[0].error.endswith("; record sent to predictions.dlq")
    return rejects[0]


def accepted_truth(event: dict[str, Any]) -> TruthRow:
    rows, _, rejects = decode_truths([line(event)], [0])
    assert rejects == []
    return rows[0]


def reject_of_truth(event: dict[str, Any], latest_ms: int | None = None) -> Reject:
    rows, _, rejects = decode_truths([line(event)], [0], latest_ms)
    assert rows == []
    return rejects[0]


def test_every_field_of_a_prediction_is_decoded() -> None:
    event = {
        **PLAIN,
        "score": 0.7,
        "scores": {"yes": 0.7, "no": 0.3},
        "threshold": 0.6,
        "features": {"age": 41, "country": "de", "new": True, "income": None},
        "segment": {"plan": "pro", "tier": 2, "beta": False},
        "latency_ms": 12.5,
        "status": "ok",
        "environment": "production",
        "variant": "b",
        "tags": {"run": 17},
    }
    assert accepted(event) == PredictionRow(
        prediction_id="a",
        model_name="churn",
        model_version="1.4.2",
        timestamp_ms=AT_MS,
        prediction="yes",
        score=0.7,
        scores={"yes": 0.7, "no": 0.3},
        threshold=0.6,
        features={"age": 41.0, "country": "de", "new": True, "income": None},
        segment={"plan": "pro", "tier": "2", "beta": "false"},
        latency_ms=12.5,
        environment="production",
        variant="b",
        tags={"run": "17"},
    )


def test_rows_and_published_types_have_the_same_fields() -> None:
    for row, event, topic in (
        (PredictionRow, Prediction, "predictions"),
        (TruthRow, GroundTruth, "ground-truth"),
    ):
        names = {field.encode_name for field in msgspec.structs.fields(row)}
        assert (
            names
            == {field.encode_name for field in msgspec.structs.fields(event)}
            == FIELD_CHECKS[topic].keys()
        )
        assert not names & ALIASES[topic].keys()
    assert FIELD_CHECKS["ticks"].keys() == {
        field.encode_name for field in msgspec.structs.fields(TickRow)
    }


def test_written_event_is_read_back() -> None:
    event = Prediction(
        prediction_id="a",
        model_name="m",
        model_version="1",
        timestamp=format_time(AT_MS + 5),
        prediction=3,
        score=0.25,
    )
    row = accepted(encode(event))
    assert (row.timestamp_ms, row.prediction, row.score) == (AT_MS + 5, "3", 0.25)


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        ("yes", "yes"),
        (1, "1"),
        (True, "true"),
        (False, "false"),
        (1.0, "1"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (" a ", " a "),
    ],
)
def test_label_has_one_canonical_text_on_both_topics(sent: Any, text: str) -> None:
    assert accepted(PLAIN | {"prediction": sent}).prediction == text
    assert accepted_truth(TRUTH | {"label": sent}).label == text


# --- the invalid events of the specification, one of each kind, and similar ones


@pytest.mark.parametrize(
    ("value", "reason", "error"),
    [
        (None, "tombstone", "the record has no value (a tombstone)"),
        (b"", "empty", "the value is empty"),
        (b"  \n", "empty", "the value is empty"),
        (b"\xef\xbb\xbf", "empty", "the value is empty"),
        (
            b"plain words",
            "not_json",
            "the value is not JSON: Expecting value: line 1 column 1 (char 0)",
        ),
        (line(PLAIN)[:-1], "not_json", "the value is not JSON"),
        (line(PLAIN) + line(PLAIN), "not_json", "the value is not JSON: Extra data"),
        (line(PLAIN).replace(b'"yes"', b'"\\ud800"'), "not_json", "not strict JSON"),
        (b"[]", "wrong_type", "the value is an array, not an object"),
        (b"null", "wrong_type", "the value is null, not an object"),
        (
            line(PLAIN).replace(b'"yes"', b"NaN"),
            "not_finite",
            'field "prediction" is not a number (NaN)',
        ),
        (
            line(PLAIN | {"score": float("nan")}),
            "not_finite",
            'field "score" is not a number (NaN)',
        ),
        (
            line(PLAIN | {"scores": {"yes": float("inf")}}),
            "not_finite",
            'field "scores.yes" is infinite',
        ),
        (
            line(PLAIN | {"latency_ms": float("nan")}),
            "not_finite",
            'field "latency_ms" is not a number (NaN)',
        ),
        (
            line({"request_id": "a", "model": "m", "version": 1, "ts": 1, "y_pred": float("nan")}),
            "not_finite",
            'field "y_pred" is not a number (NaN)',
        ),
        (
            line(PLAIN).replace(b'"yes"', b"1e400"),
            "not_finite",
            "beyond the range of a 64-bit float",
        ),
        (line(PLAIN | {"tags": {"x": "y" * (2 << 20)}}), "too_large", "the value is 2,097,"),
        (
            line(PLAIN).replace(b"churn", b"ch\xfcrn"),
            "encoding",
            "the value is not UTF-8 text (byte 0xfc at position 40)",
        ),
        (
            json.dumps(PLAIN).encode("utf-16"),
            "encoding",
            "the value is not UTF-8 text (byte 0xff at position 0)",
        ),
        (json.dumps(PLAIN).encode("utf-16-le"), "encoding", "the value holds NUL bytes"),
        (
            json.dumps(PLAIN).encode("utf-16-be"),
            "encoding",
            "the value holds NUL bytes",
        ),
        (gzip.compress(line(PLAIN)), "compressed", "the value is compressed with gzip"),
        (zlib.compress(line(PLAIN)), "compressed", "the value is compressed with zlib"),
        (lzma.compress(line(PLAIN)), "compressed", "the value is compressed with xz"),
        *(
            (pyarrow.compress(line(PLAIN) * 9, codec=codec, asbytes=True), "compressed", name)
            for codec, name in (("zstd", "with zstd"), ("lz4", "with LZ4 (a frame)"))
        ),
        # Of many records: the bytes hold hundreds of brackets.
        (gzip.compress(random.Random(1).randbytes(100_000)), "compressed", "with gzip"),
        # The identifier of the stream, from the description of the format.
        (
            b"\xff\x06\x00\x00sNaPpY\x01\x05\x00\x00\x00\x00\x00\x00{",
            "compressed",
            "Snappy (framed)",
        ),
        (
            b"\0\0\0\0\x11\x02a\x0achurn",
            "schema_registry",
            "starts with a Schema Registry prefix (schema 17), but what follows is not JSON",
        ),
        (b"\0\0\0\0\x11", "schema_registry", "(schema 17), but what follows is not JSON"),
        (
            b"\0\0\0\0\x11\x02" + random.Random(2).randbytes(100_000),
            "schema_registry",
            "(schema 17), but what follows is not JSON",
        ),
        (
            b"Obj\x01\x04\x14avro.codec\x08null",
            "avro",
            "the value is an Avro object container file",
        ),
        (b"\xc3\x01" + bytes(range(8)) + b"\x02a", "avro", "Avro record in single-object encoding"),
        (
            line(PLAIN | {"x": 0}).replace(b"0}", b"[" * 70 + b"]" * 70 + b"}"),
            "too_large",
            "nested deeper than 64 levels",
        ),
        (b"[" * 1_000_000, "too_large", "nested deeper than 64 levels"),
        (b"[" * 65, "too_large", "nested deeper than 64 levels"),
        (b"[" * 64, "not_json", "the value is not JSON"),
    ],
    ids=lambda value: None if isinstance(value, str) else "value",
)
def test_value_without_a_readable_object_is_rejected_with_the_reason(
    value: bytes | None, reason: str, error: str
) -> None:
    reject = reject_of(value)
    assert reject.reason == reason
    assert error in reject.error


@pytest.mark.parametrize(
    ("change", "reason", "error"),
    [
        ({"prediction_id": None}, "missing_field", 'field "prediction_id" is null'),
        ({"prediction_id": ""}, "missing_field", 'field "prediction_id" is empty'),
        (
            {"model_name": True},
            "wrong_type",
            'field "model_name" is true, not a string or an integer',
        ),
        (
            {"model_version": 1.4},
            "wrong_type",
            'field "model_version" is 1.4, not a string or an integer; '
            "a number with a point has more than one spelling, so send it as a string",
        ),
        ({"prediction_id": 3.0}, "wrong_type", 'field "prediction_id" is 3.0, not a string'),
        ({"prediction_id": ["a"]}, "wrong_type", 'field "prediction_id" is an array'),
        (
            {"timestamp": "yesterday"},
            "wrong_type",
            'field "timestamp" is "yesterday", no date and time such as 2026-11-21T10:00:00Z',
        ),
        ({"timestamp": "2026-02-30T00:00:00Z"}, "wrong_type", "day is out of range for month"),
        ({"timestamp": "2026-11-21T10:00:61Z"}, "wrong_type", "second must be in 0..59"),
        ({"timestamp": "05.01.2026 10:00"}, "wrong_type", "an unknown form"),
        ({"timestamp": "2026-11-21T10:00:00 Europe/Berlin"}, "wrong_type", "an unknown form"),
        ({"timestamp": "1969-12-31T00:00:00Z"}, "out_of_range", "before 1973-03-03T09:46:40Z"),
        ({"timestamp": "0001-01-01T00:00:00Z"}, "out_of_range", "a time that was never set?"),
        ({"timestamp": -1}, "out_of_range", "before 1973-03-03T09:46:40Z"),
        ({"timestamp": 0}, "out_of_range", "a time that was never set?"),
        ({"timestamp": 10**20}, "out_of_range", "after the year 9999"),
        ({"timestamp": 1.5}, "out_of_range", "before 1973-03-03T09:46:40Z"),
        ({"timestamp": True}, "wrong_type", "neither a text with a date and time nor a number"),
        ({"prediction": ["yes"]}, "wrong_type", 'field "prediction" is an array'),
        ({"prediction": 2**63}, "out_of_range", "outside the 64-bit integers"),
        ({"prediction": -(10**50)}, "out_of_range", "an integer of more than 40 digits"),
        (
            {"score": 1.7},
            "out_of_range",
            'field "score" is 1.7, outside [0, 1]; if it is a percentage, send 0.017, if a logit,'
            " 1 / (1 + exp(-x))",
        ),
        ({"score": -4.2}, "out_of_range", "[0, 1]; if it is a logit, send 1 / (1 + exp(-x))"),
        ({"score": 1.000002}, "out_of_range", "is 1.000002, outside [0, 1]"),
        ({"score": -2e-6}, "out_of_range", "is -2e-06, outside [0, 1]"),
        ({"scores": {"yes": 85}}, "out_of_range", '"yes" is 85, outside [0, 1]; if it is a percen'),
        ({"score": -0.001}, "out_of_range", "outside [0, 1]"),
        ({"score": "0.7"}, "wrong_type", 'field "score" is "0.7", not a number'),
        ({"score": True}, "wrong_type", 'field "score" is true, not a number'),
        ({"scores": {"yes": 1.1}}, "out_of_range", 'field "scores": "yes" is 1.1, outside [0, 1]'),
        ({"scores": {"yes": None}}, "wrong_type", 'field "scores": "yes" is null, not a number'),
        ({"scores": {}}, "missing_field", 'field "scores" is empty'),
        ({"threshold": 2}, "out_of_range", 'field "threshold" is 2, outside [0, 1]'),
        ({"features": [1]}, "wrong_type", 'field "features" is an array, not an object'),
        ({"segment": {"plan": 1.5}}, "wrong_type", 'field "segment": "plan" is 1.5'),
        ({"latency_ms": -1}, "out_of_range", 'field "latency_ms" is -1, outside [0, infinity)'),
        ({"status": "fine"}, "wrong_type", 'field "status" is "fine", neither "ok" nor "error"'),
        ({"status": None}, "wrong_type", 'field "status" is null'),
        ({"environment": 3}, "wrong_type", 'field "environment" is 3, not a string'),
        ({"tags": {"x": {}}}, "wrong_type", 'field "tags": "x" is an object'),
        (
            {"prediction": None},
            "missing_field",
            'none of the fields "prediction", "score" and "scores" has a value',
        ),
    ],
    ids=str,
)
def test_reject_names_the_invalid_field_of_a_prediction(
    change: dict[str, Any], reason: str, error: str
) -> None:
    reject = reject_of(PLAIN | change)
    assert (reject.reason, error in reject.error) == (reason, True), reject.error


@pytest.mark.parametrize(
    ("sent", "counted"),
    [
        (1.0000001, 1.0),
        (1 + 1e-6, 1.0),
        (1.0000000000000002, 1.0),
        (1.0000001192092896, 1.0),  # the next 32-bit float after 1
        (-1e-17, 0.0),
        (-1e-6, 0.0),
        (-0.0, 0.0),
        (0.9999999, 0.9999999),
        (1e-17, 1e-17),
        (1, 1.0),
    ],
)
@pytest.mark.parametrize("extra", [{}, {"unknown": 0}], ids=["plain", "stepwise"])
def test_probability_that_rounding_put_outside_its_range_counts_as_0_or_1(
    sent: float, counted: float, extra: dict[str, Any]
) -> None:
    event = PLAIN | {"score": sent, "threshold": sent, "scores": {"yes": sent}} | extra
    rows, _, rejects = decode_predictions([line(event)], [0])
    assert not rejects
    assert (rows[0].score, rows[0].threshold, rows[0].scores) == (
        counted,
        counted,
        {"yes": counted},
    )


@pytest.mark.parametrize("name", ["prediction_id", "model_name", "model_version", "timestamp"])
def test_reject_names_the_missing_field(name: str) -> None:
    reject = reject_of({field: value for field, value in PLAIN.items() if field != name})
    assert (reject.reason, f'field "{name}" is missing' in reject.error) == ("missing_field", True)


@pytest.mark.parametrize(
    ("change", "reason", "error"),
    [
        ({"label": None}, "missing_field", 'field "label" is missing'),
        ({"label": {}}, "wrong_type", 'field "label" is an object'),
        ({"revision": -1}, "out_of_range", 'field "revision" is -1, outside [0, 2^63)'),
        ({"revision": 2**63}, "out_of_range", 'field "revision"'),
        ({"revision": 1.5}, "wrong_type", 'field "revision" is 1.5, not an integer'),
        ({"retracted": 1}, "wrong_type", 'field "retracted" is 1, not true or false'),
        ({"weight": 0}, "out_of_range", 'field "weight" is 0, outside (0, infinity)'),
        ({"source": 5}, "wrong_type", 'field "source" is 5, not a string'),
    ],
    ids=str,
)
def test_reject_names_the_invalid_field_of_a_truth(
    change: dict[str, Any], reason: str, error: str
) -> None:
    reject = reject_of_truth(TRUTH | change)
    assert (reject.reason, error in reject.error) == (reason, True), reject.error


def test_time_30_years_ahead_is_rejected_and_the_latest_time_accepted() -> None:
    reject = reject_of(PLAIN | {"timestamp": "2056-11-21T10:00:00Z"}, latest_ms=AT_MS)
    assert reject.reason == "too_far_ahead"
    assert "2056-11-21T10:00:00Z, further ahead of the clock" in reject.error
    assert reject_of_truth(TRUTH, latest_ms=AT_MS - 1).reason == "too_far_ahead"
    assert decode_predictions([line(PLAIN)], [0], AT_MS)[2] == []
    assert (
        decode_ticks([line({"timestamp": AT_MS})], [0], AT_MS - 1)[2][0].reason == "too_far_ahead"
    )


def test_value_of_one_mebibyte_is_accepted_and_one_byte_more_is_rejected() -> None:
    value = line(PLAIN | {"tags": {"x": ""}})
    value = value.replace(b'"x": ""', b'"x": "' + b"y" * (MAX_VALUE_BYTES - len(value)) + b'"')
    assert len(value) == MAX_VALUE_BYTES
    assert accepted(value).tags is not None
    assert reject_of(value + b" ").reason == "too_large"


def test_accepted_rows_between_rejects_keep_their_order_and_indexes() -> None:
    values = [
        line(PLAIN | {"prediction_id": str(i), "score": 0.1 * (i % 3) * 7}) for i in range(12)
    ]  # 0, 0.7 and 1.4
    rows, indexes, rejects = decode_predictions(values, range(100, 112))
    assert (
        [row.prediction_id for row in rows]
        == [str(i) for i in indexes]
        == [str(i) for i in range(12) if i % 3 != 2]
    )
    assert [reject.offset for reject in rejects] == [102, 105, 108, 111]


def test_retraction_needs_no_label_and_has_none() -> None:
    assert (
        accepted_truth({"prediction_id": "a", "timestamp": AT_MS, "retracted": True}).label is None
    )
    assert accepted_truth(TRUTH | {"retracted": True, "revision": 2}) == TruthRow(
        prediction_id="a", label=None, timestamp_ms=AT_MS, retracted=True, revision=2
    )


def test_error_row_needs_no_prediction_and_may_have_one() -> None:
    event = {name: value for name, value in PLAIN.items() if name != "prediction"}
    assert accepted(event | {"status": "error"}).prediction is None
    assert accepted(event | {"score": 0.3}).prediction is None
    assert accepted(PLAIN | {"status": "error"}).prediction == "yes"


# --- aliases and unknown fields


@pytest.mark.parametrize(("alias", "name"), ALIASES["predictions"].items())
def test_every_alias_of_a_prediction_is_accepted(alias: str, name: str) -> None:
    event = PLAIN | {"score": 0.5}
    renamed = {alias if field == name else field: value for field, value in event.items()}
    assert accepted(renamed) == accepted(event)


@pytest.mark.parametrize(("alias", "name"), ALIASES["ground-truth"].items())
def test_every_alias_of_a_truth_is_accepted(alias: str, name: str) -> None:
    renamed = {alias if field == name else field: value for field, value in TRUTH.items()}
    assert accepted_truth(renamed) == accepted_truth(TRUTH)


@pytest.mark.parametrize("alias", ["ts", "event_time", "timestamp_ms"])
def test_tick_may_use_the_aliases_of_the_time(alias: str) -> None:
    assert (
        decode_ticks([line({alias: AT_MS}), line({"timestamp": format_time(AT_MS)})], [0, 1])[0]
        == [TickRow(timestamp_ms=AT_MS)] * 2
    )


@pytest.mark.parametrize(
    "both",
    [
        {"model": "churn"},
        {"score": 0.5, "probability": 0.5},
        {"score": 1, "probability": 1.0},
        {"timestamp_ms": AT_MS},
        {"ts": "2026-11-21T11:00:00+01:00"},
        {"y_pred": None},
    ],
    ids=str,
)
def test_two_names_of_one_field_with_equal_values_are_accepted(both: dict[str, Any]) -> None:
    assert accepted(PLAIN | both).model_name == "churn"


@pytest.mark.parametrize(
    ("both", "error"),
    [
        ({"model": "other"}, 'fields "model_name" and "model" both mean model_name and differ'),
        ({"request_id": "b"}, 'fields "prediction_id" and "request_id"'),
        (
            {"probability": 0.5, "y_pred_proba": 0.6},
            'fields "probability" and "y_pred_proba" both mean score',
        ),
        ({"timestamp_ms": AT_MS + 1}, 'fields "timestamp" and "timestamp_ms"'),
        ({"ts": "yesterday"}, 'fields "timestamp" and "ts"'),
        ({"prediction": 1, "y_pred": True}, 'fields "prediction" and "y_pred"'),
    ],
    ids=str,
)
def test_two_names_of_one_field_with_different_values_are_rejected(
    both: dict[str, Any], error: str
) -> None:
    reject = reject_of(PLAIN | both)
    assert (reject.reason, error in reject.error) == ("conflicting_fields", True), reject.error


def test_reject_names_the_alias_of_an_invalid_field() -> None:
    assert (
        'field "probability" (score) is 1.7, outside [0, 1]'
        in reject_of(PLAIN | {"probability": 1.7}).error
    )
    event = {name: value for name, value in PLAIN.items() if name != "timestamp"}
    assert 'field "ts" (timestamp) is "soon"' in reject_of(event | {"ts": "soon"}).error


def test_unknown_fields_are_ignored() -> None:
    assert accepted(PLAIN | {"host": "a17", "debug": {"deep": [1, {"er": None}]}}) == accepted(
        PLAIN
    )


def test_brackets_in_a_string_are_not_nesting() -> None:
    assert accepted(PLAIN | {"host": '\\"' + "[{" * 100}) == accepted(PLAIN)


def test_schema_registry_prefix_byte_order_mark_and_cloud_event_are_removed() -> None:
    plain = accepted(PLAIN)
    envelope = {"specversion": "1.0", "id": "1", "source": "/scorer", "type": "prediction"}
    assert accepted(b"\0\0\0\0\x07" + line(PLAIN)) == plain
    assert accepted(b"\xef\xbb\xbf" + line(PLAIN)) == plain
    assert accepted(envelope | {"data": PLAIN}) == plain
    assert accepted(envelope | {"data": json.dumps(PLAIN)}) == plain
    assert accepted(envelope | {"data_base64": base64.b64encode(line(PLAIN)).decode()}) == plain
    assert accepted(b"\0\0\0\0\x07" + line(envelope | {"data": PLAIN})) == plain
    assert reject_of(envelope | {"data": [1]}).reason == "wrong_type"
    assert reject_of(envelope | {"data_base64": "%"}).reason == "encoding"
    packed = base64.b64encode(gzip.compress(line(PLAIN))).decode()
    assert reject_of(envelope | {"data_base64": packed}).reason == "compressed"
    assert reject_of(envelope).reason == "missing_field"


# --- properties


def notations(ms: int) -> list[str | int | float]:
    """The same millisecond in the notation of other systems."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    abroad = moment.astimezone(timezone(timedelta(hours=5, minutes=30)))
    return [
        ms,
        ms * 1_000 + 999,
        *([ms * 1_000_000 + 999_999] if ms < 9_000_000_000_000 else []),
        f"{ms // 1000}.{ms % 1000:03d}",
        str(ms),
        *([ms // 1000] if ms % 1000 == 0 else []),
        float(ms),
        format_time(ms),
        moment.isoformat(),
        moment.isoformat(" ").removesuffix("+00:00"),
        abroad.isoformat(),
        moment.isoformat(timespec="microseconds").replace("+00:00", "z"),
    ]


@given(
    st.lists(st.integers(FIRST_EVENT_MS, 10**14 // 1_000 * 999), max_size=8),
    st.randoms(use_true_random=False),
)
def test_times_of_a_batch_are_read_in_any_order_and_notation(
    times: list[int], chance: random.Random
) -> None:
    wanted = [chance.choice((ms, -(-ms // 1_000) * 1_000)) for ms in times]
    # Fourteen digits that are a date and a time are no milliseconds, which would be in year 2595.
    wanted = [ms for ms in wanted if ms < 19_730_304_000_000]
    written = [chance.choice(notations(ms)) for ms in wanted]
    values = [line(PLAIN | {"timestamp": time}) for time in written]
    predictions, _, rejects = decode_predictions(values, range(len(values)))
    assert ([row.timestamp_ms for row in predictions], rejects) == (wanted, [])
    assert all(type(row.timestamp_ms) is int for row in predictions)
    values = [line(TRUTH | {"timestamp": time}) for time in written]
    truths, _, rejects = decode_truths(values, range(len(values)))
    assert ([row.timestamp_ms for row in truths], rejects) == (wanted, [])


@pytest.mark.parametrize(
    ("sent", "time"),
    [
        ("2026-01-05", "2026-01-05T00:00:00Z"),
        (20260105, "2026-01-05T00:00:00Z"),
        ("20260105", "2026-01-05T00:00:00Z"),
        (20260105103000, "2026-01-05T10:30:00Z"),
        ("20260105T103000Z", "2026-01-05T10:30:00Z"),
        ("2026-01-05 10:30:00", "2026-01-05T10:30:00Z"),
        ("2026-01-05T10:30:00,5", "2026-01-05T10:30:00.500Z"),
        ("2026-03-29T02:30:00+01:00", "2026-03-29T01:30:00Z"),  # an hour that DST leaves out
        (1767571200, "2026-01-05T00:00:00Z"),
        (1767571200.9999, "2026-01-05T00:00:00.999Z"),
        (1767571200000, "2026-01-05T00:00:00Z"),
        (1767571200000999, "2026-01-05T00:00:00Z"),
        (1767571200999999999, "2026-01-05T00:00:00.999Z"),
    ],
)
def test_time_in_a_form_of_other_systems(sent: Any, time: str) -> None:
    assert accepted(PLAIN | {"timestamp": sent}).timestamp_ms == parse_time(time)
    assert accepted_truth(TRUTH | {"timestamp": sent}).timestamp_ms == parse_time(time)


def test_a_time_is_converted_once() -> None:
    # Microseconds of the year 2595; as milliseconds they have the digits of 1973-03-04T00:31:00.
    event = PLAIN | {"timestamp": 19730304003100000}
    assert accepted(event).timestamp_ms == 19730304003100
    aliased = {"ts" if name == "timestamp" else name: value for name, value in event.items()}
    assert accepted(aliased).timestamp_ms == 19730304003100


def test_valid_tail_does_not_make_an_invalid_time_pass() -> None:
    texts = [
        "2026-11-21T10:00:00Z",
        "2026-11-21T10:00:00Z.123Z",
        "2026-11-21T10:00:0",
        "2026-11-21T10:00:00.123ZZ",
        "2026-11-21T10:00:00 Z00",
    ]
    rows, _, rejects = decode_predictions(
        [line(PLAIN | {"timestamp": text}) for text in texts], range(5)
    )
    assert (len(rows), len(rejects)) == (1, 4)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(0, 1),
    st.sampled_from(["", "ok", "error", "x", "2026-11-21T10:00:00Z"]),
)
values = st.one_of(
    scalars,
    st.lists(scalars, max_size=2),
    st.dictionaries(st.sampled_from("ab"), scalars, max_size=2),
)


@pytest.mark.parametrize(
    ("topic", "row", "base"),
    [("predictions", PredictionRow, PLAIN), ("ground-truth", TruthRow, TRUTH)],
)
@given(data=st.data())
def test_decoder_and_field_checks_agree_on_faults(
    topic: str, row: type, base: dict[str, Any], data: st.DataObject
) -> None:
    changed = data.draw(
        st.dictionaries(
            st.sampled_from(sorted(FIELD_CHECKS[topic])), values, min_size=1, max_size=3
        )
    )
    event = base | changed
    decode = decode_predictions if topic == "predictions" else decode_truths
    _, _, rejects = decode([line(event)], [0])
    fault = find_field_fault(event, topic, {})
    nothing_said = (
        topic == "predictions"
        and fault is None
        and event["prediction"] in (None, "")
        and not event.get("score")
        and not event.get("scores")
    )
    no_label = topic == "ground-truth" and fault is None and event["label"] in (None, "")
    if nothing_said or no_label:
        return  # conditions over several fields, tested above
    assert [reject.reason for reject in rejects] == ([fault[0]] if fault else [])
    # An unknown field makes the decoder go step by step; the verdict must be that of the plain way.
    assert [reject.reason for reject in decode([line(event | {"unknown": 0})], [0])[2]] == [
        reject.reason for reject in rejects
    ]
    if not rejects:
        assert decode([line(event | {"unknown": 0})], [0])[0] == decode([line(event)], [0])[0]


@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_rejected_and_never_raise(value: bytes) -> None:
    assert len(decode_predictions([value], [0])[2]) == len(decode_truths([value], [0])[2]) == 1


@given(st.data())
def test_damaged_event_is_accepted_or_rejected_and_never_raises(data: st.DataObject) -> None:
    value = bytearray(line(PLAIN | {"segment": {"plan": 1}, "extra": [1.5, None]}))
    for _ in range(data.draw(st.integers(1, 3))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    rows, indexes, rejects = decode_predictions([bytes(value)], [0])
    assert len(rows) == len(indexes) == 1 - len(rejects)


@given(
    st.one_of(
        st.text(),
        st.integers(-(2**63), 2**63 - 1),
        st.booleans(),
        st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_canonical_text_of_a_label_is_stable_when_sent_again(label: Any) -> None:
    assert label_text(label_text(label)) == label_text(label)
    if isinstance(label, float) and abs(label) < 2**63:
        assert float(label_text(label)) == label


# --- commands


COMMAND = {
    "command_id": "c1",
    "command": "promote",
    "model_name": "churn",
    "model_version": "2",
    "timestamp": AT_MS,
    "requested_by": "ann",
}


def test_command_is_decoded_with_its_time_as_rfc_3339() -> None:
    rows, indexes, rejects = decode_commands([line(COMMAND | {"note": "extra"})], [0])
    assert (indexes, rejects) == ([0], [])
    assert (rows[0].command, rows[0].timestamp, rows[0].params) == (
        "promote",
        "2026-11-21T10:00:00Z",
        {},
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"timestamp": None}, "missing_field"),
        ({"timestamp": "soon"}, "wrong_type"),
        ({"expected_revision": "3"}, "wrong_type"),
        ({"timestamp": AT_MS + 1}, "too_far_ahead"),
    ],
)
def test_invalid_command_is_rejected(change: dict[str, Any], reason: str) -> None:
    assert [
        reject.reason for reject in decode_commands([line(COMMAND | change)], [0], AT_MS)[2]
    ] == [reason]


def test_command_without_an_id_is_rejected() -> None:
    reject = decode_commands(
        [line({name: value for name, value in COMMAND.items() if name != "command_id"})], [4]
    )[2][0]
    assert reject.reason == "missing_field"
    assert "command_id" in reject.error
    assert reject.error.startswith("registry-commands@4: ")


@pytest.mark.parametrize(
    "field",
    [
        "prediction_id",
        "model_name",
        "model_version",
        "prediction",
        "segment",
        "features",
        "scores",
    ],
)
def test_texts_that_become_keys_have_at_most_1024_characters(field: str) -> None:
    def content(text: str) -> Any:
        return {
            "segment": {"country": text},
            "features": {text: 1.0},
            "scores": {text: 0.5},
        }.get(field, text)

    event = PLAIN | {field: content("é" * MAX_TEXT_CHARACTERS)}
    rows, _, rejects = decode_predictions([line(event)], [0])
    assert (len(rows), rejects) == (1, [])
    event = PLAIN | {field: content("é" * (MAX_TEXT_CHARACTERS + 1))}
    rows, _, (reject,) = decode_predictions([line(event)], [0])
    assert (rows, reject.reason) == ([], "too_large")
    assert "1,025 characters long, more than 1,024" in reject.error


def test_a_prediction_has_at_most_4096_features() -> None:
    names = [f"f{number}" for number in range(MAX_FEATURES + 1)]
    rows, _, rejects = decode_predictions(
        [line(PLAIN | {"features": dict.fromkeys(names[:-1], 1.0)})], [0]
    )
    assert (len(rows), rejects) == (1, [])
    for event in (
        PLAIN | {"features": dict.fromkeys(names, 1.0)},
        PLAIN | {"features": dict.fromkeys(names, 1.0), "unknown": "field"},
    ):
        rows, _, (reject,) = decode_predictions([line(event)], [0])
        assert (rows, reject.reason) == ([], "too_large")
        assert 'field "features" has 4,097 entries, more than 4,096' in reject.error


def test_texts_that_look_like_names_are_not_counted_as_features() -> None:
    text = '"a":' * (2 * MAX_FEATURES)
    row = accepted(PLAIN | {"features": {"note": text, "age": 41}})
    assert row.features == {"note": text, "age": 41}


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" , ", " : ")])
def test_fault_before_the_features_is_named_first_however_the_value_is_written(
    separators: tuple[str, str],
) -> None:
    event = PLAIN | {"features": dict.fromkeys(map(str, range(MAX_FEATURES + 1)), 1.0)}
    for sent, reason in (
        (event, "too_large"),
        (event | {"model_name": None}, "missing_field"),
        (event | {"score": 7}, "out_of_range"),
    ):
        value = json.dumps(sent, separators=separators).encode()
        _, _, (reject,) = decode_predictions([value], [0])
        assert reject.reason == reason
