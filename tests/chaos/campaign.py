"""Rounds of faults, each on topics of its own: feed, harm, let time run out, and have the verifier
judge.

A round has one sort of fault, so that its miscounts are that fault's, except the last one, which
has them all.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.chaos import faults
from tests.chaos.disk import Disk
from tests.chaos.faults import Fault, Happening, Scene, Unsettled
from tests.chaos.load import CONFIGURATION, SECOND, Load
from tests.chaos.producing import Producing
from tests.chaos.topics import read_topic
from tests.chaos.verify import INPUTS, OUTPUTS, Verdict, verify
from tests.chaos.watching import Watching
from tests.chaos.workers import Fleet, SelfExit
from tests.kafka.brokers import BrokerProcess

APP = "chaos"
FINISHES_S = 600.0
ENDS_S = 60.0  # a machine that does much besides may need so long; a worker gives itself 8 s
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
class Pace:
    """How fast the load is, in predictions per second and seconds of event time per second, and the
    longest pause between faults.
    """

    rate: float = 150.0
    speed: float = 240.0
    pause: float = 2.0


@dataclass(frozen=True)
class Round:
    """What happens in one round, in this order.

    Attributes
    ----------
    static
        Static membership: each worker comes back to its own partitions.
    """

    name: str
    workers: int
    static: bool
    faults: tuple[Fault, ...]


@dataclass
class Report:
    """How a round went."""

    name: str
    workers: int
    static: bool
    seconds: float = 0.0
    predictions: int = 0
    happenings: list[Happening] = field(default_factory=list)
    self_exits: list[SelfExit] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def right(self) -> bool:
        """Nothing lost, nothing counted twice, and every fault was recovered from."""
        return (
            self.verdict.right
            and not self.complaints
            and all(happening.recovery is not None for happening in self.happenings)
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
    """The rounds of a campaign; about a quarter of each sort of fault is kept for the mixed one, or
    all of them with `mixed`.

    Half of the kills that are not in restore are at named points, in turn at those of `points`.
    """
    random = Random(seed)
    named = max(0, kills - restoring) // 2
    sorts: list[tuple[str, int, bool, list[Fault]]] = [
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
    for name, workers, static, some in sorts:
        random.shuffle(some)
        kept = 0 if mixed else len(some) - len(some) // 4
        rest += some[kept:]
        if kept:
            rounds.append(Round(name, workers, static, tuple(some[:kept])))
    random.shuffle(rest)
    return [*rounds, Round("all together", 2, False, tuple(rest))] if rest else rounds


def run(
    rounds: Sequence[Round],
    folder: Path,
    *,
    seed: int,
    pace: Pace = Pace(),
    command: Sequence[str] = PRODUCT,
    told: bool = True,
) -> Generator[Report]:
    """Run the rounds one after the other against a broker of their own, with everything in
    `folder`.
    """
    broker = BrokerProcess(folder / "broker")
    try:
        broker.start()
        for number, one in enumerate(rounds):
            if told:
                print(f"{one.name}: {len(one.faults)} faults, {one.workers} workers", flush=True)
            yield play(
                one,
                broker,
                folder / f"round-{number}",
                seed=seed + number,
                number=number,
                pace=pace,
                command=command,
                told=told,
            )
    finally:
        broker.stop()


def play(
    one: Round,
    broker: BrokerProcess,
    folder: Path,
    *,
    seed: int,
    number: int,
    pace: Pace,
    command: Sequence[str],
    told: bool,
) -> Report:
    """Run one round and judge it."""
    folder.mkdir(parents=True)
    report, began = Report(one.name, one.workers, one.static), time.monotonic()
    prefix, app = f"round{number}-", f"{APP}{number}"
    rest = KAFKA.format(
        servers=broker.servers, app=app, inputs=INPUT_PARTITIONS, partitions=PARTITIONS
    )
    configuration = (
        CONFIGURATION.replace("[run]", f'[run]\nclock = "data"\ntopic_prefix = "{prefix}"') + rest
    )
    settings = folder / "driftline.toml"
    settings.write_text(configuration, encoding="utf-8")
    _driftline("topics", "create", "--config", str(settings))
    random = Random(seed)
    step_ms = round(pace.speed * SECOND / pace.rate)
    with Disk(folder / "state") as disk:
        fleet = Fleet(folder, configuration, static=one.static, command=list(command))
        watching = Watching(broker.servers, prefix, app)
        producing = Producing(
            broker.servers,
            prefix,
            Load(seed, step_ms=step_ms, quiet=INPUT_PARTITIONS),
            rate=pace.rate,
        )
        scene = Scene(broker, fleet, watching, disk, random)
        try:
            for _ in range(one.workers):
                fleet.add()
            if scene.recovery(time.time(), watching.tasks) is None:
                report.complaints.append("not every task committed anything after the start")
            for fault in one.faults:
                scene.pause(pace.pause)
                try:
                    happening = fault(scene)
                except Unsettled as reason:
                    happening = Happening("not possible", None, str(reason))
                report.happenings.append(happening)
                if told:
                    number_of = f"{len(report.happenings):3}/{len(one.faults)}"
                    print(
                        f"  {number_of} {happening.kind}: {happening.recovery} s {happening.note}",
                        flush=True,
                    )
            producing.finish(FINISHES_S)
            report.predictions = producing.predictions
            report.complaints += _finish(settings, fleet)
            report.complaints += fleet.stop(ENDS_S)
        finally:
            for worker in fleet.workers:
                worker.signal(faults.signal.SIGCONT)
                worker.kill()
            watching.stop()
    report.self_exits = fleet.self_exits
    topics = {name: read_topic(broker.servers, prefix + name) for name in (*INPUTS, *OUTPUTS)}
    report.verdict = verify(topics, configuration, now_ms=time.time_ns() // 1_000_000)
    report.seconds = round(time.monotonic() - began, 1)
    return report


def _finish(settings: Path, fleet: Fleet) -> list[str]:
    """Let time run on until every window is final, workers under supervision meanwhile; gives what
    went wrong.
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
            f"driftline finish ended with {code}: {output.read_text(encoding='utf-8', errors='replace')[-500:]}"
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
            f"driftline {' '.join(arguments)} ended with {done.returncode}: {(done.stderr or done.stdout).strip()}"
        )
