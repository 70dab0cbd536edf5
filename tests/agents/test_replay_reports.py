"""Reports of workers and jobs in a replay: the same bytes for any options, and followed from a
record.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner

import driftline
from driftline.agents.cli.program import driftline as program
from driftline.agents.inprocess.replay import replay
from driftline.schemas.config import load_config
from driftline.schemas.reports import JOBS, WORKERS
from driftline.schemas.times import HOUR_MS, MINUTE_MS, parse_time
from tests.agents.report_log import write_report_log
from tests.agents.stopped_runs import run_through_stops

Outputs = dict[str, bytes]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Outputs]:
    folder = tmp_path_factory.mktemp("sample")
    config, log = write_report_log(folder, seed=5)
    return config, log, replayed(log, folder / "out", config)


def clock() -> int:
    return 1_900_000_000_000


def replayed(log: Path, out: Path, config: Path, **options: Any) -> Outputs:
    driftline.replay(log, config=config, out=out, **options)
    return written(out)


def written(out: Path) -> Outputs:
    """The output files, without the times at which letters were written."""
    found = {path.name: path.read_bytes() for path in sorted(out.glob("*.jsonl"))}
    return {name: data for name, data in found.items() if not name.endswith(".dlq.jsonl")}


def lines(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


def episodes_by_hand(
    log: Path, figure: str, levels: tuple[float, float], later: tuple[int, float] | None = None
) -> list[tuple[Any, ...]]:
    """Worker, change, severity and time of each change of an alert: for three or five minutes at or
    above a level, at 0.95 of the lower one or below again, or silent for an hour. `later` is
    a time from which on the lower level is another one.
    """
    held_ms = {"cpu_share": 3, "disk_share": 5}[figure] * MINUTE_MS
    now, last, since, open_ = 0, {}, {}, {}
    found: list[tuple[Any, ...]] = []
    for record in lines((log / "worker-metrics.jsonl").read_bytes()):
        if not 0 <= record["cpu_share"] <= 1:
            continue
        worker, value, at = record["worker"], record[figure], parse_time(record["timestamp"])
        now = max(now, at)
        if later is not None and now >= later[0]:
            levels = later[1], levels[1]
        for gone in [name for name in last if last[name] < now - HOUR_MS]:
            del last[gone]
            since = {key: start for key, start in since.items() if key[0] != gone}
            if gone in open_:
                found.append((gone, "resolved", open_.pop(gone), now))
        before = last.get(worker, at)
        if at <= last.get(worker, -1):
            continue
        last[worker] = at
        for rank, level in enumerate(levels):
            if at - before > 3 * MINUTE_MS or value < level:
                since.pop((worker, rank), None)
            if value >= level:
                since.setdefault((worker, rank), at)
        long_enough = [rank for rank in (0, 1) if at - since.get((worker, rank), at + 1) >= held_ms]
        if long_enough and worker not in open_:
            open_[worker] = long_enough[-1]
            found.append((worker, "firing", long_enough[-1], now))
        elif long_enough and long_enough[-1] > open_[worker]:
            open_[worker] = long_enough[-1]
            found.append((worker, "escalated", long_enough[-1], now))
        elif worker in open_ and value <= 0.95 * levels[0]:
            found.append((worker, "resolved", open_.pop(worker), now))
    return found


@pytest.mark.parametrize(
    ("rule", "figure", "levels"),
    [("busy", "cpu_share", (0.8, 0.95)), ("disk", "disk_share", (0.9, 0.95))],
)
def test_alerts_are_those_of_plain_code(
    sample: tuple[Path, Path, Outputs], rule: str, figure: str, levels: tuple[float, float]
) -> None:
    _, log, expected = sample
    found = [
        (
            each["segment"].removeprefix("worker="),
            each["change"],
            ["warning", "critical"].index(each["severity"]),
            parse_time(each["at"]),
        )
        for each in lines(expected["alerts.jsonl"])
        if each["rule"] == rule and each["change"] in ("firing", "escalated", "resolved")
    ]
    (command,) = lines((log / "registry-commands.jsonl").read_bytes())
    later = (parse_time(command["timestamp"]), 0.93) if rule == "disk" else None
    by_hand = episodes_by_hand(log, figure, levels, later)
    assert {each[1] for each in by_hand} == {"firing", "escalated", "resolved"}
    assert len(by_hand) > 40
    assert found == by_hand


def runs_by_hand(log: Path) -> list[tuple[Any, ...]]:
    """Job, change, what holds, and time of each change of an alert."""
    minutes = {"30m": 30, "2h": 120}
    now, known, open_ = 0, {}, {}
    found: list[tuple[Any, ...]] = []
    for run in lines((log / "job-runs.jsonl").read_bytes()):
        if run.get("interval") == "soon":
            continue
        now, name = max(now, parse_time(run["timestamp"])), run["job"]
        if run["status"] == "removed":
            known.pop(name, None)
            if name in open_:
                del open_[name]
                found.append((name, "resolved", now))
            continue
        if run["status"] != "time":
            job = known.setdefault(name, {"failed": 0, "since": now, "ends": [None], "every": None})
            job["every"] = minutes.get(run.get("interval"), job["every"])
            end = (run["status"], run["run_id"])
            if run["status"] != "running" and end != job["ends"][-1]:
                job["ends"].append(end)
                job["failed"] = job["failed"] + 1 if run["status"] == "failed" else 0
                job["since"] = job["since"] if run["status"] == "failed" else now
        for other, job in known.items():
            holds = {"failed"} if job["failed"] >= 3 else set()
            if job["every"] and now - job["since"] > 1.5 * job["every"] * MINUTE_MS:
                holds.add("overdue")
            if holds and other not in open_:
                found.append((other, "firing", now))
                open_[other] = holds
            elif holds and holds - open_[other]:
                found.append((other, "joined", now))
                open_[other] |= holds
            elif not holds and other in open_:
                found.append((other, "resolved", now))
                del open_[other]
    return found


def test_alerts_about_jobs_are_those_of_plain_code(sample: tuple[Path, Path, Outputs]) -> None:
    _, log, expected = sample
    found = [
        (each["segment"].removeprefix("job="), each["change"], parse_time(each["at"]))
        for each in lines(expected["alerts.jsonl"])
        if each["model_name"] == JOBS and each["change"] in ("firing", "joined", "resolved")
    ]
    by_hand = runs_by_hand(log)
    assert {each[1] for each in by_hand} == {"firing", "joined", "resolved"}
    assert {each[0] for each in by_hand} == {"tuning", "backup", "report"}
    assert len(by_hand) > 40
    assert found == by_hand


def test_silences_composites_and_responses_work_as_for_models(
    sample: tuple[Path, Path, Outputs],
) -> None:
    _, _, expected = sample
    alerts = [each for each in lines(expected["alerts.jsonl"]) if each["model_name"] == WORKERS]
    assert {"silenced", "unsilenced"} <= {each["change"] for each in alerts}
    assert "both" in {each["rule"] for each in alerts}
    answers = [
        each for each in lines(expected["alert-events.jsonl"]) if each["model_name"] == WORKERS
    ]
    assert [each["event"] for each in answers].count("silence") == 6
    # The time of a name without counts is that of its reports.
    for each in answers:
        assert abs(parse_time(each["frontier"]) - parse_time(each["at"])) < 2 * MINUTE_MS
    taken = [each["outcome"] for each in lines(expected["actions.jsonl"])]
    assert {"taken", "silenced", "cool_down"} <= set(taken)


@pytest.mark.parametrize(("partitions", "batch"), [(1, 97), (5, 1_000)])
def test_partitions_and_batches_change_no_byte(
    tmp_path: Path, sample: tuple[Path, Path, Outputs], partitions: int, batch: int
) -> None:
    config, log, expected = sample
    options = {"partitions": partitions, "batch": batch}
    assert replayed(log, tmp_path / "out", config, **options) == expected


@pytest.mark.parametrize("follow", [False, True])
def test_a_run_stopped_at_many_commits_ends_with_the_same_bytes(
    tmp_path: Path, sample: tuple[Path, Path, Outputs], follow: bool
) -> None:
    config, log, expected = sample
    source = recorded(log, expected, tmp_path / "log") if follow else log

    def start(_: Random, reached: Callable[[str], None]) -> None:
        loaded = load_config(config)
        options: dict[str, Any] = {"follow": follow, "clock": clock, "reached": reached}
        replay(source, tmp_path / "out", loaded, batch=100, **options)

    run_through_stops(start, seed=11)
    assert written(tmp_path / "out") == expected


def recorded(log: Path, outputs: Outputs, folder: Path) -> Path:
    """The log as a live run leaves it: with its results, and without the commands."""
    shutil.copytree(log, folder)
    for commands in ("alert-commands", "registry-commands"):
        (folder / f"{commands}.jsonl").unlink()
    followed = ("registry-events", "registry-effects", "reference-profiles", "actions")
    for topic in (*followed, "alert-events"):
        (folder / f"{topic}.jsonl").write_bytes(outputs[f"{topic}.jsonl"])
    return folder


def test_following_a_record_judges_reports_in_their_order_with_the_acts_between_them(
    tmp_path: Path, sample: tuple[Path, Path, Outputs]
) -> None:
    config, log, expected = sample
    folder = recorded(log, expected, tmp_path / "log")
    assert replayed(folder, tmp_path / "out", config, follow=True) == expected


def test_invalid_reports_are_dead_letters_with_their_reason(
    sample: tuple[Path, Path, Outputs],
) -> None:
    _, log, _ = sample
    letters = lines((log.parent / "out" / "worker-metrics.dlq.jsonl").read_bytes())
    assert len(letters) > 10
    assert "Expected `float` <= 1.0 - at `$.cpu_share`" in json.dumps(letters[0])


def test_the_command_line_shows_rules_and_alerts_of_workers(
    sample: tuple[Path, Path, Outputs],
) -> None:
    _, log, expected = sample
    source = ["--out", str(log.parent / "out"), "--json"]

    def said(*words: str) -> Any:
        result = CliRunner().invoke(program, [*words, *source])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    rules = said("alerts", "rules", "--model", WORKERS)
    assert [each["name"] for each in rules] == ["busy", "both", "disk", "memory"]
    known = {each["alert_id"] for each in lines(expected["alerts.jsonl"])}
    assert {each["alert_id"] for each in said("alerts", "list", "--model", WORKERS)} < known
