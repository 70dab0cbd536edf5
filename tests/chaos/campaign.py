"""Rounds of faults, each on topics of its own.

A round sends the load, harms workers and broker, advances event time to the end, and runs the
verifier.

Each round has one kind of fault, so that its miscounts have one cause; the last round mixes all
kinds.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from driftline.agents.kafka.broker.connection import Connection
from driftline.schemas.config import load_config
from tests.chaos import faults
from tests.chaos.commit_watcher import CommitWatcher
from tests.chaos.disk import Disk
from tests.chaos.faults import Fault, FaultResult, NotSettled, Scene
from tests.chaos.load import CONFIGURATION, SECOND, Load
from tests.chaos.load_producer import LoadProducer
from tests.chaos.topics import read_topic
from tests.chaos.verify import INPUTS, OUTPUTS, Verdict, verify
from tests.chaos.workers import Fleet, UnrequestedExit
from tests.kafka.brokers import BrokerProcess

APP = "chaos"
FINISHES_S = 600.0
ENDS_S = 60.0  # for a machine under other load; a worker limits itself to 8 s
PRODUCT = ("-m", "driftline.agents.cli")
INPUT_PARTITIONS, PARTITIONS = 4, 4
POINTS = (
    "produced",
    "committed",
    "cached",
    "produced",
    "committed",
    "cached",
    "revoking",
    "closing",
)

KAFKA = """
[kafka]
bootstrap_servers = "{servers}"
app = "{app}"
input_partitions = {inputs}
partitions = {partitions}
session_timeout = "6s"
provisional = "500ms"
memory = "1MB"
"""


@dataclass(frozen=True)
class LoadRate:
    """Speed of the load.

    Attributes
    ----------
    rate
        Predictions per second.
    speed
        Seconds of event time per second.
    pause
        Longest pause between two faults, in seconds.
    """

    rate: float = 150.0
    speed: float = 240.0
    pause: float = 2.0


@dataclass(frozen=True)
class Round:
    """One round: its workers, and its faults in order.

    Attributes
    ----------
    static
        Static membership: a restarted worker gets its own partitions back.
    """

    name: str
    workers: int
    static: bool
    faults: tuple[Fault, ...]


@dataclass
class RoundReport:
    """Result of a round."""

    name: str
    workers: int
    static: bool
    seconds: float = 0.0
    predictions: int = 0
    fault_results: list[FaultResult] = field(default_factory=list)
    unrequested_exits: list[UnrequestedExit] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def is_correct(self) -> bool:
        """Whether no row was lost or counted twice, and all tasks recovered from every fault."""
        return (
            self.verdict.is_correct
            and not self.complaints
            and all(fault_result.recovery is not None for fault_result in self.fault_results)
        )


def plan(
    seed: int,
    *,
    kills: int,
    restoring: int,
    graceful: int,
    zombies: int,
    broker: int,
    caches: int,
    disks: int,
    points: Sequence[str] = POINTS,
    mixed: bool = False,
) -> list[Round]:
    """The rounds of a campaign. About a quarter of each kind of fault goes to the mixed round; all
    of them with `mixed`.

    Half of the kills outside of a restore are at named points, taking those of `points` in turn.
    """
    random = Random(seed)
    named = max(0, kills - restoring) // 2
    kinds: list[tuple[str, int, bool, list[Fault]]] = [
        ("kill -9", 1, True, [faults.kill] * (kills - restoring - named)),
        ("kill -9 in restore", 2, True, [faults.kill_at("restoring")] * restoring),
        (
            "kill -9 at named points",
            2,
            True,
            [faults.kill_at(points[i % len(points)]) for i in range(named)],
        ),
        ("graceful", 2, False, [faults.graceful] * graceful),
        ("zombies", 3, False, [faults.zombie] * zombies),
        ("broker", 2, True, [faults.broker] * broker),
        ("caches", 2, True, [faults.cache] * caches + [faults.disk_full] * disks),
    ]
    rounds, rest = [], []
    for name, workers, static, of_kind in kinds:
        random.shuffle(of_kind)
        kept = 0 if mixed else len(of_kind) - len(of_kind) // 4
        rest += of_kind[kept:]
        if kept:
            rounds.append(Round(name, workers, static, tuple(of_kind[:kept])))
    random.shuffle(rest)
    return [*rounds, Round("all together", 2, False, tuple(rest))] if rest else rounds


def run(
    rounds: Sequence[Round],
    folder: Path,
    *,
    seed: int,
    load_rate: LoadRate = LoadRate(),
    command: Sequence[str] = PRODUCT,
    verbose: bool = True,
) -> Generator[RoundReport]:
    """Run the rounds one after the other with a broker of their own; all files are in `folder`."""
    broker = BrokerProcess(folder / "broker")
    try:
        broker.start()
        for number, round_ in enumerate(rounds):
            if verbose:
                print(
                    f"{round_.name}: {len(round_.faults)} faults, {round_.workers} workers",
                    flush=True,
                )
            yield play(
                round_,
                broker,
                folder / f"round-{number}",
                seed=seed + number,
                number=number,
                load_rate=load_rate,
                command=command,
                verbose=verbose,
            )
    finally:
        broker.stop()


def play(
    round_: Round,
    broker: BrokerProcess,
    folder: Path,
    *,
    seed: int,
    number: int,
    load_rate: LoadRate,
    command: Sequence[str],
    verbose: bool,
) -> RoundReport:
    """Run one round, and verify its topics."""
    folder.mkdir(parents=True)
    report, began = RoundReport(round_.name, round_.workers, round_.static), time.monotonic()
    prefix, app = f"round{number}-", f"{APP}{number}"
    kafka = KAFKA.format(
        servers=broker.servers, app=app, inputs=INPUT_PARTITIONS, partitions=PARTITIONS
    )
    configuration = (
        CONFIGURATION.replace("[run]", f'[run]\nclock = "data"\ntopic_prefix = "{prefix}"') + kafka
    )
    settings = folder / "driftline.toml"
    settings.write_text(configuration, encoding="utf-8")
    _driftline("topics", "create", "--config", str(settings))
    random = Random(seed)
    step_ms = round(load_rate.speed * SECOND / load_rate.rate)
    with Disk(folder / "state") as disk:
        fleet = Fleet(folder, configuration, static=round_.static, command=list(command))
        watcher = CommitWatcher(broker.servers, prefix, app)
        producer = LoadProducer(
            broker.servers,
            prefix,
            Load(seed, step_ms=step_ms, quiet=INPUT_PARTITIONS),
            rate=load_rate.rate,
        )
        scene = Scene(broker, fleet, watcher, disk, random)
        try:
            for _ in range(round_.workers):
                fleet.add()
            if scene.recovery(time.time(), watcher.tasks) is None:
                report.complaints.append("some task committed nothing after the start")
            for fault in round_.faults:
                scene.pause(load_rate.pause)
                try:
                    fault_result = fault(scene)
                except NotSettled as reason:
                    fault_result = FaultResult("not possible", None, str(reason))
                report.fault_results.append(fault_result)
                if verbose:
                    number_of = f"{len(report.fault_results):3}/{len(round_.faults)}"
                    kind, recovery, note = fault_result
                    print(f"  {number_of} {kind}: {recovery} s {note}", flush=True)
            producer.finish(FINISHES_S)
            report.predictions = producer.predictions
            report.complaints += _finish(settings, fleet)
            report.complaints += fleet.stop(ENDS_S)
        finally:
            for worker in fleet.workers:
                worker.signal(faults.signal.SIGCONT)
                worker.kill()
            watcher.stop()
    report.unrequested_exits = fleet.unrequested_exits
    connection = Connection(load_config(settings), broker.servers)
    topics = {
        name: read_topic(broker.servers, connection.name(name)) for name in (*INPUTS, *OUTPUTS)
    }
    report.verdict = verify(topics, configuration, now_ms=time.time_ns() // 1_000_000)
    report.seconds = round(time.monotonic() - began, 1)
    return report


def _finish(settings: Path, fleet: Fleet) -> list[str]:
    """Advance event time until all windows are final, with the workers supervised; returns
    complaints.
    """
    output = settings.with_name("finish.log")
    with output.open("wb") as log:
        finishing = subprocess.Popen(
            [sys.executable, *PRODUCT, "finish", "--config", str(settings)],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
        try:
            fleet.wait(lambda: finishing.poll() is not None, FINISHES_S)
        finally:
            finishing.kill()
        code = finishing.wait()
    return (
        []
        if code == 0
        else [
            f"driftline finish ended with {code}: "
            f"{output.read_text(encoding='utf-8', errors='replace')[-500:]}"
        ]
    )


def _driftline(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, *PRODUCT, *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise RuntimeError(
            f"driftline {' '.join(arguments)} ended with {done.returncode}: "
            f"{(done.stderr or done.stdout).strip()}"
        )
