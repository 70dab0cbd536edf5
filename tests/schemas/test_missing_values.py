"""Missing, nested and integer values of events: what is accepted, as what, and what is said."""

import json
from typing import Any

import pytest

from driftline.schemas.decode import decode_predictions, decode_truths
from driftline.schemas.rejects import RowNote
from driftline.schemas.rows import PredictionRow

EVENT = {
    "prediction_id": "a",
    "model_name": "m",
    "model_version": "1",
    "timestamp": 1_795_255_200_000,
    "score": 0.5,
}
NAN, INFINITY = float("nan"), float("inf")


def decoded(change: dict[str, Any]) -> tuple[PredictionRow, list[RowNote]]:
    notes: list[RowNote] = []
    value = json.dumps(EVENT | change).encode()
    (row,), _, rejects = decode_predictions([value], [7], notes=notes)
    assert not rejects
    return row, notes


@pytest.mark.parametrize(
    ("features", "read"),
    [
        ({"income": NAN}, {"income": None}),
        ({"income": NAN, "age": 41, "plan": "NaN"}, {"income": None, "age": 41, "plan": "NaN"}),
        ({"a": NAN, "b": NAN}, {"a": None, "b": None}),
        ({"a": None, "b": True}, {"a": None, "b": True}),
    ],
    ids=str,
)
def test_nan_among_features_is_missing_and_the_prediction_counts(
    features: dict[str, Any], read: dict[str, Any]
) -> None:
    row, notes = decoded({"features": features})
    assert (row.score, row.features, notes) == (0.5, read, [])


@pytest.mark.parametrize(
    ("features", "read", "said"),
    [
        ({"emb": [0.1, 0.2], "age": 3}, {"age": 3}, '"emb" is an array'),
        ({"emb": [NAN], "age": NAN}, {"age": None}, '"emb" is an array'),
        ({"geo": {"lat": 1.5}}, {}, '"geo" is an object'),
        ({"a": [], "b": {}, "c": "x"}, {"c": "x"}, '"a" is an array, and 1 more'),
        ({"ratio": INFINITY}, {"ratio": None}, '"ratio" is infinite'),
        ({"ratio": -INFINITY, "x": 1}, {"ratio": None, "x": 1}, '"ratio" is infinite'),
        ({"big": 10**400}, {"big": None}, '"big" is infinite, or beyond the range'),
    ],
    ids=str,
)
def test_nested_and_infinite_features_are_left_out_with_a_sentence(
    features: dict[str, Any], read: dict[str, Any], said: str
) -> None:
    row, notes = decoded({"features": features})
    assert (row.score, row.features) == (0.5, read)
    assert [(note.row, note.reason) for note in notes] == [(0, "left_out_feature")]
    assert notes[0].error.startswith(f'predictions@7: field "features": {said}')


def test_numbers_beyond_floats_in_json_text_are_missing() -> None:
    value = json.dumps(EVENT).encode()[:-1] + b', "features": {"x": 1e400, "y": 2}}'
    notes: list[RowNote] = []
    (row,), _, rejects = decode_predictions([value], [0], notes=notes)
    assert (row.features, rejects, len(notes)) == ({"x": None, "y": 2}, [], 1)


@pytest.mark.parametrize(
    ("change", "field", "read"),
    [
        ({"segment": {"plan": None, "region": "eu"}}, "segment", {"region": "eu"}),
        ({"segment": {"plan": NAN, "tier": 3}}, "segment", {"tier": "3"}),
        ({"segment": {"plan": None}}, "segment", None),
        ({"tags": {"team": NAN, "run": 17}}, "tags", {"run": "17"}),
        ({"tags": {"team": None}}, "tags", None),
    ],
    ids=str,
)
def test_null_and_nan_in_segment_and_tags_are_missing(
    change: dict[str, Any], field: str, read: Any
) -> None:
    row, _ = decoded(change)
    assert getattr(row, field) == read


@pytest.mark.parametrize("field", ["prediction_id", "model_name", "model_version"])
@pytest.mark.parametrize("number", [0, 7, -3, 123, 2**53 + 1, 2**63, 2**64, 10**25, 2**128 - 1])
def test_integers_are_the_ids_and_names_of_their_digits(field: str, number: int) -> None:
    row, _ = decoded({field: number})
    assert getattr(row, field) == str(number)
    assert row == decoded({field: str(number)})[0]


def test_integer_ids_of_both_sides_meet() -> None:
    truth = {"prediction_id": 123, "timestamp": 1_795_255_200_000, "label": 1}
    (row,), _, rejects = decode_truths([json.dumps(truth).encode()], [0])
    assert (row.prediction_id, rejects) == ("123", [])
    both = json.dumps(truth | {"request_id": "123"}).encode()
    assert decode_truths([both], [0])[0] == [row]


@pytest.mark.parametrize(
    "name", ["007", " a", "a ", "a/b", "100%", "é", "e\u0301", "😀", "\x1b[31m"]
)
def test_text_ids_are_kept_to_the_last_character(name: str) -> None:
    row, _ = decoded({"prediction_id": name, "model_name": name})
    assert (row.prediction_id, row.model_name) == (name, name)


def test_integer_of_thousands_of_digits_is_rejected_with_a_reason() -> None:
    for digits in (1_100, 5_000):
        value = json.dumps(EVENT).encode().replace(b'"a"', b"9" * digits)
        rows, _, (reject,) = decode_predictions([value], [0])
        assert rows == []
        assert reject.reason in ("too_large", "out_of_range"), reject.error


def test_nan_in_a_field_that_is_ignored_rejects_nothing() -> None:
    row, notes = decoded({"other": NAN, "more": [INFINITY]})
    assert (row.score, notes) == (0.5, [])
