"""The in-process run: the same output for any step size and kill, and one run per folder."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from driftline.agents.inprocess.replay import Progress, ReplaySummary, replay
from driftline.agents.inprocess.run_identity import RunRefused, locked
from driftline.agents.recorded.lines import LogError
from driftline.schemas.config import parse_config
from driftline.schemas.settings import Config, ModelConfig, parse_rung, parse_window
from tests.agents.stub_stages import HOUR, stub_stages

START = 1_700_000_000_000
NOW = START + 400 * 24 * HOUR
DAY = 24 * HOUR
MODEL = ModelConfig(
    windows=(parse_window("1h"),),
    maturity=(parse_rung("1d"),),
    label_horizon_ms=DAY,
    correction_horizon_ms=HOUR,
)
CONFIG = Config(defaults=MODEL, outcomes=True, park_ms=DAY)


def write_log(folder: Path, *, seed: int, rows: int = 400) -> Path:
    """A log with conflicts, invalid lines, unordered truths, commands, and a gap of three days."""
    draw = random.Random(seed)
    folder.mkdir(parents=True)
    time_ms = START
    predictions: list[bytes] = []
    truths: list[tuple[int, bytes]] = []
    commands: list[bytes] = []
    for i in range(rows):
        time_ms += draw.choice([0, 500, 30_000, 60_000])
        if i == rows // 2:
            time_ms += 72 * HOUR
        id_ = f"id-{draw.randrange(i + 1) if draw.random() < 0.05 else i}"
        at = time_ms - draw.choice([0, 0, 0, 40_000])
        value = {
            "prediction_id": id_,
            "model_name": "m",
            "model_version": "1",
            "timestamp": at,
            "score": draw.random(),
        }
        wrong = draw.choice([b"{", b"\xff\xfe", b"", b'{"prediction_id": 1.5}'])
        predictions.append(wrong if draw.random() < 0.05 else json.dumps(value).encode())
        known_ms = time_ms + draw.randrange(90 * 60_000)
        truth = {"prediction_id": id_, "label": "a", "timestamp": known_ms}
        truths.append((known_ms + draw.randrange(60_000), json.dumps(truth).encode()))
        if draw.random() < 0.02:
            command = {
                "command_id": f"c{i}",
                "command": "promote",
                "model_name": "m",
                "timestamp": f"2023-11-{15 + i * 3 // rows}T{draw.randrange(24):02d}:00:00Z",
                "requested_by": "t",
            }
            commands.append(json.dumps(command).encode())
    commands.insert(len(commands) // 2, b"no command")
    (folder / "predictions.jsonl").write_bytes(b"\n".join(predictions))
    (folder / "ground-truth.jsonl").write_bytes(
        b"".join(line + b"\n" for _, line in sorted(truths))
    )
    (folder / "registry-commands.jsonl").write_bytes(b"".join(line + b"\n" for line in commands))
    return folder


def run(log: Path, out: Path, *, partitions: int = 3, **options: Any) -> ReplaySummary:
    options.setdefault("stages", stub_stages(partitions))
    return replay(log, out, CONFIG, partitions=partitions, clock=lambda: NOW, **options)


def written(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.jsonl"))}


def records(out: Path, topic: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / f"{topic}.jsonl").read_bytes().splitlines()]


def assert_same(out: Path, expected: dict[str, bytes], why: str) -> None:
    got = written(out)
    assert got.keys() == expected.keys(), why
    for name in expected:
        assert got[name] == expected[name], f"{name}: {why}"


def test_every_line_is_read_or_rejected_with_its_bytes_and_line_number(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", seed=1)
    summary = run(log, tmp_path / "out")
    lines = (log / "predictions.jsonl").read_bytes().split(b"\n")
    if not lines[-1]:
        lines.pop()
    assert summary.lines["predictions"] == len(lines)
    letters = records(tmp_path / "out", "predictions.dlq")
    offsets = [letter["dlq_offset"] for letter in letters]
    assert offsets == sorted(offsets)
    assert {letter["dlq_reason"] for letter in letters} == {
        "conflict",
        "not_json",
        "empty",
        "wrong_type",
        "encoding",
    }
    for letter in letters:
        raw = letter["value"].encode() if "value" in letter else b64decode(letter["value_base64"])
        assert raw == lines[letter["dlq_offset"]]
        assert (letter["dlq_topic"], letter["dlq_partition"]) == ("predictions", 0)
    assert {
        json.loads(line)["prediction_id"] for i, line in enumerate(lines) if i not in offsets
    } >= {outcome["prediction_id"] for outcome in records(tmp_path / "out", "outcomes")}
    assert sum(
        sum(reasons.values())
        for topic, reasons in summary.rejected.items()
        if topic == "predictions"
    ) == len(letters)
    assert summary.rejected["registry-commands"]["not_json"] == len(
        records(tmp_path / "out", "registry-commands.dlq")
    )


@pytest.mark.parametrize("seed", range(4))
def test_output_is_the_same_for_any_step_size(tmp_path: Path, seed: int) -> None:
    log = write_log(tmp_path / "log", seed=seed)
    run(log, tmp_path / "whole", batch=10_000)
    expected = written(tmp_path / "whole")
    assert expected["outcomes.jsonl"].count(b"late by 0") > 100
    for batch in (1, 17, 300):
        run(log, tmp_path / str(batch), batch=batch)
        assert_same(tmp_path / str(batch), expected, f"seed {seed}, {batch} lines per step")


class Crash(Exception):
    """The process ends here."""


@pytest.mark.parametrize("seed", range(6))
def test_a_run_that_stops_at_any_commit_ends_with_the_same_output(
    tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    log = write_log(tmp_path / "log", seed=seed, rows=200)
    run(log, tmp_path / "whole")
    crashes = 0

    def reached(point: str) -> None:
        nonlocal crashes
        if draw.random() < 0.1:
            crashes += 1
            raise Crash(point)

    out = tmp_path / "out"
    summary = None
    while summary is None:
        try:
            summary = run(log, out, batch=draw.choice([1, 7, 50]), reached=reached)
        except Crash:
            with (out / "metrics.jsonl").open("ab") as file:  # an incomplete line, as after a kill
                file.write(b'{"half')
    assert crashes > 5, f"seed {seed}"
    assert summary.resumed or summary.already_finished
    assert_same(out, written(tmp_path / "whole"), f"seed {seed}, {crashes} crashes")
    whole = run(log, tmp_path / "whole")
    assert whole.already_finished
    assert (summary.lines, summary.rejected, summary.written) == (
        whole.lines,
        whole.rejected,
        whole.written,
    )


KILLED = """
import os, sys
from pathlib import Path
from tests.agents.test_replay import run
log, out, batch = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
run(log, out, batch=batch, reached=lambda point: os.write(1, b"."))
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_run_killed_with_signal_9_at_random_times_ends_with_the_same_output(
    tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    log = write_log(tmp_path / "log", seed=seed, rows=300)
    run(log, tmp_path / "whole")
    root = Path(__file__).parents[2]
    kills = 0
    while True:
        arguments = [
            sys.executable,
            "-c",
            KILLED,
            str(log),
            str(tmp_path / "out"),
            str(draw.choice([2, 10])),
        ]
        with subprocess.Popen(
            arguments, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            points = draw.randrange(1, 50)
            while points > 0 and (dots := os.read(process.stdout.fileno(), points)):
                points -= len(dots)
            time.sleep(draw.random() * 0.003)
            process.send_signal(signal.SIGKILL)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        kills += 1
    assert kills >= 3, f"seed {seed}"
    assert_same(tmp_path / "out", written(tmp_path / "whole"), f"seed {seed}, {kills} kills")


def test_time_advances_after_the_last_record_until_every_window_is_final(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", seed=2)
    run(log, tmp_path / "closed")
    run(log, tmp_path / "open", open_end=True)
    closed, opened = records(tmp_path / "closed", "metrics"), records(tmp_path / "open", "metrics")
    assert closed[: len(opened)] == opened
    assert len(closed) > len(opened) + 24


def test_a_command_is_in_force_from_the_pane_that_contains_its_time(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    times = [START // HOUR * HOUR + i * HOUR for i in range(4)]
    same = {"model_name": "m", "model_version": "1", "score": 0.5}
    predictions = [
        {"prediction_id": str(i), "timestamp": time_ms, **same} for i, time_ms in enumerate(times)
    ]
    (log / "predictions.jsonl").write_text(
        "".join(json.dumps(value) + "\n" for value in predictions)
    )
    (log / "ground-truth.jsonl").write_text("")
    command = {
        "command_id": "c",
        "command": "promote",
        "model_name": "m",
        "timestamp": times[1] + 1,
        "requested_by": "t",
    }
    (log / "registry-commands.jsonl").write_text(json.dumps(command) + "\n")
    run(log, tmp_path / "out", open_end=True)
    assert [metric["registry_revision"] for metric in records(tmp_path / "out", "metrics")] == [
        0,
        1,
        1,
    ]


def test_commands_after_the_last_pane_are_executed(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", seed=5)
    late = {
        "command_id": "late",
        "command": "promote",
        "model_name": "m",
        "timestamp": NOW,
        "requested_by": "t",
    }
    with (log / "registry-commands.jsonl").open("ab") as file:
        file.write(json.dumps(late).encode() + b"\n")
    run(log, tmp_path / "out")
    assert records(tmp_path / "out", "registry-events")[-1]["command_id"] == "late"


def test_rows_are_too_far_ahead_of_the_clock_at_the_first_start(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", seed=1)
    with (log / "predictions.jsonl").open("ab") as file:
        value = {
            "prediction_id": "ahead",
            "model_name": "m",
            "model_version": "1",
            "timestamp": NOW + HOUR,
            "score": 0.5,
        }
        file.write(b"\n" + json.dumps(value).encode() + b"\n")

    def crash(point: str) -> None:
        raise Crash

    with pytest.raises(Crash):
        run(log, tmp_path / "out", reached=crash)
    replay(
        log,
        tmp_path / "out",
        CONFIG,
        partitions=3,
        clock=lambda: NOW + 2 * HOUR,
        stages=stub_stages(3),
    )
    assert "too_far_ahead" in {
        letter["dlq_reason"] for letter in records(tmp_path / "out", "predictions.dlq")
    }


def test_a_second_call_changes_nothing(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", seed=3)
    first = run(log, tmp_path / "out")
    before = written(tmp_path / "out")
    again = run(log, tmp_path / "out")
    assert (first.already_finished, again.already_finished) == (False, True)
    assert again.written == first.written
    assert_same(tmp_path / "out", before, "second call")


def _other_input(log: Path) -> None:
    with (log / "ground-truth.jsonl").open("ab") as file:
        file.write(b"\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"partitions": 4}, "its number of partitions is 3, this one's 4"),
        ({"open_end": True}, "its --open-end is False, this one's True"),
        (
            {"config": msgspec.structs.replace(CONFIG, outcomes=not CONFIG.outcomes)},
            "its configuration has run.outcomes true, this one false",
        ),
        (
            {"input": _other_input},
            "its ground-truth.jsonl has [0-9]+ bytes and hash [0-9a-f]{12}, this one has",
        ),
    ],
)
def test_a_folder_of_another_run_is_refused_with_the_difference_and_a_remedy(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    log = write_log(tmp_path / "log", seed=3, rows=50)
    run(log, tmp_path / "out")
    alter: Callable[[Path], None] = change.pop("input", lambda log: None)
    alter(log)
    options = {"partitions": 3, "config": CONFIG, **change}
    with pytest.raises(RunRefused, match=message) as refused:
        replay(
            log,
            tmp_path / "out",
            options.pop("config"),
            clock=lambda: NOW,
            stages=stub_stages(3),
            **options,
        )
    assert "choose another --out or delete" in str(refused.value)


def test_another_maturity_ladder_is_refused_with_the_model_and_both_ladders(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", seed=3, rows=50)
    before, after = (parse_config(f'[models.m]\nmaturity = ["{rung}"]') for rung in ("2h", "3h"))
    replay(log, tmp_path / "out", before, partitions=3, clock=lambda: NOW, stages=stub_stages(3))
    with pytest.raises(
        RunRefused,
        match=r'models\.m\.maturity \["2h", "30d"\], this one \["3h", "30d"\]; choose',
    ):
        replay(log, tmp_path / "out", after, partitions=3, clock=lambda: NOW, stages=stub_stages(3))


def test_the_same_input_at_another_path_is_the_same_run(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", seed=3, rows=50)
    run(log, tmp_path / "out")
    moved = log.rename(tmp_path / "moved")
    assert run(moved, tmp_path / "out").already_finished


def test_a_folder_with_other_content_is_refused_and_unchanged(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", seed=3, rows=50)
    before = written(log)
    with pytest.raises(
        RunRefused,
        match=r"log: is not empty \(ground-truth.jsonl, predictions.jsonl, registry-commands.json",
    ):
        run(log, log)
    assert_same(log, before, "refused run")


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", seed=3, rows=50)
    with locked(tmp_path / "out"), pytest.raises(RunRefused, match="another run is writing here"):
        run(log, tmp_path / "out")


def test_a_missing_topic_is_named(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", seed=3, rows=50)
    (log / "ground-truth.jsonl").unlink()
    with pytest.raises(
        LogError,
        match=r"ground-truth\.jsonl is missing; a recorded log is a folder with predictions\.jsonl",
    ):
        run(log, tmp_path / "out")


def test_a_truncated_output_file_is_an_error(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", seed=3, rows=50)
    run(log, tmp_path / "out")
    (tmp_path / "out" / "metrics.jsonl").write_bytes(b"")
    with pytest.raises(LogError, match=r"metrics\.jsonl: has 0 bytes, but the run committed"):
        run(log, tmp_path / "out")


def test_an_empty_log_has_no_events(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    for name in ("predictions", "ground-truth"):
        (log / f"{name}.jsonl").write_bytes(b"")
    summary = run(log, tmp_path / "out")
    assert (summary.first_event, summary.last_event, summary.written) == (None, None, {})


def test_progress_counts_lines_bytes_and_event_time(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", seed=4)
    seen: list[Progress] = []
    run(log, tmp_path / "out", batch=50, progress=seen.append)
    assert [now.lines for now in seen] == sorted(now.lines for now in seen)
    assert [now.event_ms for now in seen] == sorted(now.event_ms for now in seen)
    assert seen[-1].phase == "done"
    assert seen[-1].bytes == seen[-1].total_bytes
    assert {now.phase for now in seen} == {"reading", "closing", "done"}


def test_run_json_identifies_the_run(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", seed=4, rows=50)
    run(log, tmp_path / "out")
    identity = msgspec.json.decode((tmp_path / "out" / "run.json").read_bytes())
    assert identity["config"] == CONFIG.fingerprint()
    assert identity["partitions"] == 3
    assert identity["started_at_ms"] == NOW
    assert sorted(identity["inputs"]) == [
        "ground-truth.jsonl",
        "predictions.jsonl",
        "registry-commands.jsonl",
    ]
