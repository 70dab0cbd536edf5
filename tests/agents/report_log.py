"""Drawn reports of workers and jobs beside the sample log, and what people do about alerts."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

from driftline.agents.sample_log import write_sample
from driftline.schemas.reports import JOBS, WORKERS
from driftline.schemas.times import HOUR_MS, MINUTE_MS, format_time, parse_time

FIRST_MS = parse_time("2025-06-03T00:00:30Z")
HOURS = 40
RULES = f"""
[[models.{WORKERS}.rules]]
type = "system"
name = "busy"
metric = "cpu"
warning = 0.8
critical = 0.95
for = "3m"

[[models.{WORKERS}.rules]]
type = "composite"
name = "both"
all = ["busy", "disk"]

[[models.{WORKERS}.responses]]
rule = "disk"
segment = "*"
action = "restart_worker"
severity = "warning"
dry_run = false
cool_down = "1h"
most_a_day = 5
"""


def write_report_log(folder: Path, seed: int) -> tuple[Path, Path]:
    """Write configuration and log to a folder."""
    config, log = write_sample(folder)
    config.write_text(config.read_text() + RULES)
    random = Random(seed)
    write_lines(log / "worker-metrics.jsonl", _metrics(random))
    write_lines(log / "job-runs.jsonl", _runs(random))
    commands = [
        _command(random, number, "silence", {"duration": f"{random.randint(5, 600)}m"})
        for number in range(6)
    ]
    commands += [_command(random, 10, "unsilence", {"id": "c3"})]
    silence = _command(random, 11, "silence", {"duration": "9h"})
    commands.append(silence | {"model_name": JOBS})
    level = _command(random, 12, "set_rule_level", {"rule": "disk", "above": 0.93})
    write_lines(log / "registry-commands.jsonl", [level])
    write_lines(log / "alert-commands.jsonl", sorted(commands, key=lambda each: each["timestamp"]))
    return config, log


def write_lines(path: Path, values: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(each) + "\n" for each in values))


def _metrics(random: Random) -> list[dict[str, Any]]:
    """Three workers, whose figures stay high or low for a while; one is away for three hours. Some
    records come late or twice, some are none.
    """
    records: list[dict[str, Any]] = []
    high = {f"w{number}": [0, 0] for number in range(3)}
    for minute in range(60 * HOURS):
        for worker, states in high.items():
            if worker == "w1" and 600 <= minute < 780:
                continue
            for which in range(2):
                if random.random() < 0.04:
                    states[which] = random.randrange(3)
            at_ms = FIRST_MS + minute * MINUTE_MS + random.randint(-20_000, 20_000)
            record: dict[str, Any] = {
                "worker": worker,
                "timestamp": format_time(at_ms),
                "host": "h1",
                "interval_s": 60,
                "cpu_share": _drawn(random, states[0], 0.75),
                "disk_share": _drawn(random, states[1], 0.85),
            }
            if random.random() < 0.01:
                record["cpu_share"] = 17
            records.append(record)
            if random.random() < 0.02:
                records.append(random.choice(records[-20:]))
    return records


def _runs(random: Random) -> list[dict[str, Any]]:
    """Runs of three jobs, of which one states no interval and one is removed for some hours; time
    that passes; runs that are reported twice; records that are none.
    """
    records: list[dict[str, Any]] = []
    for minute in range(0, 60 * HOURS, 10):
        at_ms = FIRST_MS + minute * MINUTE_MS
        records.append({"job": "w0", "timestamp": format_time(at_ms), "status": "time"})
        for job, interval in (("tuning", "30m"), ("backup", "2h"), ("report", None)):
            at_ms += random.randint(0, 100_000)
            if random.random() < 0.5 or (job == "backup" and 700 <= minute < 1000):
                continue
            record: dict[str, Any] = {
                "job": job,
                "timestamp": format_time(at_ms),
                "status": random.choice(["succeeded", "failed", "failed", "running"]),
                "run_id": f"{job}-{minute}",
                "message": "out of memory",
            }
            if interval is not None:
                record["interval"] = interval
            if random.random() < 0.02:
                record["interval"] = "soon"
            records += [record] * random.choice([1, 1, 1, 2])
        if minute == 800:
            removed = {"job": "backup", "timestamp": format_time(at_ms), "status": "removed"}
            records.append(removed)
    return records


def _drawn(random: Random, state: int, low: float) -> float:
    """A figure that is low, around the level of a warning, or around that of a critical alert."""
    return round((0.3, random.uniform(low, 0.96), random.uniform(0.945, 1.0))[state], 3)


def _command(random: Random, number: int, command: str, params: dict[str, Any]) -> dict[str, Any]:
    return {
        "command_id": f"c{number}",
        "command": command,
        "model_name": WORKERS,
        "timestamp": format_time(FIRST_MS + random.randint(0, HOURS * HOUR_MS)),
        "requested_by": "ann",
        "params": params,
    }
