"""Every setting has an effect of its change, and recorded settings are those of the file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from driftline.schemas.config import MODEL_KEYS, STREAM_KEYS, parse_config
from driftline.schemas.kafka_settings import KAFKA_KEYS, KafkaSettings
from driftline.schemas.redis_settings import REDIS_KEYS, RedisSettings
from driftline.schemas.setting_changes import (
    DERIVED,
    KAFKA,
    MODEL,
    REDIS,
    RUN,
    changes_of,
    changes_table,
    decisions_of,
    differences,
    recorded_settings,
    settings_toml,
    with_decisions,
)
from driftline.schemas.settings import Config, ModelConfig
from tests.setting_values import CHANGES, VALUES, document

OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
GROUPS = (
    (
        Config,
        STREAM_KEYS,
        RUN,
        {"defaults", "models", "kafka", "notifications", "redis", "path", *DERIVED},
    ),
    (
        ModelConfig,
        MODEL_KEYS,
        MODEL,
        {"rules_path", "tuner_path", "policy_path", "responses_path", "subject"},
    ),
    (KafkaSettings, KAFKA_KEYS, KAFKA, set()),
    (RedisSettings, REDIS_KEYS, REDIS, set()),
)


@pytest.mark.parametrize(("kind", "keys", "effects", "no_settings"), GROUPS)
def test_every_field_of_the_settings_has_a_key_and_every_key_an_effect(
    kind, keys, effects, no_settings
) -> None:
    attributes = {attribute for attribute, _ in keys.values()}
    assert attributes | no_settings == set(kind.__struct_fields__)
    assert {key for key in effects if "." not in key} == set(keys)


def test_the_values_of_the_tests_change_every_setting() -> None:
    groups = (("run", RUN), ("models.churn", MODEL), ("kafka", KAFKA), ("redis", REDIS))
    paths = {f"{table}.{key}" for table, effects in groups for key in effects}
    assert set(CHANGES) == paths
    before = parse_config(document())
    for path, change in CHANGES.items():
        assert parse_config(document(change)) != before, path


def test_the_table_of_the_documents_is_the_one_in_the_code() -> None:
    found = re.search(
        r"\| setting \| changed between two starts with state \|\n(?:\|.*\n)+",
        OPERATIONS.read_text(encoding="utf-8"),
    )
    assert found is not None
    assert found[0] == changes_table()


@pytest.mark.parametrize(
    "path", [path for path in CHANGES if not path.startswith(("kafka.", "redis."))]
)
def test_a_change_is_found_with_its_path_and_both_values(path: str) -> None:
    before = recorded_settings(parse_config(document()))
    now = recorded_settings(parse_config(document(CHANGES[path])))
    table, key = re.fullmatch(r"(run|models\.churn)\.(.+)", path).groups()
    (change,) = [each for each in changes_of(before, now, ["churn"]) if each.path == path]
    assert change.effect == (RUN if table == "run" else MODEL)[key]
    assert change.before != change.now
    assert any(path in text for text in differences(before, now))
    if path in VALUES and key not in ("maturity", "tuner", "rules", "reference"):
        was, is_now = VALUES[path]
        assert str(change) == f"{path} was {was}, is now {is_now}"


def test_settings_of_a_model_that_was_not_counted_may_change() -> None:
    before = recorded_settings(parse_config(""))
    now = recorded_settings(
        parse_config('[models.churn]\npositive_label = "no"\nthreshold = 0.9\nwindows = ["3h"]')
    )
    assert changes_of(before, now, ["fraud", ""]) == []
    paths = [change.path for change in changes_of(before, now, ["churn"])]
    assert paths == [
        "models.churn.windows",
        "models.churn.positive_label",
        "models.churn.threshold",
        "models.churn.detection_window",
    ]


def test_changed_defaults_concern_the_counted_models_that_use_them() -> None:
    own = "[models.churn]\nthreshold = 0.4\n"
    before = recorded_settings(parse_config(f"defaults.threshold = 0.5\n{own}"))
    now = recorded_settings(parse_config(f"defaults.threshold = 0.6\n{own}"))
    assert changes_of(before, now, ["", "churn"]) == []
    (change,) = changes_of(before, now, ["", "churn", "fraud", "digits"])
    assert str(change) == "defaults.threshold was 0.5, is now 0.6"


def test_truths_without_a_prediction_are_counted_by_the_default_windows_and_ladder() -> None:
    before = recorded_settings(parse_config(""))
    now = recorded_settings(parse_config('[defaults]\nlabel_horizon = "14d"'))
    paths = [change.path for change in changes_of(before, now, [""])]
    assert paths == ["defaults.maturity", "defaults.label_horizon"]


@pytest.mark.parametrize(
    ("added", "message"),
    [
        (
            '[models.new]\nwindows = ["10m"]',
            'the pane, which divides all windows of all models, was "1h", is now "10m"',
        ),
        (
            '[models.new]\nsegments = ["plan"]',
            'the list of all segments of all models was [], is now ["plan"]',
        ),
    ],
)
def test_a_new_model_that_changes_the_layout_for_all_is_refused(added: str, message: str) -> None:
    before, now = recorded_settings(Config()), recorded_settings(parse_config(added))
    (change,) = changes_of(before, now, ["churn"])
    assert (change.effect, str(change)) == ("refused", message)


@pytest.mark.parametrize("path", [None, *CHANGES])
def test_a_file_with_recorded_settings_has_the_same_settings(path: str | None) -> None:
    config = parse_config(document(CHANGES[path] if path else None))
    recorded = recorded_settings(config, partitions=True)
    again = parse_config(settings_toml(recorded))
    assert recorded_settings(again, partitions=True) == recorded
    assert again.for_model("churn").rules == config.for_model("churn").rules


def test_a_file_with_recorded_settings_keeps_odd_names_and_texts() -> None:
    text = (
        '[defaults]\nreference = { from = "2025-06-02T00:00:00Z", to = "2025-06-03T00:00:00Z" }\n'
        '[models."a \\"b\\"\\n\\u007f"]\nsegments = ["x.y", "\\u007f"]\npositive_label = "\\\\é"\n'
        '[[models."a \\"b\\"\\n\\u007f".rules]]\ntype = "threshold"\nname = "low"\n'
        'metric = "f1"\nbelow = 1e-7\n'
    )
    config = parse_config(text)
    again = parse_config(settings_toml(recorded_settings(config)))
    assert again.models['a "b"\n\x7f'].rules[0]["below"] == 1e-7
    assert recorded_settings(again) == recorded_settings(config)


def test_decisions_of_a_model_can_be_put_in_place_of_others() -> None:
    model = parse_config(document(CHANGES["models.churn.rules"])).for_model("churn")
    recorded = recorded_settings(parse_config(document()))
    other = with_decisions(model, decisions_of(recorded, "churn"))
    assert (model.rules[0]["name"], other.rules) == ("low", ())
    assert other.tuner == {"min_labels": 100}
