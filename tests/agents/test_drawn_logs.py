"""Drawn logs against slow code that follows the documented rules: no figure differs.

`python -m tests.agents.test_drawn_logs BEGIN END` holds the seeds of a range to it.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from driftline.agents.inprocess.replay import replay
from driftline.schemas.config import parse_config
from tests.agents.drawn_logs import CLOCK, Log, draw, expect
from tests.seeds import quick_and_slow

CONFIG = """
[defaults]
windows = ["1d"]
maturity = ["1h"]
label_horizon = "1d"
correction_horizon = "1h"
last_n = []
park = "1d"
"""


def run(folder: Path, log: Log) -> tuple[dict[str, Any] | None, Counter[tuple[str, str]]]:
    """The last figures of the day, and the rows that do not count by topic and reason."""
    folder.mkdir()
    for name, lines in (("predictions", log.predictions), ("ground-truth", log.ground_truth)):
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    settings = "".join(f"{key} = {json.dumps(value)}\n" for key, value in log.settings.items())
    summary = replay(
        folder,
        folder / "out",
        parse_config(CONFIG + settings),
        partitions=1,
        clock=lambda: CLOCK,
    )
    # A feature of a single prediction is not watched; its prediction counts.
    uncounted = Counter(
        {
            (each.topic, each.reason): each.rows
            for each in summary.uncounted
            if each.reason != "unwatched_feature"
        }
    )
    figures = map(json.loads, (folder / "out" / "metrics.jsonl").read_text().splitlines())
    of_day = [
        each
        for each in figures
        if each["window"] == "1d" and each["lane"] == "decisions" and each["final"]
    ]
    assert len(of_day) <= 1 or all(each["n"] == 0 for each in of_day[1:])
    return (of_day[0] if of_day else None), uncounted


def is_rounded(figure: float | None, exact: Fraction | None) -> bool:
    """Whether a figure is the exact value to six decimals; a half may be rounded either way."""
    if figure is None or exact is None:
        return figure is exact
    return abs(Fraction(str(figure)) - exact) <= Fraction(1, 2_000_000)


def check(folder: Path, seed: int) -> None:
    """Hold one drawn log to what is expected of it."""
    log = draw(seed)
    expected = expect(log)
    figures, uncounted = run(folder, log)
    assert uncounted == expected.uncounted
    if figures is None:
        assert expected.n_predictions == 0
        return
    assert figures["n_predictions"] == expected.n_predictions
    matrix, labels = figures.get("matrix", []), figures.get("labels", [])
    if expected.cells is None:
        assert matrix == []
        assert figures["metrics"]["accuracy"] is None
        assert figures["null_reasons"]["accuracy"]
        return
    found = Counter(
        {
            (actual, predicted): count
            for actual, row in zip(labels, matrix, strict=True)
            for predicted, count in zip(labels, row, strict=True)
            if count
        }
    )
    assert found == expected.cells
    assert figures.get("strays", {}) == expected.strays
    assert sorted(labels) == sorted(expected.classes)
    positive = figures.get("positive_label"), figures.get("positive_basis")
    assert positive == expected.positive
    for name, exact in expected.metrics.items():
        assert is_rounded(figures["metrics"][name], exact), name


@pytest.mark.parametrize("seed", quick_and_slow(range(60), 15))
def test_a_drawn_log_counts_as_the_documented_rules_say(tmp_path: Path, seed: int) -> None:
    check(tmp_path / "log", seed)


def check_range(begin: int, end: int) -> None:
    """Check the seeds of a range, and print how many and how long the longest took."""
    longest_s = 0.0
    for seed in range(begin, end):
        started = time.perf_counter()
        with TemporaryDirectory() as folder:
            try:
                check(Path(folder) / "log", seed)
            except Exception as error:
                error.add_note(f"seed {seed}")
                raise
        longest_s = max(longest_s, time.perf_counter() - started)
    print(f"{end - begin} drawn logs, no difference; the longest took {longest_s:.1f} s")


if __name__ == "__main__":
    check_range(int(sys.argv[1]), int(sys.argv[2]))
