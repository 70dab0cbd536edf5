"""`python -m tests.bench.many_models [MODELS]`: cost of many models with five predictions each.

Prints processor time per prediction, memory, records, and the longest pane: a worker completes a
pane in one call, which holds its event loop.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Final

from driftline.agents.inprocess.replay import replay
from driftline.schemas.config import parse_config
from driftline.schemas.times import HOUR_MS, format_time
from driftline.streams.pipeline import Downstream
from driftline.streams.stage import Record

BEGIN_MS: Final = 1_772_323_200_000
STEP_MS: Final = 8_000
PREDICTIONS: Final = 5
CONFIG: Final = """
[defaults]
windows = ["1h", "1d"]
maturity = ["1h", "6h"]
label_horizon = "1d"
correction_horizon = "1h"
"""


def write_log(folder: Path, models: int) -> None:
    """A log of five predictions for each model, 90 % with a truth within two hours."""
    random, truths = Random(1), []
    with (folder / "predictions.jsonl").open("w", encoding="utf-8") as file:
        for number in range(models * PREDICTIONS):
            at_ms, label = BEGIN_MS + number * STEP_MS, random.choice(("yes", "no"))
            row = {
                "prediction_id": f"{number:032x}",
                "model_name": f"model-{number % models}",
                "model_version": "1",
                "timestamp": format_time(at_ms),
                "prediction": random.choice(("yes", "no")),
                "score": round(random.random(), 3),
            }
            file.write(json.dumps(row, separators=(",", ":")) + "\n")
            if random.random() < 0.9:
                truths.append((at_ms + random.randrange(60_000, 2 * HOUR_MS), number, label))
    with (folder / "ground-truth.jsonl").open("w", encoding="utf-8") as file:
        for at_ms, number, label in sorted(truths):
            truth = {
                "prediction_id": f"{number:032x}",
                "label": label,
                "timestamp": format_time(at_ms),
            }
            file.write(json.dumps(truth, separators=(",", ":")) + "\n")


def main(models: int = 2_000) -> None:
    advance, panes = Downstream.advance, [0.0]

    def timed(self: Downstream, *arguments: list[Record]) -> list[Record]:
        begun = time.thread_time()
        records = advance(self, *arguments)
        panes.append(time.thread_time() - begun)
        return records

    Downstream.advance = timed  # type: ignore[method-assign, assignment]
    with tempfile.TemporaryDirectory() as folder:
        log, out = Path(folder) / "log", Path(folder) / "out"
        log.mkdir()
        write_log(log, models)
        begun = time.process_time()
        summary = replay(log, out, parse_config(CONFIG), partitions=2)
        used = time.process_time() - begun
    n = models * PREDICTIONS
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{models:,} models, {n:,} predictions: {1e3 * used / n:.2f} ms a prediction, "
        f"{memory:,.0f} MiB, {sum(summary.written.values()):,} records; "
        f"{len(panes) - 1:,} panes, {1e3 * sum(panes) / n:.2f} ms a prediction, "
        f"longest {1e3 * max(panes):.0f} ms"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
