"""A tiny recorded log: a churn model over two days that gets worse on the second.

`driftline init` writes it, so that `driftline replay` has a log that takes a second, and the demo
falls back on it. The log is generated: the same bytes every time, with some faults of a real log.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from driftline.schemas.times import DAY_MS, HOUR_MS, format_time

CONFIG_NAME: Final = "driftline.toml"
LOG_NAME: Final = "sample-log"
MODEL: Final = "churn"
VERSION: Final = "1.4.2"
START_MS: Final = 1_748_822_400_000  # 2025-06-02T00:00:00Z, a Monday
DAYS: Final = 2
PER_DAY: Final = 1_000

CONFIG: Final = """\
# Which models Driftline monitors, and how. Durations are written 30s, 10m, 1h, 7d. The defaults
# apply without this file, and to models that it does not name.

[defaults]
windows = ["6h", "1d", "1d/6h"]        # "size" is tumbling, "size/step" is sliding
label_horizon = "2d"                   # a prediction without a truth expires after this time
correction_horizon = "1d"              # how long a truth can be corrected
maturity = ["1h", "6h", "1d"]          # how long the truths had to arrive; the horizon is the last
prediction_grace = "1m"                # how late a prediction may be and still count in its window
truth_grace = "10m"                    # the same for truths
park = "2d"                            # how long a truth waits for its prediction
segments = ["plan"]                    # each value has figures of its own, in addition to "all"
positive_label = "yes"                 # the label that counts as positive

[models.churn]
# What drift compares with: a span of the stream (by default the first 30 days of a version).
reference = { from = "2025-06-02T00:00:00Z", to = "2025-06-03T00:00:00Z" }
detection_window = "1d"

[[models.churn.rules]]
type = "threshold"                     # fire when a metric crosses a threshold
name = "f1_low"
metric = "f1"
window = "1d"
maturity = "1d"                        # judged with the truths of one day
below = 0.80
severity = "warning"
min_samples = 100
"""


def write_sample(folder: Path) -> tuple[Path, Path]:
    """Write the sample configuration and log below `folder`.

    Returns
    -------
    tuple of Path
        The configuration file and the log folder.
    """
    log = folder / LOG_NAME
    log.mkdir(parents=True, exist_ok=True)
    predictions, truths = sample_rows()
    for name, rows in (("predictions", predictions), ("ground-truth", truths)):
        with (log / f"{name}.jsonl").open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
    config = folder / CONFIG_NAME
    config.write_text(CONFIG, encoding="utf-8")
    return config, log


def sample_rows(seed: int = 20_250_602) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of both topics, each in the order in which it was recorded.

    The score separates the classes well until noon of the second day; then spending shifts and the
    score says little. One truth in twenty never arrives, one in fifty is corrected later. One
    prediction is sent twice, one has a score of 1.7, and one truth has no prediction.
    """
    chance = random.Random(seed)
    predictions: list[dict[str, Any]] = []
    truths: list[tuple[int, dict[str, Any]]] = []
    for number in range(DAYS * PER_DAY):
        at = START_MS + (number * DAYS * DAY_MS) // (DAYS * PER_DAY) + chance.randrange(60_000)
        row, truth_rows = _customer(number, at, chance)
        predictions.append(row)
        truths.extend(truth_rows)
    broken = predictions[300] | {"prediction_id": "p-broken", "score": 1.7}
    stray = {
        "prediction_id": "p-unknown",
        "label": "no",
        "timestamp": format_time(START_MS + DAY_MS // 2),
        "source": "billing",
    }
    predictions[301:301] = [predictions[300], broken]
    truths.append((START_MS + DAY_MS // 2, stray))
    truths.sort(key=lambda item: item[0])
    return predictions, [row for _, row in truths]


def _customer(
    number: int, at: int, chance: random.Random
) -> tuple[dict[str, Any], list[tuple[int, dict[str, Any]]]]:
    changed = at >= START_MS + DAY_MS + 12 * HOUR_MS
    plan = chance.choice(("free", "free", "pro"))
    spend = round(
        math.exp(chance.gauss(3.0 if plan == "pro" else 2.0, 0.5)) * (1.8 if changed else 1.0), 2
    )
    leaves = chance.random() < 0.4
    signal = 0.4 if changed else 2.2
    score = 1.0 / (1.0 + math.exp(-chance.gauss(signal if leaves else -signal, 1.3)))
    prediction_id = f"p-{number:05d}"
    prediction = {
        "prediction_id": prediction_id,
        "model_name": MODEL,
        "model_version": VERSION,
        "timestamp": format_time(at),
        "score": round(score, 4),
        "features": {
            "tenure_months": chance.randrange(1, 60),
            "monthly_spend": spend,
            "plan": plan,
        },
        "segment": {"plan": plan},
        "latency_ms": round(chance.lognormvariate(2.3, 0.4), 1),
    }
    return prediction, list(_truths(prediction_id, at, leaves, chance))


def _truths(
    prediction_id: str, at: int, leaves: bool, chance: random.Random
) -> Iterator[tuple[int, dict[str, Any]]]:
    if chance.random() < 0.05:
        return
    known = at + int(chance.expovariate(1 / (2 * HOUR_MS)))
    wrong_at_first = chance.random() < 0.02
    label = leaves != wrong_at_first
    yield (
        known,
        {
            "prediction_id": prediction_id,
            "label": _label(label),
            "timestamp": format_time(known),
            "source": "billing",
        },
    )
    if wrong_at_first:
        later = known + 4 * HOUR_MS
        yield (
            later,
            {
                "prediction_id": prediction_id,
                "label": _label(leaves),
                "timestamp": format_time(later),
                "source": "support",
                "revision": 1,
            },
        )


def _label(leaves: bool) -> str:
    return "yes" if leaves else "no"
