"""Runs over drawn alert logs that are killed again and again, and a count of what was lost or
doubled.

Each log is replayed undisturbed, then by processes that are killed between any two actions of the
driver and resumed. Records of alerts, answers to commands and dead letters of the killed runs are
compared with what slow code works out from the log (`alert_log.py`); all output files with those of
the undisturbed run, of one with other partitions and batches, and of one that follows the
record of the killed one.

    python -m tests.simulation.alert_crashes --crashes 500 --seed 1
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from msgspec import Struct

from driftline.agents.inprocess.replay import replay
from driftline.schemas.config import load_config
from driftline.schemas.times import parse_time
from tests.simulation import runs
from tests.simulation.alert_log import SERIES, AlertLog

FOLLOWED = (
    "registry-events",
    "registry-effects",
    "reference-profiles",
    "actions",
    "alert-events",
)
CRASHES_A_RUN = 12
"""About how many, of runs with some hundred actions."""


class Report(Struct):
    """What a campaign did and found.

    Attributes
    ----------
    logs, crashes
        Number of logs, and of runs that were killed.
    episodes, acknowledged, silenced
        Number of episodes of alerts, and of those that were acknowledged or silenced.
    commands
        Number of commands, those that came twice or could not be read included.
    records
        Number of records that had to come: of alerts, answers and dead letters.
    lost, doubled
        Of these, those that a killed run did not write, and those that it wrote too often or that
        nothing led to.
    faults
        What is wrong; empty if nothing is.
    """

    logs: int = 0
    crashes: int = 0
    episodes: int = 0
    acknowledged: int = 0
    silenced: int = 0
    commands: int = 0
    records: int = 0
    lost: int = 0
    doubled: int = 0
    faults: list[str] = []


def campaign(folder: Path, *, seed: int, crashes: int) -> Report:
    """Go through logs until that many runs have been killed."""
    report = Report()
    while report.crashes < crashes:
        number = seed + report.logs
        log = AlertLog.drawn(number)
        own = folder / f"{number}"
        log.write(own / "log")
        report.crashes += _killed_run(own, Random(number), most=crashes - report.crashes)
        report.logs += 1
        report.commands += len(log.commands)
        report.faults += [f"log {number}: {fault}" for fault in _differences(own)]
        count(log, own / "killed", report)
        shutil.rmtree(own)
    return report


def _killed_run(own: Path, random: Random, *, most: int) -> int:
    """Replay undisturbed, and by runs that are killed; gives how many were."""
    partitions = random.choice((1, 2, 5))
    actions = runs.count_actions(own / "log", own / "whole", partitions=partitions, batch=60)
    killed = 0
    while killed < most:
        at = 1 + int(random.expovariate(CRASHES_A_RUN / actions))
        batch = random.randint(20, 120)
        if not runs.run_until_killed(
            own / "log", own / "killed", partitions=partitions, batch=batch, at=at
        ):
            break
        killed += 1
    runs.run(own / "log", own / "killed", partitions=partitions, batch=60)
    return killed


def _differences(own: Path) -> list[str]:
    """Output files of the killed run that other runs write differently."""
    written, found = runs.outputs(own / "killed"), []
    runs.run(own / "log", own / "other", partitions=3, batch=31)
    followed = shutil.copytree(own / "log", own / "followed-log")
    for topic in FOLLOWED:
        shutil.copy(own / "killed" / f"{topic}.jsonl", followed)
    config = load_config(own / "log" / "driftline.toml")
    replay(followed, own / "followed", config, partitions=2, follow=True)
    for name in ("whole", "other"):
        found += _unequal(name, written, runs.outputs(own / name))
    # Commands are not read then, so none is found to be unreadable; the order between models is
    # another.
    written.pop("alert-commands.dlq.jsonl", None)
    followed_lines = map(_by_model, (written, runs.outputs(own / "followed")))
    return found + _unequal("followed", *followed_lines)


def _unequal(name: str, written: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [
        f"{file} differs from that of the run {name}"
        for file in sorted(written.keys() | other.keys())
        if written.get(file) != other.get(file)
    ]


def _by_model(written: dict[str, bytes]) -> dict[str, list[bytes]]:
    """Lines of each file, those of a model together."""
    return {
        file: sorted(text.splitlines(), key=lambda line: json.loads(line).get("model_name", ""))
        for file, text in written.items()
    }


def count(log: AlertLog, out: Path, report: Report) -> None:
    """Compare the records of a run with those that have to come of the log."""
    written = {path.stem: lines(path) for path in out.glob("*.jsonl")}
    levels = log.level_ids()
    answers = [
        (each["command_id"], each["event"])
        for each in written["registry-events"]
        if each["command_id"] in levels
    ]
    accepted = {name for name, event in answers if event == "set_rule_level"}
    got: Counter[Any] = Counter(("level", name) for name, _ in answers)
    due: Counter[Any] = Counter(("level", name) for name in levels)
    for model in SERIES:
        told, said = log.expected(model, accepted)
        firing = sum(each[2] == "firing" for each in told)
        alerts = [told_of(each) for each in written["alerts"] if each["model_name"] == model]
        events = [
            f"{each['command_id']} {each['event']}"
            for each in written["alert-events"]
            if each["model_name"] == model
        ]
        due.update((model, repr(each)) for each in (*told, *said))
        got.update((model, repr(each)) for each in (*alerts, *events))
        if alerts != told or events != said:
            report.faults.append(f"{model}: records are others than those of the slow code")
        report.episodes += firing
        report.acknowledged += sum(each[2] == "acknowledged" for each in told)
        if firing != sum(each[3] == "resolved" for each in told):
            report.faults.append(f"{model}: an episode has no end")
    report.silenced += len(
        {each["alert_id"] for each in written["alerts"] if each.get("silenced_by")}
    )
    due["unreadable"] = log.unreadable()
    got["unreadable"] = len(written.get("alert-commands.dlq", ()))
    report.records += due.total()
    report.lost += (due - got).total()
    report.doubled += (got - due).total()


def told_of(alert: dict[str, Any]) -> tuple[Any, ...]:
    """What the slow code says of a record."""
    return (
        alert["model_version"],
        alert["rule"],
        alert["change"],
        alert["status"],
        alert.get("silenced_by", []),
        alert.get("acknowledged", {}).get("by"),
        parse_time(alert["at"]),
    )


def lines(path: Path) -> list[Any]:
    """Records of an output file."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def main() -> int:
    """Run a campaign and print its report; returns 0 if it found no fault."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation.alert_crashes",
        description="Kill runs with alerts and commands, then count what was lost or doubled.",
    )
    parser.add_argument("--crashes", type=int, default=500)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        report = campaign(Path(folder), seed=options.seed, crashes=options.crashes)
    print(
        f"{report.crashes} crashes of runs over {report.logs} logs; {report.episodes} episodes, "
        f"{report.acknowledged} acknowledgements, {report.silenced} episodes silenced; "
        f"{report.commands} commands; of {report.records} records {report.lost} lost, "
        f"{report.doubled} doubled"
    )
    for fault in report.faults:
        print(f"fault: {fault}")
    return 1 if report.faults or report.lost or report.doubled else 0


if __name__ == "__main__":
    sys.exit(main())
