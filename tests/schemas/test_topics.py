"""The table of topics, and the keys of their records."""

import msgspec
import pytest

from driftline.schemas.results import (
    Alert,
    Drift,
    Expected,
    Histogram,
    Outcome,
    Recommendation,
    ReferenceProfile,
    RegistryCommand,
    RegistryEffect,
    RegistryEntry,
    RegistryEvent,
    WindowFigures,
    decoder,
    encode,
)
from driftline.schemas.times import DAY_MS, EpochMs
from driftline.schemas.topics import TOPICS, dlq_name

START = "2026-11-21T00:00:00Z"
SERIES = {"model_name": "churn", "model_version": "1.4.2", "segment": "plan=pro"}
WINDOW = {
    "window": "7d/1d",
    "window_start_ms": EpochMs.of(START),
    "window_end_ms": EpochMs.of("2026-11-28T00:00:00Z"),
    "registry_revision": 1,
}


def metric(**changes: object) -> WindowFigures:
    fields = {
        **SERIES,
        **WINDOW,
        "lane": "decisions",
        "kind": "sliding",
        "maturity": "1d",
        "final": True,
        "provisional": False,
        "revision": 1,
        "n_predictions": 0,
        "n": 0,
        "label_coverage": None,
        "completeness": None,
        "metrics": {},
        "complete_at_ms": EpochMs.of(START),
    }
    return WindowFigures(**fields | changes)


KEYS = [
    (metric(), "churn/1.4.2/plan=pro/decisions/7d%2F1d/1d/2026-11-21T00:00:00Z"),
    (
        metric(lane="traffic", maturity=None),
        "churn/1.4.2/plan=pro/traffic/7d%2F1d/-/2026-11-21T00:00:00Z",
    ),
    (
        metric(model_name="a/b c"),
        "a%2Fb%20c/1.4.2/plan=pro/decisions/7d%2F1d/1d/2026-11-21T00:00:00Z",
    ),
    (
        Histogram(
            **SERIES,
            **WINDOW,
            lane="decisions",
            maturity="1d",
            final=True,
            labels=[],
            positive_label=None,
            fit={},
            holdout={},
        ),
        "churn/1.4.2/plan=pro/decisions/7d%2F1d/1d/2026-11-21T00:00:00Z",
    ),
    (
        Drift(
            **SERIES,
            **WINDOW,
            target="feature:age",
            method="psi",
            covered_share=1.0,
            statistic=0.1,
            p_value=None,
            level="none",
            effect=None,
            n_reference=1,
            n_current=1,
            n_effective=None,
            reference_id=None,
        ),
        "churn/1.4.2/plan=pro/feature:age/psi/7d%2F1d/2026-11-21T00:00:00Z",
    ),
    (
        Alert(
            **SERIES,
            fingerprint="f",
            alert_id="a",
            group_id="a",
            rule="f1_low",
            status="firing",
            change="firing",
            severity="warning",
            summary="s",
            starts_at_ms=EpochMs.of(START),
            at_ms=EpochMs.of(START),
        ),
        "churn/1.4.2/plan=pro/f1_low",
    ),
    (
        Recommendation(
            recommendation_id="r",
            model_name="churn",
            model_version="1.4.2",
            action="set_threshold",
            params={},
            expected=Expected(metric="f1", from_=0.5, to=0.6),
            evidence={},
            reason="",
            status="open",
            at_ms=EpochMs.of(START),
        ),
        "churn/1.4.2",
    ),
    (
        Outcome(
            prediction_id="p",
            model_name="churn",
            model_version="1.4.2",
            timestamp_ms=EpochMs.of(START),
            known_at_ms=EpochMs.of(START),
            prediction="yes",
            label="no",
            correct=False,
            delay_ms=0,
        ),
        "churn/1.4.2",
    ),
    (
        RegistryCommand(
            command_id="c",
            command="promote",
            model_name="churn",
            timestamp=START,
            requested_by="ann",
        ),
        "churn",
    ),
    (
        RegistryEvent(
            event="promoted",
            model_name="churn",
            revision=1,
            command_id="c",
            at=START,
            requested_by="ann",
        ),
        "churn",
    ),
    (RegistryEffect(model_name="churn", revision=1, frontier=START), "churn"),
    (
        RegistryEntry(model_name="churn", model_version="1.4.2", stage="production", revision=1),
        "churn/1.4.2",
    ),
    (
        ReferenceProfile(
            model_name="churn",
            reference_id="1.4.2@2026-11-21",
            created_at=START,
            span=None,
            profile={},
        ),
        "churn/1.4.2@2026-11-21",
    ),
]


@pytest.mark.parametrize(("value", "key"), KEYS, ids=lambda value: type(value).__name__)
def test_key_identifies_the_subject_of_the_value(value: WindowFigures, key: str) -> None:
    assert value.key() == key


@pytest.mark.parametrize(
    "value", [value for value, _ in KEYS], ids=lambda value: type(value).__name__
)
def test_result_is_read_back_as_written_on_one_line(value: msgspec.Struct) -> None:
    written = encode(value)
    assert b"\n" not in written
    assert decoder(type(value)).decode(written) == value


def test_equal_results_have_equal_bytes_whatever_the_order_of_their_mappings() -> None:
    assert encode(metric(metrics={"f1": 0.1, "accuracy": 0.2})) == encode(
        metric(metrics={"accuracy": 0.2, "f1": 0.1})
    )


def test_recommendation_has_fields_from_and_to() -> None:
    assert (
        encode(Expected(metric="f1", from_=0.5, to=None))
        == b'{"metric":"f1","from":0.5,"to":null,"ci":null}'
    )


def test_table_has_the_topics_of_the_design() -> None:
    assert {
        name: (topic.partitions, topic.cleanup, topic.retention_ms)
        for name, topic in TOPICS.items()
    } == {
        "predictions": (8, "delete", 7 * DAY_MS),
        "ground-truth": (8, "delete", 30 * DAY_MS),
        "ticks": (8, "delete", 7 * DAY_MS),
        "window-partials": (4, "delete", 7 * DAY_MS),
        "outcomes": (4, "delete", 30 * DAY_MS),
        "metrics": (4, "compact,delete", 30 * DAY_MS),
        "histograms": (4, "compact,delete", 30 * DAY_MS),
        "drift": (4, "compact,delete", 30 * DAY_MS),
        "alerts": (4, "compact,delete", 30 * DAY_MS),
        "alert-commands": (4, "delete", 30 * DAY_MS),
        "alert-events": (4, "delete", None),
        "notifications": (4, "delete", 30 * DAY_MS),
        "recommendations": (4, "delete", 30 * DAY_MS),
        "worker-metrics": (4, "delete", 30 * DAY_MS),
        "job-runs": (4, "delete", 30 * DAY_MS),
        "registry-commands": (4, "delete", 30 * DAY_MS),
        "registry-events": (4, "delete", None),
        "registry-effects": (4, "delete", None),
        "registry": (4, "compact", None),
        "actions": (4, "delete", 30 * DAY_MS),
        "model-labels": (4, "compact", None),
        "model-rules": (4, "compact", None),
        "rule-windows": (4, "compact", None),
        "reference-profiles": (4, "compact", None),
    }
    assert dlq_name("ground-truth") == "ground-truth.dlq"
