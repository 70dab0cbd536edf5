"""Predictions with very many features: which are kept and watched, and what is told."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

import driftline
from driftline.agents.inprocess.replay import replay
from driftline.schemas.config import load_config
from driftline.schemas.times import parse_time
from tests.crowded_features import BEGIN_MS, DAY_MS, HOUR_MS, Kept, lowered_limits, write
from tests.seeds import quick_and_slow

CASES = {"hours": ("6h", "1h", 6 * HOUR_MS, 30), "days": ("2d", "1d", 2 * DAY_MS, 80)}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", quick_and_slow(range(6), 1))
def test_features_of_reference_and_windows_are_those_of_slow_code(
    tmp_path: Path, seed: int, case: str
) -> None:
    reference, detection, span_ms, hours = CASES[case]
    events = write(tmp_path / "log", seed, reference=reference, detection=detection, hours=hours)
    outputs = []
    for partitions, batch in ((1, 10_000), (1, 7), (8, 50)):
        out = tmp_path / f"out-{partitions}-{batch}"
        with lowered_limits():
            summary = driftline.replay(
                tmp_path / "log",
                config=tmp_path / "log" / "driftline.toml",
                out=out,
                partitions=partitions,
                batch=batch,
            ).summary
        assert summary is not None
        outputs.append({path.name: path.read_bytes() for path in sorted(out.glob("*.jsonl"))})
        uncounted = {rows.reason: rows.rows for rows in summary.uncounted}
        kept = Kept(events)
        watched, rare = kept.reference(BEGIN_MS, BEGIN_MS + span_ms)
        assert min(kept.left_out_of_hours, rare) > 0, "the log exceeds no limit"
        assert uncounted["unwatched_feature"] == kept.left_out_of_hours + rare
        drift = [
            record
            for record in lines(out / "drift.jsonl")
            if record["target"].startswith("feature:") and record["method"] in ("ks", "psi")
        ]
        for window in {record["window_start"] for record in drift}:
            start_ms = parse_time(window)
            current = kept.values(start_ms, start_ms + (HOUR_MS if case == "hours" else DAY_MS))
            found = {
                record["target"]: (record["n_reference"], record["n_current"])
                for record in drift
                if record["window_start"] == window
            }
            assert found == {f"feature:{name}": (n, current[name]) for name, n in watched.items()}
        assert len({record["window_start"] for record in drift}) > (10 if case == "hours" else 0)
    assert outputs[1:] == outputs[:-1]


class Crash(Exception):
    """The process ends here."""


@pytest.mark.parametrize("seed", quick_and_slow(range(4), 1))
def test_a_run_that_ends_again_and_again_keeps_and_tells_the_same(
    tmp_path: Path, seed: int
) -> None:
    write(tmp_path / "log", seed, reference="6h", detection="1h", hours=12)
    config, random = load_config(tmp_path / "log" / "driftline.toml"), Random(seed)
    left = 0

    def reached(point: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Crash(point)

    with lowered_limits():
        undisturbed = replay(tmp_path / "log", tmp_path / "one", config, partitions=2, batch=40)
        crashes = 0
        while True:
            left = random.randint(3, 12)
            try:
                resumed = replay(
                    tmp_path / "log",
                    tmp_path / "two",
                    config,
                    partitions=2,
                    batch=40,
                    reached=reached,
                )
                break
            except Crash:
                crashes += 1
    assert crashes > 1
    assert resumed.uncounted == undisturbed.uncounted
    for path in sorted((tmp_path / "one").glob("*.jsonl")):
        assert (tmp_path / "two" / path.name).read_bytes() == path.read_bytes()


def test_twenty_predictions_with_4096_names_each_are_counted_and_not_watched(
    tmp_path: Path,
) -> None:
    write(tmp_path / "log", 0, reference="6h", detection="1h", hours=9)
    path = tmp_path / "log" / "predictions.jsonl"
    rows = path.read_text().splitlines()
    # None of its own besides those of the others: the log is within the limits.
    plain = [json.loads(row) for row in rows]
    for event in plain:
        event["features"] = {name: event["features"][name] for name in ("age", "plan")}
    wide = [
        plain[30] | {"prediction_id": f"w{i}", "features": {f"n{i}_{k}": k for k in range(4_096)}}
        for i in range(20)
    ]
    events = [*plain[:31], *wide, *plain[31:]]
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    config = tmp_path / "log" / "driftline.toml"
    results = driftline.replay(tmp_path / "log", config=config, out=tmp_path / "out")
    assert results.summary is not None
    (unwatched,) = [
        rows for rows in results.summary.uncounted if rows.reason == "unwatched_feature"
    ]
    assert unwatched.rows == 20 * 4_096
    assert unwatched.example == (
        'm 1, 2024-03-01T02:00:00Z to 2024-03-01T03:00:00Z: "n0_0" and others are beyond the 4,096'
        " features that most predictions have"
    )
    assert unwatched.is_usual
    assert not unwatched.is_rejected
    drift = lines(tmp_path / "out" / "drift.jsonl")
    assert {record["target"] for record in drift} == {
        "feature:age",
        "feature:plan",
        "prediction",
        "score",
    }
    # Windows with all their rows: 12 an hour, and 72 in the reference, besides the 20 wide ones.
    of_age = [r for r in drift if r["target"] == "feature:age" and r["method"] != "missing"]
    assert {(record["n_reference"], record["n_current"]) for record in of_age[:4]} == {(72, 12)}
    (profile,) = lines(tmp_path / "out" / "reference-profiles.jsonl")
    assert profile["profile"]["n"] == 72 + 20
    assert list(profile["profile"]["features"]) == ["age", "plan"]
