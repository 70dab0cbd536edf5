"""The explanations behind `driftline schema validate`."""

import json

import pytest

from driftline.schemas.explain import EXPLAINED_TOPICS, explain

PREDICTION = {
    "inference_id": "a",
    "model": "churn",
    "version": "1",
    "ts": 1795255200000,
    "probability": 0.5,
    "host": "a17",
    "pid": 3,
}


def test_explanation_has_aliases_and_ignored_fields() -> None:
    explanation = explain(json.dumps(PREDICTION).encode(), "predictions")
    assert explanation.aliases == {
        "inference_id": "prediction_id",
        "model": "model_name",
        "version": "model_version",
        "ts": "timestamp",
        "probability": "score",
    }
    assert explanation.ignored == ("host", "pid")
    assert (explanation.reason, explanation.error, explanation.row.score) == (None, None, 0.5)


def test_rejected_value_is_explained_without_a_position() -> None:
    explanation = explain(json.dumps(PREDICTION | {"probability": 1.7}).encode(), "predictions")
    assert (explanation.reason, explanation.error, explanation.row) == (
        "out_of_range",
        'field "probability" (score) is 1.7, outside [0, 1]; if it is a percentage, send 0.017,'
        " if a logit, 1 / (1 + exp(-x))",
        None,
    )
    assert explanation.ignored == ("host", "pid")
    assert explain(b"{", "ticks").reason == "not_json"


def test_plain_value_has_no_aliases() -> None:
    explanation = explain(b'{"timestamp": 5}', "ticks")
    assert (explanation.aliases, explanation.ignored, explanation.error) == ({}, (), None)


def test_only_input_topics_can_be_explained() -> None:
    assert EXPLAINED_TOPICS == (
        "predictions",
        "ground-truth",
        "ticks",
        "registry-commands",
        "alert-commands",
        "worker-metrics",
        "job-runs",
    )
    with pytest.raises(ValueError, match="'metrics' is not an input topic"):
        explain(b"{}", "metrics")
