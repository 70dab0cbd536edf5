"""The two benchmark jobs, as recorded logs.

*plain*: 10 models x 2 versions, 1-minute confusion counts, each label 1,000 events after its
prediction. *full*: the same rows with 10 features, 3 segment dimensions, scores and latencies, and
all three lanes. One prediction in 50 never gets a label and expires; both horizons are far shorter
than the log, so entries expire throughout.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Final, TextIO

BEGIN: Final = datetime(2024, 3, 1, tzinfo=UTC)
STEP_MS: Final = 6  # one prediction every 6 ms: 200,000 in 20 minutes
LABEL_AFTER: Final = 1_000
UNLABELLED: Final = 50  # one in this many predictions has no label
PARTITIONS: Final = 4

PLAIN: Final = """[run]
lanes = ["decisions"]
prediction_grace = "1m"
truth_grace = "1m"
park = "5m"
[defaults]
windows = ["1m"]
maturity = ["5m"]
label_horizon = "5m"
correction_horizon = "2m"
positive_label = "yes"
last_n = []
since_deployment = false
default_rules = false
metrics = []
"""
FULL: Final = (
    PLAIN.replace('["decisions"]', '["traffic", "decisions", "arrivals"]')
    + 'segments = ["plan", "country", "device"]\n'
)
CONFIGURATIONS: Final = {"plain": PLAIN, "full": FULL}


def write(folder: Path, job: str, pairs: int, *, seed: int = 7) -> None:
    """Write the log and the configuration of `job` ("plain" or "full") with `pairs` labelled
    predictions.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "driftline.toml").write_text(CONFIGURATIONS[job], encoding="utf-8")
    random, other_random = Random(seed), Random(seed + 1)
    extra = _full_fields if job == "full" else _plain_fields
    waiting: list[tuple[str, str]] = []
    labelled = number = 0
    with (
        (folder / "predictions.jsonl").open("w") as predictions,
        (folder / "ground-truth.jsonl").open("w") as truths,
    ):
        while labelled < pairs:
            time = _time(number)
            identity = f"{random.getrandbits(128):032x}"
            score = random.random()
            predicted = "yes" if score >= 0.5 else "no"
            model, version = f"model-{random.randrange(10)}", random.choice(("1.0.0", "1.1.0"))
            predictions.write(
                f'{{"prediction_id":"{identity}","model_name":"{model}",'
                f'"model_version":"{version}","timestamp":"{time}",'
                f'"prediction":"{predicted}"{extra(other_random, score)}}}\n'
            )
            if number % UNLABELLED:
                waiting.append((identity, "yes" if random.random() < 0.15 + 0.7 * score else "no"))
                labelled += 1
            if len(waiting) > LABEL_AFTER:
                _write_truth(truths, *waiting.pop(0), time)
            number += 1
        for identity, label in waiting:
            _write_truth(truths, identity, label, _time(number))
            number += 1


def _write_truth(file: TextIO, identity: str, label: str, time: str) -> None:
    file.write(f'{{"prediction_id":"{identity}","label":"{label}","timestamp":"{time}"}}\n')


def _time(number: int) -> str:
    return (
        (BEGIN + timedelta(milliseconds=STEP_MS * number))
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


def _plain_fields(random: Random, score: float) -> str:
    return ""


def _full_fields(random: Random, score: float) -> str:
    features: dict[str, float | str] = {f"f{i}": round(random.gauss(0, 1 + i), 6) for i in range(7)}
    features |= {
        "age": random.randrange(18, 90),
        "color": random.choice(("red", "green", "blue")),
        "shop": f"shop-{random.randrange(40)}",
    }
    segment = {
        "plan": random.choice(("free", "pro", "team")),
        "country": random.choice(("de", "fr", "us", "in", "br")),
        "device": random.choice(("phone", "web")),
    }
    fields = {
        "score": round(score, 6),
        "latency_ms": round(random.lognormvariate(3, 0.5), 3),
        "features": features,
        "segment": segment,
    }
    return "," + json.dumps(fields, separators=(",", ":"))[1:-1]
