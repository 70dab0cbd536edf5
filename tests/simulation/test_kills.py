"""A run that is killed several times writes the same bytes as an undisturbed one."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.seeds import quick_and_slow
from tests.simulation import runs
from tests.simulation.histories import write

KILLS = 6
SEEDS = range(300, 317)  # 17 histories x 6 kills
TIMED_SEEDS = range(320, 324)


@pytest.mark.parametrize("seed", quick_and_slow(SEEDS, 4, in_ci=12))
def test_kills_between_any_two_actions_change_no_byte(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    log = tmp_path / "log"
    write(log, seed, everything=True)
    partitions, batch = random.choice((1, 2, 7, 8)), random.randint(20, 120)
    actions = runs.count_actions(log, tmp_path / "undisturbed", partitions=partitions, batch=batch)
    out = tmp_path / "killed"
    # Each run goes on from the last commit, so this many actions never reach the end.
    moments = [random.randint(1, actions // (KILLS + 1)) for _ in range(KILLS)]
    for moment in moments:
        # A resumed run may have another batch size.
        batch = random.choice((batch, random.randint(20, 120)))
        assert runs.run_until_killed(log, out, partitions=partitions, batch=batch, at=moment)
    runs.run(log, out, partitions=partitions, batch=batch)
    assert runs.outputs(out) == runs.outputs(tmp_path / "undisturbed"), (
        f"history {seed}, killed at {moments}"
    )


@pytest.mark.parametrize("seed", TIMED_SEEDS)
def test_kills_at_any_instant_change_no_byte(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    log = tmp_path / "log"
    write(log, seed, everything=True)
    runs.run(log, tmp_path / "undisturbed", partitions=2, batch=50)
    for _ in range(4):
        # Whether the run has ended by then depends on the machine; the last run below completes it.
        runs.run_killed_after(
            log, tmp_path / "killed", partitions=2, batch=50, seconds=random.uniform(0.02, 0.4)
        )
    runs.run(log, tmp_path / "killed", partitions=2, batch=50)
    assert runs.outputs(tmp_path / "killed") == runs.outputs(tmp_path / "undisturbed"), (
        f"history {seed}"
    )


@pytest.mark.parametrize("seed", range(330, 334))
def test_two_runs_and_other_batch_sizes_write_the_same_bytes(tmp_path: Path, seed: int) -> None:
    log = tmp_path / "log"
    write(log, seed, everything=True)
    written = []
    for number, batch in enumerate((10_000, 10_000, 1 + seed % 7, 97)):
        runs.run(log, tmp_path / f"out-{number}", partitions=7, batch=batch)
        written.append(runs.outputs(tmp_path / f"out-{number}"))
    assert all(written[0][name] == other[name] for other in written[1:] for name in written[0]), (
        f"history {seed}"
    )
    assert all(written[0].keys() == other.keys() for other in written)
