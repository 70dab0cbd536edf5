"""Rounds of faults, each on topics of its own.

A round sends the load, harms workers and broker, advances event time to the end, and runs the
verifier.

Each round has one kind of fault, so that its miscounts have one cause; one more mixes these kinds.
The rounds of operators have one of each of their kinds (`operator_faults.py`).
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.chaos import faults, operator_faults
from tests.chaos.commit_watcher import CommitWatcher
from tests.chaos.disk import Disk
from tests.chaos.faults import Fault, FaultResult, NotSettled, Scene
from tests.chaos.load import SECOND, Load
from tests.chaos.load_producer import LoadProducer
from tests.chaos.programs import INPUT_PARTITIONS, PRODUCT, Program
from tests.chaos.verify import Verdict, verify
from tests.chaos.workers import Fleet, UnrequestedExit
from tests.kafka.brokers import BrokerProcess

APP = "chaos"
FINISHES_S = 600.0
HURRY = 5.0
ENDS_S = 60.0  # for a machine under other load; a worker limits itself to 8 s
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
    hurry
        How many times faster event time passes than in other rounds.
    """

    name: str
    workers: int
    static: bool
    faults: tuple[Fault, ...]
    hurry: float = 1.0


@dataclass
class RoundReport:
    """Result of a round.

    Attributes
    ----------
    beside
        Verdicts on the programs that ran beside the one of the round.
    """

    name: str
    workers: int
    static: bool
    seconds: float = 0.0
    predictions: int = 0
    fault_results: list[FaultResult] = field(default_factory=list)
    unrequested_exits: list[UnrequestedExit] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    beside: list[Verdict] = field(default_factory=list)

    @property
    def is_correct(self) -> bool:
        """Whether no row was lost or counted twice, and all tasks recovered from every fault."""
        return (
            all(verdict.is_correct for verdict in (self.verdict, *self.beside))
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
    operators: int = 0,
    points: Sequence[str] = POINTS,
    mixed: bool = False,
) -> list[Round]:
    """The rounds of a campaign. About a quarter of each kind of fault goes to the mixed round; all
    of them with `mixed`. Faults of operators have two rounds for each of `operators`.

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
    if rest:
        rounds.append(Round("all together", 2, False, tuple(rest)))
    for _ in range(operators):
        rounds += operator_rounds(random)
    return rounds


def operator_rounds(random: Random) -> list[Round]:
    """Two rounds with one of each kind of an operator's faults, in which both topics of rows are
    made anew, one in each.

    Partitions are added at the end of the second one, because no window becomes final after it. Its
    event time is in a hurry, so that figures are complete at every rung before.
    """
    topics = random.sample(operator_faults.ROWS, 2)
    of_kind: list[Fault] = [
        operator_faults.poison,
        operator_faults.other_name,
        operator_faults.shifted_clock,
    ]
    random.shuffle(of_kind)
    # The inputs are copied after their topic was made anew: the copier follows one topic only.
    at = random.randint(0, len(of_kind))
    if at and of_kind[at - 1] is operator_faults.other_name:
        at -= 1  # workers may not be ended until the other program has been refused
    of_kind.insert(at, operator_faults.made_anew(topics[0]))
    of_kind.insert(random.randint(at + 1, len(of_kind)), operator_faults.copied)
    last = (
        operator_faults.made_anew(topics[1]),
        operator_faults.partitions_added(random.choice(operator_faults.ROWS)),
    )
    return [
        Round("operators", 2, True, tuple(of_kind)),
        Round("partitions added", 2, True, last, hurry=HURRY),
    ]


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
    program = Program(broker.servers, f"round{number}-", f"{APP}{number}", folder)
    program.create_topics()
    random = Random(seed)
    step_ms = round(load_rate.speed * round_.hurry * SECOND / load_rate.rate)
    with Disk(folder / "state") as disk:
        fleet = Fleet(folder, program.configuration, static=round_.static, command=list(command))
        watcher = CommitWatcher(broker.servers, program.prefix, program.app)
        producer = LoadProducer(
            broker.servers,
            program.prefix,
            Load(seed, step_ms=step_ms, quiet=INPUT_PARTITIONS),
            rate=load_rate.rate,
        )
        scene = Scene(broker, fleet, watcher, disk, random, program, producer)
        report.fault_results, report.complaints = scene.results, scene.complaints
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
            scene.check_pending()
            if scene.is_finished:
                producer.finish(FINISHES_S)
                code, output = program.finish(fleet, FINISHES_S)
                if code:
                    report.complaints.append(f"driftline finish ended with {code}: {output}")
            report.predictions = producer.predictions
            report.complaints += fleet.stop(ENDS_S)
            for second in scene.beside:
                report.complaints += second.end(FINISHES_S, ENDS_S)
        finally:
            for second in scene.beside:
                second.kill()
            for worker in scene.others:
                worker.kill()
            for worker in fleet.workers:
                worker.signal(faults.signal.SIGCONT)
                worker.kill()
            watcher.stop()
    report.unrequested_exits = fleet.unrequested_exits
    now_ms = time.time_ns() // 1_000_000
    report.verdict = verify(
        program.topics(),
        program.configuration,
        now_ms=now_ms,
        former=scene.former,
        is_finished=scene.is_finished,
    )
    report.beside = [second.verify(now_ms) for second in scene.beside]
    report.seconds = round(time.monotonic() - began, 1)
    return report
