"""The published documents are current, valid, and match real events."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from driftline.schemas.json_schema import asyncapi, documents, write_all
from driftline.schemas.results import RegistryEffect, WindowFigures, decoder, encode
from driftline.schemas.topics import TOPICS

PUBLISHED = Path(__file__).resolve().parents[2] / "docs" / "schemas"

PREDICTION = {
    "prediction_id": "a",
    "model_name": "churn",
    "model_version": "1.4.2",
    "timestamp": "2026-11-21T10:00:00Z",
}
METRIC = """
{"model_name":"churn","model_version":"1.4.2","segment":"plan=pro","lane":"decisions","window":"1h","kind":"tumbling",
 "window_start":"2026-11-21T10:00:00Z","window_end":"2026-11-21T11:00:00Z","maturity":"1d",
 "final":false,"provisional":false,"revision":3,"registry_revision":12,
 "n_predictions":2107,"n":1842,"label_coverage":0.874,"completeness":0.93,
 "labels":["no","yes"],"matrix":[[1210,60],[121,451]],"tn":1210,"fp":60,"fn":121,"tp":451,
 "metrics":{"accuracy":0.9017,"f1":0.8329},"ci":{"accuracy":[0.887,0.915]},"bounds":{"accuracy":[0.788,0.914]},
 "complete_at":"2026-11-22T11:00:00Z"}
"""


def validator(topic: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(documents()[f"{topic}.schema.json"]))


def test_published_documents_are_current() -> None:
    published = {path.name: path.read_text(encoding="utf-8") for path in PUBLISHED.glob("*.json")}
    assert published == documents(), "run: python -m driftline.schemas.json_schema docs/schemas"


def test_written_documents_equal_the_published_ones(tmp_path: Path) -> None:
    assert {
        path.name: path.read_text(encoding="utf-8") for path in write_all(tmp_path / "new")
    } == documents()


@pytest.mark.parametrize("name", [name for name in documents() if name.endswith(".schema.json")])
def test_every_schema_is_valid(name: str) -> None:
    Draft202012Validator.check_schema(json.loads(documents()[name]))


@pytest.mark.parametrize(
    ("topic", "event"),
    [
        ("predictions", PREDICTION | {"prediction": "yes"}),
        (
            "predictions",
            PREDICTION
            | {
                "timestamp": 1,
                "score": 0.5,
                "segment": {"plan": "pro"},
                "features": {"age": None},
                "extra": 1,
            },
        ),
        ("predictions", PREDICTION | {"status": "error"}),
        ("ground-truth", {"prediction_id": "a", "label": 1, "timestamp": 1, "revision": 2}),
        ("ground-truth", {"prediction_id": "a", "retracted": True, "timestamp": 1}),
        ("ticks", {"timestamp": "2026-11-21T10:00:00Z"}),
        ("metrics", json.loads(METRIC)),
        (
            "registry-effects",
            json.loads(
                encode(
                    RegistryEffect(model_name="churn", revision=1, frontier="2026-11-21T10:00:00Z")
                )
            ),
        ),
    ],
)
def test_valid_event_matches_its_schema(topic: str, event: dict[str, Any]) -> None:
    validator(topic).validate(event)


@pytest.mark.parametrize(
    ("topic", "event"),
    [
        ("predictions", PREDICTION),
        ("predictions", PREDICTION | {"prediction": None}),
        ("predictions", PREDICTION | {"score": 1.7}),
        ("predictions", {"prediction_id": "a", "prediction": "yes"}),
        ("ground-truth", {"prediction_id": "a", "timestamp": 1}),
        ("ground-truth", {"prediction_id": "a", "label": 1, "timestamp": -1}),
        ("metrics", json.loads(METRIC) | {"lane": "fast"}),
    ],
)
def test_invalid_event_does_not_match_its_schema(topic: str, event: dict[str, Any]) -> None:
    assert not validator(topic).is_valid(event)


def test_window_figures_of_the_design_are_read_and_written_back_field_by_field() -> None:
    metric = decoder(WindowFigures).decode(METRIC)
    assert json.loads(encode(metric)) == json.loads(METRIC)
    assert list(json.loads(encode(metric))) == list(json.loads(METRIC))
    assert metric.key() == "churn/1.4.2/plan=pro/decisions/1h/1d/2026-11-21T10:00:00Z"


def test_every_reference_in_the_asyncapi_document_resolves() -> None:
    document = asyncapi()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if "$ref" in value:
                reference = value["$ref"]
                if reference.startswith("./"):
                    assert reference.removeprefix("./") in documents()
                else:
                    target: Any = document
                    for part in reference.removeprefix("#/").split("/"):
                        target = target[part]
            for element in value.values():
                walk(element)
        elif isinstance(value, list):
            for element in value:
                walk(element)

    walk(document)


def test_asyncapi_document_has_every_published_topic_and_every_dead_letter_topic() -> None:
    inputs = {f"{topic.name}.dlq" for topic in TOPICS.values() if topic.stage == "input"}
    assert (
        set(asyncapi()["channels"])
        == {topic.name for topic in TOPICS.values() if topic.type} | inputs
    )
