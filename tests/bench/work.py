"""One measurement: `python -m tests.bench.work KIND LOG` prints it as JSON.

CPU is user and system time of all threads of the process, after the imports and a run over a tiny
log. Peak memory is that of the whole process.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from driftline.agents.inprocess.replay import replay
from driftline.schemas.config import load_config
from tests.bench import ideal, jobs

Result = dict[str, Any]
Check = Callable[[], Result]


def decode(log: Path, out: Path) -> Check:
    """Decoding alone."""
    rows = ideal.decode_only(log)
    return lambda: {"rows": rows}


def hand_written(log: Path, out: Path) -> Check:
    """The hand-written ideal."""
    done = ideal.Ideal(load_config(log / "driftline.toml").defaults.label_horizon_ms).run(log)
    right = sum(n for (_, _, _, actual, predicted), n in done.cells.items() if actual == predicted)
    return lambda: {
        "predictions": done.predictions.total(),
        "joined": done.cells.total(),
        "right": right,
    }


def in_process(log: Path, out: Path) -> Check:
    """The pipeline with durable state, a commit every 10,000 records."""
    replay(log, out, load_config(log / "driftline.toml"), partitions=jobs.PARTITIONS, batch=10_000)
    return lambda: _sum_figures(out / "metrics.jsonl")


def _sum_figures(metrics: Path) -> Result:
    """Sums of the decisions lane over all minutes, to compare with those of the ideal."""
    total = {"predictions": 0, "joined": 0, "right": 0}
    with metrics.open("rb") as file:
        for line in file:
            figure = json.loads(line)
            if (figure["lane"], figure["segment"], figure["kind"], figure["final"]) == (
                "decisions",
                "all",
                "tumbling",
                True,
            ):
                total["predictions"] += figure["n_predictions"]
                total["joined"] += figure["n"]
                total["right"] += sum(row[i] for i, row in enumerate(figure.get("matrix", ())))
    return total


def flights(log: Path, out: Path) -> Check:
    """The replay of a log whose configuration is beside its folder."""
    summary = replay(log, out, load_config(log.parent / "driftline.toml"))
    return lambda: {"rows": summary.lines["predictions"]}


KINDS: dict[str, Callable[[Path, Path], Check]] = {
    "decode": decode,
    "ideal": hand_written,
    "pipeline": in_process,
    "flights": flights,
}
# Their rows form no reference cycles, so their author would switch the garbage collector off; the
# pipeline does that itself.
HAND_WRITTEN = ("decode", "ideal")


def main(kind: str, log: Path) -> None:
    if kind in HAND_WRITTEN:
        gc.disable()
    with tempfile.TemporaryDirectory() as folder:
        # Plug-ins and the database are imported on first use: a tiny log does that before the
        # measurement.
        jobs.write(Path(folder) / "tiny" / "log", "full", 50)
        (Path(folder) / "tiny" / "driftline.toml").write_text(jobs.FULL, encoding="utf-8")
        KINDS[kind](Path(folder) / "tiny" / "log", Path(folder) / "tiny" / "out")
        started, began = _cpu_s(), time.monotonic()
        check = KINDS[kind](log, Path(folder) / "out")
        spent = {"cpu_s": _cpu_s() - started, "elapsed_s": time.monotonic() - began}
        spent["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(spent | check()))


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
