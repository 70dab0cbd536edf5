"""What a live run wrote, through crashes, equals the replay of its exported log: every record that
is not provisional.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from driftline.agents.sample_log import write_sample
from tests.kafka.brokers import Names
from tests.kafka.live import command
from tests.kafka.live_run import differences, lines_of, run_live
from tests.simulation import histories

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_sample_through_two_workers_and_three_kills(names: Names, tmp_path: Path) -> None:
    write_sample(tmp_path)
    config = (tmp_path / "driftline.toml").read_text()
    run_live(names, tmp_path / "sample-log", config, tmp_path, kills=3, workers=2, seed=1)
    assert differences(names, tmp_path, config) == {}
    final = [
        line
        for line in map(json.loads, lines_of(tmp_path / "export" / "metrics.jsonl"))
        if line["final"]
    ]
    assert len(final) > 300


@pytest.mark.parametrize("seed", [3, 8])
def test_history_with_all_faults_through_two_workers_and_kills(
    names: Names, tmp_path: Path, seed: int
) -> None:
    histories.write(tmp_path / "log", seed, everything=True)
    config = (tmp_path / "log" / "driftline.toml").read_text()
    run_live(names, tmp_path / "log", config, tmp_path, kills=3, workers=2, seed=seed)
    assert differences(names, tmp_path, config) == {}


def test_commands_sent_long_before_and_after_their_time_survive_kills_of_two_workers(
    names: Names, tmp_path: Path
) -> None:
    log, random = tmp_path / "log", Random(11)
    histories.write(log, 11, everything=True)
    config = (log / "driftline.toml").read_text()
    # Some times are beyond the end of time: those commands take effect there.
    hours = [*range(0, 30, 2), *range(48, 96, 12), 24 * 365, 24 * 365]
    commands = [
        command(random, number, histories.BEGIN + hour * histories.HOUR)
        for number, hour in enumerate(hours)
    ]
    random.shuffle(commands)
    in_time = [
        command(random, 100 + hour, histories.BEGIN + hour * histories.HOUR) for hour in range(20)
    ]
    (log / "registry-commands.jsonl").write_bytes(b"".join(value + b"\n" for _, value in in_time))
    run_live(names, log, config, tmp_path, kills=3, workers=2, seed=11, commands=commands)
    assert differences(names, tmp_path, config) == {}
    exported = [
        json.loads(line)
        for line in (tmp_path / "export" / "registry-commands.jsonl").read_text().splitlines()
    ]
    refused = [line for line in exported if "refused" in line]
    answered = {
        json.loads(line)["command_id"]
        for line in lines_of(tmp_path / "export" / "registry-events.jsonl")
    }
    assert answered >= {line["value"]["command_id"] for line in exported if line not in refused}
    assert len(exported) == len(commands) + len(in_time)
