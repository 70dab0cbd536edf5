"""Columns of decoded rows: fingerprints identify content, and rows do not affect each other."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.schemas.aliases import ALIASES
from driftline.schemas.decode import decode_predictions, decode_truths
from driftline.schemas.times import FIRST_EVENT_MS, LAST_PLAIN_MS, format_time
from driftline.streams.columns import UNLABELLED, GroundTruthColumns, PredictionColumns
from tests.streams.named_rows import mappings_of

PLAIN: dict[str, Any] = {
    "prediction_id": "a",
    "model_name": "churn",
    "model_version": "1",
    "timestamp": 1_700_000_000_000,
    "prediction": "yes",
}
FULL = PLAIN | {
    "score": 1,
    "scores": {"yes": 1.0, "no": 0},
    "threshold": 0.5,
    "features": {"b": 2, "a": 1.5, "c": "x", "d": None, "e": True},
    "segment": {"plan": "pro", "country": "de"},
    "latency_ms": 3,
    "status": "error",
    "environment": "production",
    "variant": "b",
    "tags": {"y": 1, "x": "2"},
}


def columns(*events: dict[str, Any] | str) -> PredictionColumns:
    values = [(event if isinstance(event, str) else json.dumps(event)).encode() for event in events]
    rows, _, rejects = decode_predictions(values, range(len(values)))
    assert not rejects
    return PredictionColumns.of(rows, np.arange(len(rows)), lambda model: None)


def fingerprint(event: dict[str, Any] | str) -> int:
    return int(columns(event).fingerprint[0])


@given(st.randoms(use_true_random=False), st.integers(FIRST_EVENT_MS, LAST_PLAIN_MS))
def test_fingerprint_does_not_depend_on_the_spelling_of_the_content(
    chance: random.Random, ms: int
) -> None:
    items = [
        (name, list(value.items()) if isinstance(value, dict) else value)
        for name, value in FULL.items()
        if name != "timestamp"
    ]
    items.append(("timestamp", chance.choice([ms, format_time(ms)])))
    chance.shuffle(items)
    names = {
        name: chance.choice(
            [name, *(alias for alias, of in ALIASES["predictions"].items() if of == name)]
        )
        for name, _ in items
    }
    other = {
        names[name]: dict(chance.sample(value, len(value))) if isinstance(value, list) else value
        for name, value in items
    }
    text = json.dumps(
        other, indent=chance.choice([None, 1]), ensure_ascii=chance.random() < 0.5
    ).replace('"score": 1,', '"score": 1.0,')
    assert fingerprint(text) == fingerprint(FULL | {"timestamp": ms})


@pytest.mark.parametrize(
    "change",
    [
        {"timestamp": 1_700_000_000_001},
        {"prediction": "no"},
        {"prediction": "yes "},
        {"prediction": None, "score": 0.0},
        {"score": 0.0},
        {"score": 0.5},
        {"scores": {"yes": 1.0}},
        {"threshold": 0.5},
        {"features": {"a": 1}},
        {"features": {"a": 1.5}},
        {"features": {"b": 1}},
        {"segment": {"plan": "pro"}},
        {"latency_ms": 0.5},
        {"status": "error"},
        {"environment": "b"},
        {"variant": "b"},
        {"tags": {"plan": "pro"}},
    ],
    ids=str,
)
def test_different_content_has_a_different_fingerprint(change: dict[str, Any]) -> None:
    assert fingerprint(PLAIN | change) != fingerprint(PLAIN)


def test_the_same_value_in_another_field_has_a_different_fingerprint() -> None:
    half = [{"score": 0.5}, {"threshold": 0.5}, {"latency_ms": 0.5}]
    texts = [
        {"environment": "b"},
        {"variant": "b"},
        {"tags": {"plan": "b"}},
        {"segment": {"plan": "b"}},
    ]
    assert len({fingerprint(PLAIN | change) for change in half + texts}) == len(half + texts)


NAMED: list[dict[str, Any]] = [
    {},
    {"features": {"a": 1, "b": 2}},
    {"features": {"a": 2, "b": 1}},
    {"features": {"a": 1, "c": 2}},
    {"features": {"a": 1}},
    {"features": {"b": 2}},
    {"features": {"a": "1", "b": 2}},
    {"features": {"a": "1", "b": "2"}},
    {"features": {"a": "2", "b": "1"}},
    {"features": {"a": "1"}},
    {"segment": {"a": "1"}},
    {"segment": {"a": "1", "b": "2"}},
    {"features": {"a": 0}},
    {"features": {"b": 0}},
    {"features": {"a": ""}},
    {"features": {"a": True}},
]


def test_different_named_values_have_different_fingerprints_whatever_the_other_rows() -> None:
    together = columns(*(PLAIN | named for named in NAMED)).fingerprint.tolist()
    assert len(set(together)) == len(NAMED)
    assert together == [fingerprint(PLAIN | named) for named in NAMED]


values = (
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3)
)
mappings = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


@given(mappings, mappings)
def test_fingerprints_are_equal_exactly_if_the_named_values_are(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    both = columns(PLAIN | {"features": one}, PLAIN | {"features": other})
    first, second = (
        {name: repr(value) for name, value in row.items()} for row in mappings_of(both.features)
    )  # -0.0 is not 0.0
    assert (both.fingerprint[0] == both.fingerprint[1]) == (first == second)


def test_columns_of_a_row_do_not_depend_on_the_other_rows() -> None:
    events = [
        PLAIN,
        FULL,
        PLAIN | {"prediction": None, "score": 0.2},
        PLAIN | {"model_name": "fraud", "status": "error"},
    ]
    together = columns(*events)
    for at, event in enumerate(events):
        alone, row = columns(event), together.take(np.array([at]))
        assert row.names[int(row.name[0])] == alone.names[0]
        assert row.ids == alone.ids
        assert (
            row.label[0] == alone.label[0] == UNLABELLED
            or row.labels[int(row.label[0])] == alone.labels[0]
        )
        for field in ("timestamp_ms", "score", "threshold", "latency_ms", "failed", "fingerprint"):
            assert np.array_equal(
                getattr(row, field),
                getattr(alone, field),
                equal_nan=field in ("score", "threshold", "latency_ms"),
            )
        assert (mappings_of(row.features), mappings_of(row.segments)) == (
            mappings_of(alone.features),
            mappings_of(alone.segments),
        )


def test_no_rows_give_empty_columns() -> None:
    empty = PredictionColumns.of([], np.zeros(0, np.int64), lambda model: None)
    assert len(empty) == len(empty.fingerprint) == len(empty.names) == 0


def test_label_of_a_retraction_is_no_label() -> None:
    truths = [{"label": "yes"}, {"retracted": True}, {"label": "yes"}, {"label": "-"}]
    values = [
        json.dumps({"prediction_id": str(i), "timestamp": 1_700_000_000_000, **truth}).encode()
        for i, truth in enumerate(truths)
    ]
    columns_ = GroundTruthColumns.of(decode_truths(values, range(4))[0], np.arange(4))
    assert [
        None if code == UNLABELLED else columns_.labels[code] for code in columns_.label.tolist()
    ] == [
        "yes",
        None,
        "yes",
        "-",
    ]
