"""`driftline init --preset security`: its rules fire on generated events that break them, and none
fires on events as expected.
"""

from __future__ import annotations

import json
import logging
import random
import tomllib
import warnings
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import driftline
from driftline.agents.cli.program import driftline as program
from driftline.agents.configuration import checked_config
from driftline.schemas.config import load_config
from driftline.schemas.results import Alert
from driftline.schemas.times import DAY_MS, HOUR_MS, MINUTE_MS, format_time
from driftline.streams.decide.tuner import build_tuner

START_MS = 1_772_323_200_000  # 2026-03-01T00:00:00Z
DAYS, BREAK_DAY, PER_HOUR = 5, 3, 40


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
LATER = {"as expected": GOOD, "worse": BAD, "too good": PERFECT}
"""By version, how the models behave from the fourth day on."""
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


def write_log(folder: Path) -> None:
    """Five days of each version of each model; from the fourth day on it behaves as in `LATER`."""
    chance = random.Random(20_260_301)
    predictions, truths = [], []
    for number in range(DAYS * 24 * PER_HOUR):
        at_ms = START_MS + number * HOUR_MS // PER_HOUR
        is_later = at_ms >= START_MS + BREAK_DAY * DAY_MS
        for version, model in product(LATER, THRESHOLDS):
            behavior = (LATER[version] if is_later else GOOD)[model]
            is_anomaly = chance.random() < 0.3
            row: dict[str, Any] = {
                "prediction_id": f"{model}-{version}-{number}",
                "model_name": model,
                "model_version": version,
                "timestamp": format_time(at_ms),
                # An exponential law with this 95 % quantile.
                "latency_ms": chance.expovariate(3.0 / behavior.latency_ms),
            }
            if chance.random() < behavior.errors:
                predictions.append(row | {"status": "error"})
                continue
            is_wrong = chance.random() < (behavior.fnr if is_anomaly else behavior.fpr)
            threshold = THRESHOLDS[model]
            low, high = (threshold, 1.0) if is_anomaly != is_wrong else (0.0, threshold - 0.001)
            predictions.append(row | {"score": chance.uniform(low, high)})
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


@pytest.fixture(scope="module")
def alerts(preset: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Alert]:
    """The alerts of a replay; the first two days are the reference, in place of a week."""
    folder = tmp_path_factory.mktemp("run")
    write_log(folder / "log")
    text = preset.read_text()
    assert text.count('reference = "7d"') == 1
    config = folder / "driftline.toml"
    config.write_text(text.replace('reference = "7d"', 'reference = "2d"'))
    results = driftline.replay(folder / "log", config=config, out=folder / "out")
    return list(results.alerts.structs())


def fired(alerts: list[Alert], version: str, model: str) -> set[tuple[str, str]]:
    """Rule and severity of the alerts of a version."""
    return {
        (alert.rule, alert.severity)
        for alert in alerts
        if (alert.model_version, alert.model_name) == (version, model)
    }


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


@pytest.mark.slow
def test_no_alert_fires_while_the_models_are_as_expected(alerts: list[Alert]) -> None:
    assert [alert.summary for alert in alerts if alert.model_version == "as expected"] == []
    begin_ms = START_MS + BREAK_DAY * DAY_MS
    assert [alert.summary for alert in alerts if int(alert.at_ms) <= begin_ms] == []


@pytest.mark.slow
@pytest.mark.parametrize("model", GOOD)
def test_each_rule_fires_on_its_breach(alerts: list[Alert], preset: Path, model: str) -> None:
    names = rules_of(preset, model)
    assert {each for each in fired(alerts, "worse", model) if each[0] in names} == BROKEN[model]
    assert names - {name for name, _ in BROKEN[model]} == {"accuracy_high"}


@pytest.mark.slow
@pytest.mark.parametrize("model", GOOD)
def test_an_accuracy_above_its_band_is_told(alerts: list[Alert], preset: Path, model: str) -> None:
    names = rules_of(preset, model)
    found = {each for each in fired(alerts, "too good", model) if each[0] in names}
    assert found == {("accuracy_high", "info")}
