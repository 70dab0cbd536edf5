"""A recorded log that has something for every view, drawn from a seed: a binary model that gets
worse and has a second version, a model of four classes, and one whose names and texts are hostile.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import driftline
from driftline.schemas.times import DAY_MS, HOUR_MS, format_time

START_MS: Final = 1_767_225_600_000  # 2026-01-01T00:00:00Z
DAYS: Final = 32
CHANGE_DAY: Final = 22
PER_DAY: Final = 120
MODEL: Final = "loan-risk"
VERSION: Final = "2.0.0"
SORTER: Final = "mail-sorter"
CLASSES: Final = ("bills", "letters", "news", "spam")

SCRIPT: Final = "<script>window.harmed = 1</script>"
IMAGE: Final = '<img src=x onerror="window.harmed = 1">'
HOSTILE_MODEL: Final = f"../{SCRIPT}/%2e?a=b#c"
HOSTILE_VERSION: Final = "1.0 \u202e0.9 {{7*7}} ${7*7}"
LONG: Final = "x" * 10_000
HOSTILE_LABELS: Final = ("javascript:window.harmed=1", IMAGE)

CONFIG: Final = f"""\
[defaults]
windows = ["1d", "7d/1d"]
maturity = ["2h", "6h", "1d"]
label_horizon = "2d"
correction_horizon = "1d"
park = "2d"
segments = ["region"]
last_n = []
since_deployment = false

[models.{MODEL}]
positive_label = "default"
reference = {{ from = "2026-01-01T00:00:00Z", to = "2026-01-15T00:00:00Z" }}

[[models.{MODEL}.rules]]
type = "threshold"
name = "f1_low"
metric = "f1"
window = "7d/1d"
maturity = "1d"
below = 0.7
severity = "error"
min_samples = 100
"""


def make(folder: Path) -> Path:
    """Write log and configuration below `folder`, run them through the pipeline, and give the
    output folder.
    """
    log = folder / "log"
    log.mkdir(parents=True)
    predictions, truths, commands = _rows()
    for name, rows in (
        ("predictions", predictions),
        ("ground-truth", truths),
        ("registry-commands", commands),
    ):
        with (log / f"{name}.jsonl").open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    config = folder / "driftline.toml"
    config.write_text(CONFIG, encoding="utf-8")
    driftline.replay(log, config=config, out=folder / "out")
    return folder / "out"


def _rows() -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    chance = random.Random(20_260_101)
    predictions: list[dict[str, Any]] = []
    truths: list[tuple[int, dict[str, Any]]] = []
    for day in range(DAYS):
        for row, truth in (*_loans(day, chance), *_mails(day, chance), *_hostile(day, chance)):
            predictions.append(row)
            truths.extend(truth)
    predictions.sort(key=lambda row: row["timestamp"])
    truths.sort(key=lambda item: item[0])
    return (
        predictions,
        [row for _, row in truths],
        sorted(_commands(), key=lambda c: c["timestamp"]),
    )


Row = tuple[dict[str, Any], list[tuple[int, dict[str, Any]]]]


def _loans(day: int, chance: random.Random) -> Iterator[Row]:
    for number in range(PER_DAY):
        at = START_MS + day * DAY_MS + number * DAY_MS // PER_DAY + chance.randrange(60_000)
        changed = day >= CHANGE_DAY
        region = chance.choice(("north", "south", "west"))
        income = math.exp(chance.gauss(3.0, 0.4)) * (1.6 if changed else 1.0)
        bad = chance.random() < 0.3
        signal = 0.3 if changed and region == "south" else 0.8 if changed else 1.4
        score = 1.0 / (1.0 + math.exp(-chance.gauss(signal if bad else -signal, 1.0)))
        second = number % 10 == 9 and day >= 16
        row = {
            "prediction_id": f"loan-{day}-{number}",
            "model_name": MODEL,
            "model_version": "2.1.0-rc" if second else VERSION,
            "timestamp": format_time(at),
            "score": round(score, 4),
            "threshold": 0.5,
            "features": {"income": round(income, 1), "region": region},
            "segment": {"region": region},
            "latency_ms": round(chance.lognormvariate(2.5, 0.3), 1),
        }
        delay = int(chance.expovariate(1 / ((7 if bad else 3) * HOUR_MS)))
        yield row, _truth(row, at + delay, "default" if bad else "repaid", chance.random() < 0.03)


def _mails(day: int, chance: random.Random) -> Iterator[Row]:
    for number in range(30 if day >= 22 else 0):
        at = START_MS + day * DAY_MS + number * DAY_MS // 30 + chance.randrange(60_000)
        actual = chance.choice(CLASSES)
        row = {
            "prediction_id": f"mail-{day}-{number}",
            "model_name": SORTER,
            "model_version": "7",
            "timestamp": format_time(at),
            "prediction": actual if chance.random() < 0.7 else chance.choice(CLASSES),
        }
        yield row, _truth(row, at + HOUR_MS, actual, False)


def _hostile(day: int, chance: random.Random) -> Iterator[Row]:
    for number in range(12 if day >= 27 else 0):
        at = START_MS + day * DAY_MS + number * 2 * HOUR_MS + chance.randrange(60_000)
        actual = chance.choice(HOSTILE_LABELS)
        row = {
            "prediction_id": f"{SCRIPT}-{day}-{number}",
            "model_name": HOSTILE_MODEL,
            "model_version": HOSTILE_VERSION,
            "timestamp": format_time(at),
            "prediction": actual if chance.random() < 0.8 else chance.choice(HOSTILE_LABELS),
            "features": {IMAGE: chance.random(), "{{constructor}}": chance.choice((SCRIPT, "b"))},
            "segment": {"region": chance.choice((SCRIPT, "\u202egnp.exe", "{{7*7}}"))},
        }
        yield row, _truth(row, at + HOUR_MS, actual, False)


def _truth(
    row: dict[str, Any], known: int, label: str, never: bool
) -> list[tuple[int, dict[str, Any]]]:
    truth = {
        "prediction_id": row["prediction_id"],
        "label": label,
        "timestamp": format_time(known),
    }
    return [] if never else [(known, truth)]


def _commands() -> Iterator[dict[str, Any]]:
    def command(
        number: int, name: str, model: str, version: str, day: float, reason: str, **params: Any
    ) -> dict[str, Any]:
        return {
            "command_id": f"story-{number}",
            "command": name,
            "model_name": model,
            "model_version": version,
            "timestamp": format_time(START_MS + int(day * DAY_MS)),
            "params": params,
            "requested_by": "story",
            "reason": reason,
        }

    yield command(1, "register", MODEL, VERSION, 0, "trained on 2025", threshold=0.5)
    yield command(2, "promote", MODEL, VERSION, 1, "reviewed")
    yield command(3, "register", MODEL, "2.1.0-rc", 16, "a candidate", threshold=0.5)
    yield command(4, "register", SORTER, "7", 22, "four classes")
    yield command(5, "register", HOSTILE_MODEL, HOSTILE_VERSION, 27, f"{SCRIPT} {IMAGE} {LONG}")
