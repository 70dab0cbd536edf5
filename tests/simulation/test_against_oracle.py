"""Seeded histories through the whole pipeline: every emitted integer equals the oracle's, for every
number of partitions and batch size.
"""

from __future__ import annotations

import json
import time
from itertools import permutations
from pathlib import Path
from random import Random
from typing import Any

import pytest

from driftline.streams.join import increments
from tests.oracle.drift import DriftOracle
from tests.oracle.figures import count
from tests.oracle.joining import join
from tests.oracle.settings import Settings
from tests.oracle.verdict import differences
from tests.seeds import quick_and_slow
from tests.simulation import runs
from tests.simulation.histories import write

PARTITIONS = (1, 2, 7, 8)
SEEDS = range(160)
# History 415 has no row in time after its references, so nothing is compared with them.
DRIFT_SEEDS = (*range(400, 415), *range(416, 431))
IN_TIME_SEEDS = range(200, 210)


def differences_from_oracle(log: Path, out: Path, *, partitions: int) -> list[str]:
    settings = Settings.from_toml((log / "driftline.toml").read_text(encoding="utf-8"))
    joined = join(log, settings, partitions=partitions, now=time.time_ns() // 1_000_000)
    return differences(log, out, joined, count(joined, settings), settings)


@pytest.mark.parametrize("seed", quick_and_slow(SEEDS, 30, in_ci=100))
def test_pipeline_emits_the_integers_of_the_oracle(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    log, out = tmp_path / "log", tmp_path / "out"
    write(log, seed, oversized=seed % 50 == 0)
    partitions, batch = (
        PARTITIONS[seed % 4],
        random.choice((random.randint(1, 60), random.randint(60, 500), 10_000)),
    )
    runs.run(log, out, partitions=partitions, batch=batch)
    assert differences_from_oracle(log, out, partitions=partitions) == [], (
        f"history {seed}, {partitions} partitions, batches of {batch}"
    )


@pytest.mark.parametrize("seed", quick_and_slow(IN_TIME_SEEDS, 3))
def test_partitions_and_batches_change_no_byte_if_no_row_is_late(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    log = tmp_path / "log"
    write(log, seed, late=False)
    written = {}
    for partitions in PARTITIONS:
        batch = random.choice((random.randint(5, 60), random.randint(60, 500), 10_000))
        runs.run(log, tmp_path / f"out-{partitions}", partitions=partitions, batch=batch)
        written[partitions, batch] = runs.outputs(tmp_path / f"out-{partitions}")
    assert differences_from_oracle(log, tmp_path / "out-1", partitions=1) == []
    first, *others = written
    for other in others:
        assert names_that_differ(written[first], written[other]) == [], (
            f"history {seed}: (partitions, batch) {first} and {other}"
        )


@pytest.mark.parametrize("seed", quick_and_slow(DRIFT_SEEDS, 4, in_ci=20))
def test_drift_has_the_shares_of_the_oracle(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    log, out = tmp_path / "log", tmp_path / "out"
    write(log, seed, everything=True, ids=random.choice((100, 400, 1_000)))
    partitions = PARTITIONS[seed % 4]
    runs.run(log, out, partitions=partitions, batch=random.choice((40, 10_000)))
    settings = Settings.from_toml((log / "driftline.toml").read_text(encoding="utf-8"))
    joined = join(log, settings, partitions=partitions, now=time.time_ns() // 1_000_000)
    records = [json.loads(line) for line in (out / "drift.jsonl").read_text().splitlines()]
    assert records
    assert DriftOracle(joined, settings).differences(records) == []


def names_that_differ(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    return [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]


#   hours  0 ----- 0.5 -- 5 ------ 9 ---------- 26       prediction A at 0
#          A?       A     B       none           B       truths of revision 0, 1, 2, 3
TRUTHS: tuple[dict[str, Any], ...] = (
    {"timestamp": "2024-03-01T00:30:00Z", "revision": 0, "label": "A"},
    {"timestamp": "2024-03-01T05:00:00Z", "revision": 1, "label": "B"},
    {"timestamp": "2024-03-01T09:00:00Z", "revision": 2, "retracted": True},
    {"timestamp": "2024-03-02T02:00:00Z", "revision": 3, "label": "B"},
)
EXAMPLE_TOML = """
[defaults]
windows = ["1d"]
maturity = ["1h", "6h", "1d"]
label_horizon = "30d"
truth_grace = "2d"
"""


def test_worked_example_has_the_same_figures_in_all_24_orders(tmp_path: Path) -> None:
    log, out = tmp_path / "log", tmp_path / "out"
    log.mkdir()
    orders = list(permutations(TRUTHS))
    fields = {"model_version": "1", "timestamp": "2024-03-01T00:00:00Z", "prediction": "A"}
    predictions = [
        {"prediction_id": f"{i}", "model_name": f"order-{i:02d}", **fields}
        for i in range(len(orders))
    ]
    truths = [
        {"prediction_id": f"{i}", **order[turn]}
        for turn in range(4)
        for i, order in enumerate(orders)
    ]
    for name, events in (("predictions", predictions), ("ground-truth", truths)):
        (log / f"{name}.jsonl").write_text(
            "".join(json.dumps(event) + "\n" for event in events), encoding="utf-8"
        )
    (log / "driftline.toml").write_text(EXAMPLE_TOML, encoding="utf-8")
    runs.run(log, out, partitions=2, batch=10)
    figures = [
        json.loads(line)
        for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    for i in range(len(orders)):
        mine = {
            figure["maturity"]: figure
            for figure in figures
            if (figure["model_name"], figure["lane"], figure["window"])
            == (f"order-{i:02d}", "decisions", "1d")
        }
        right_and_wrong = {
            rung: (figure["n"], figure["metrics"]["accuracy"]) for rung, figure in mine.items()
        }
        assert right_and_wrong == {
            "1h": (1, 1.0),
            "6h": (1, 0.0),
            "1d": (0, None),
            "30d": (1, 0.0),
        }, orders[i]
        last = mine["30d"]
        assert last["labels"] == ["A", "B"]
        assert last["matrix"] == [[0, 0], [1, 0]]
        assert (last["counts"]["corrected"], last["counts"]["retracted"]) == (2, 1)
        assert [figure["final"] for figure in mine.values()] == [False, False, False, True]


@pytest.mark.parametrize("seed", [300, 301])
def test_a_dictionary_of_the_labels_in_a_batch_gives_the_same_bytes(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    write(log, seed, everything=True)
    runs.run(log, tmp_path / "whole", partitions=4, batch=40)
    monkeypatch.setattr(increments, "MOST_IN_DICTIONARY", 0)
    runs.run(log, tmp_path / "used", partitions=4, batch=40)
    assert runs.outputs(tmp_path / "used") == runs.outputs(tmp_path / "whole")
