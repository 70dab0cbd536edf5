"""`driftline init --preset security`: its rules fire on generated events that break them, and none
fires on events as expected.
"""

from __future__ import annotations

import json
import logging
import random
import tomllib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import driftline
from driftline.agents.cli.program import driftline as program
from driftline.agents.configuration import checked_config
from driftline.schemas.config import load_config
from driftline.schemas.times import DAY_MS, HOUR_MS, MINUTE_MS, format_time
from driftline.streams.decide.tuner import build_tuner

START_MS = 1_772_323_200_000  # 2026-03-01T00:00:00Z
DAYS, BREAK_DAY, PER_HOUR = 11, 8, 40


@dataclass(frozen=True)
class Behavior:
    """How a model behaves: rates of both errors, 95 % quantile of latency, share that fails."""

    fpr: float
    fnr: float
    latency_ms: float
    errors: float


THRESHOLDS = {"n1-detector": 0.7, "waf-behavioral": 0.7, "queue-anomaly": 0.6}
GOOD = {
    "n1-detector": Behavior(fpr=0.05, fnr=0.08, latency_ms=35, errors=0.01),
    "waf-behavioral": Behavior(fpr=0.02, fnr=0.06, latency_ms=70, errors=0.01),
    "queue-anomaly": Behavior(fpr=0.09, fnr=0.12, latency_ms=20, errors=0.01),
}
BAD = dict.fromkeys(GOOD, Behavior(fpr=0.3, fnr=0.5, latency_ms=1600, errors=0.15))
PERFECT = {
    name: Behavior(fpr=0.0, fnr=0.0, latency_ms=each.latency_ms, errors=each.errors)
    for name, each in GOOD.items()
}
EVERY_MODEL = {
    ("false_positives", "warning"),
    ("latency_expected", "info"),
    ("latency", "warning"),
    ("error_rate", "critical"),
}
BROKEN = {
    "n1-detector": {("accuracy", "warning"), ("accuracy_10m", "critical")} | EVERY_MODEL,
    "waf-behavioral": {("accuracy", "critical"), ("accuracy_degraded", "critical")} | EVERY_MODEL,
    "queue-anomaly": {("accuracy", "warning")} | EVERY_MODEL,
}


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("preset")
    result = CliRunner().invoke(program, ["init", str(folder), "--preset", "security"])
    assert result.exit_code == 0, result.output
    assert [path.name for path in folder.iterdir()] == ["driftline.toml"]
    return folder / "driftline.toml"


def write_log(folder: Path, later: Mapping[str, Behavior]) -> None:
    """Eleven days of each model; from the ninth day on it behaves as in `later`."""
    chance = random.Random(20_260_301)
    predictions, truths = [], []
    for number in range(DAYS * 24 * PER_HOUR):
        at_ms = START_MS + number * HOUR_MS // PER_HOUR
        for model, threshold in THRESHOLDS.items():
            day = (at_ms - START_MS) // DAY_MS
            behavior = (later if day >= BREAK_DAY else GOOD)[model]
            is_anomaly = chance.random() < 0.3
            is_wrong = chance.random() < (behavior.fnr if is_anomaly else behavior.fpr)
            base = threshold if is_anomaly != is_wrong else 0.0
            width = 1 - threshold if base else threshold
            row: dict[str, Any] = {
                "prediction_id": f"{model}-{number}",
                "model_name": model,
                "model_version": "1.0.0",
                "timestamp": format_time(at_ms),
                # An exponential law with this 95 % quantile.
                "latency_ms": chance.expovariate(3.0 / behavior.latency_ms),
            }
            if chance.random() < behavior.errors:
                predictions.append(row | {"status": "error"})
                continue
            predictions.append(row | {"score": base + 0.999 * width * chance.random()})
            truths.append(
                {
                    "prediction_id": row["prediction_id"],
                    "timestamp": format_time(at_ms + 20 * MINUTE_MS),
                    "label": "anomaly" if is_anomaly else "normal",
                }
            )
    folder.mkdir()
    for name, rows in (("predictions", predictions), ("ground-truth", truths)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def fired(preset: Path, folder: Path, later: Mapping[str, Behavior]) -> dict[str, set[Any]]:
    """By model, rule and severity of each alert, and the day of the first record."""
    write_log(folder / "log", later)
    results = driftline.replay(folder / "log", config=preset, out=folder / "out")
    found: dict[str, set[Any]] = {model: set() for model in GOOD}
    for alert in results.alerts.structs():
        assert int(alert.at_ms) > START_MS + BREAK_DAY * DAY_MS, alert.summary
        found[alert.model_name].add((alert.rule, alert.severity))
    return found


def rules_of(preset: Path, model: str) -> set[str]:
    tables = tomllib.loads(preset.read_text())["models"][model]["rules"]
    return {table["name"] for table in tables}


def test_the_preset_loads_without_a_warning(preset: Path, caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        config = checked_config(preset)
    assert caplog.records == []
    tuners = {name: build_tuner(model) for name, model in config.models.items()}
    assert {name: (each.lowest, each.highest) for name, each in tuners.items()} == {
        "n1-detector": (0.5, 0.9),
        "waf-behavioral": (0.5, 0.9),
        "queue-anomaly": (0.4, 0.8),
    }
    assert {name: model.threshold for name, model in config.models.items()} == THRESHOLDS


def test_a_preset_is_not_written_over_a_file(preset: Path) -> None:
    result = CliRunner().invoke(program, ["init", str(preset.parent), "--preset", "security"])
    assert result.exit_code == 2
    assert "overwrite it with --force" in result.output
    assert load_config(preset).models.keys() == GOOD.keys()


def test_no_alert_fires_while_the_models_are_as_expected(preset: Path, tmp_path: Path) -> None:
    assert fired(preset, tmp_path, GOOD) == {model: set() for model in GOOD}


def test_each_rule_fires_on_its_breach(preset: Path, tmp_path: Path) -> None:
    found = fired(preset, tmp_path, BAD)
    for model, expected in BROKEN.items():
        names = rules_of(preset, model)
        assert {each for each in found[model] if each[0] in names} == expected
        assert names - {name for name, _ in expected} == {"accuracy_high"}


def test_an_accuracy_above_its_band_is_told(preset: Path, tmp_path: Path) -> None:
    found = fired(preset, tmp_path, PERFECT)
    for model in GOOD:
        names = rules_of(preset, model)
        assert {each for each in found[model] if each[0] in names} == {("accuracy_high", "info")}
