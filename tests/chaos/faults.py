"""The faults of a campaign, and the time until all tasks commit again after each.

A fault is a function of the scene: it does the harm, repairs it as a supervisor or an operator
would, and reports the result. `campaign.py` decides how many of each there are.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from tests.chaos.commit_watcher import CommitWatcher, Task
from tests.chaos.copied_program import CopiedProgram
from tests.chaos.disk import Disk
from tests.chaos.load_producer import LoadProducer
from tests.chaos.losses import FormerTopic
from tests.chaos.programs import Program
from tests.chaos.workers import ENDS, Fleet, Worker
from tests.kafka.brokers import BrokerProcess

# Later the campaign continues, and the fault counts as not recovered from.
RECOVERS_S = 120.0
# To make a worker reach a named point: the partitions that it gets may have too little to do.
ATTEMPTS = 4
# How often a point is reached at most before the kill. A worker with four partitions of both kinds
# gives away two of each to a second one.
TIMES = {"restoring": 3, "revoking": 4, "closing": 1}
MOST_TIMES = 30  # the same for all other points
DIES_S = 60.0  # a worker that still runs then has not reached its named point
SESSION_S = 7.0  # a second more than the session timeout
LOOK_S = 0.2  # between two health requests
STOPS_S = 10.0  # from SIGTERM to the end
ACTIVE_S = 3.0  # a task without a commit for this long is idle, and its recovery is not awaited


class FaultResult(NamedTuple):
    """Result of one fault.

    Attributes
    ----------
    recovery
        Seconds from the fault until every task that had been active has committed output; None if
        that did not happen.
    note
        Further remarks.
    """

    kind: str
    recovery: float | None
    note: str = ""


class NotSettled(Exception):
    """The workers have not recovered from earlier faults, so a new one could not be judged."""


@dataclass
class Scene:
    """What a fault can act on, and what it leaves behind for the verifier.

    Attributes
    ----------
    results
        The faults so far.
    complaints
        What should not have happened and no figure shows, one sentence each.
    former
        Topics that were deleted and made anew.
    beside
        Programs that run until the end of the round.
    others
        Workers of further programs; whatever happens, they do not outlive the round.
    pending
        What is still to be checked of earlier faults, before workers are ended on purpose.
    is_finished
        False if no window can become final any more.
    """

    broker: BrokerProcess
    fleet: Fleet
    watcher: CommitWatcher
    disk: Disk
    random: Random
    program: Program
    load: LoadProducer
    results: list[FaultResult] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    former: list[FormerTopic] = field(default_factory=list)
    beside: list[CopiedProgram] = field(default_factory=list)
    others: list[Worker] = field(default_factory=list)
    pending: list[Callable[[], None]] = field(default_factory=list)
    is_finished: bool = True

    def check_pending(self) -> None:
        """Wait for the ends of earlier faults, and check them."""
        while self.pending:
            self.pending.pop(0)()

    def busy(self) -> list[Task]:
        """The active tasks, once there are any."""
        self.fleet.wait(lambda: bool(self.watcher.active(time.time() - ACTIVE_S)), RECOVERS_S)
        return self.watcher.active(time.time() - ACTIVE_S)

    def recovery(
        self, since: float, tasks: list[Task], *, after: float | None = None
    ) -> float | None:
        """Wait until all of these tasks have committed output; returns the seconds since `since`.
        None if there are no tasks, or if it takes too long.

        Parameters
        ----------
        after
            Only output written after this time counts; by default `since`.
        """
        if not tasks:
            return None
        missing, after = set(tasks), since if after is None else after

        def have_all_committed() -> bool:
            missing.difference_update(
                [task for task in missing if self.watcher.recovered(task, after) is not None]
            )
            return not missing

        if not self.fleet.wait(have_all_committed, RECOVERS_S):
            return None
        seen = [self.watcher.recovered(task, after) or since for task in tasks]
        return round(max(seen, default=since) - since, 3)

    def pause(self, most: float) -> None:
        """Wait for a random time of at most `most` seconds."""
        self.fleet.wait(lambda: False, self.random.uniform(0, most))

    def pick(self) -> Worker:
        """A random running worker."""
        if not self.fleet.wait(lambda: bool(self.fleet.running()), RECOVERS_S):
            raise NotSettled("no worker keeps running although all were restarted")
        return self.random.choice(self.fleet.running())

    def settled(self) -> list[Worker]:
        """The workers with partitions, once all workers are ready."""
        ends = time.monotonic() + RECOVERS_S
        while time.monotonic() < ends:
            tasks = {worker: worker.ready_tasks() for worker in self.fleet.running()}
            busy = [worker for worker, count in tasks.items() if count]
            if busy and None not in tasks.values():
                return busy
            self.fleet.wait(lambda: False, LOOK_S)
        raise NotSettled(
            f"not all workers became ready within {RECOVERS_S:.0f} s after all were restarted"
        )

    def pick_busy(self) -> Worker:
        """A random worker with partitions, once all workers are ready."""
        return self.random.choice(self.settled())

    def end(self, worker: Worker) -> str:
        """End a worker with SIGTERM; returns a complaint, or an empty string."""
        worker.wanted = False
        worker.signal(signal.SIGTERM)
        ended = self.fleet.wait(lambda: not worker.runs(), STOPS_S)
        note = "" if ended else f"{worker.name} still runs {STOPS_S:.0f} s after SIGTERM"
        if ended and worker.exit_code() not in ENDS:
            note = f"{worker.name} ended with {worker.exit_code()}: {worker.last_log_lines()}"
        worker.kill()
        return note


Fault = Callable[[Scene], FaultResult]


def kill(scene: Scene) -> FaultResult:
    """kill -9 of a worker at a random time; one in five is killed again during its restart."""
    worker, busy = scene.pick(), scene.busy()
    worker.kill()
    since, note = time.time(), ""
    worker.start()
    if scene.random.random() < 0.2:
        scene.pause(4.0)
        worker.kill()
        worker.start()
        note = "twice"
    return FaultResult("kill -9", scene.recovery(since, busy), note)


def kill_at(point: str) -> Fault:
    """kill -9 when a worker has reached a named point a random number of times."""

    def fault(scene: Scene) -> FaultResult:
        busy, notes = scene.busy(), []
        for attempt in range(ATTEMPTS):
            worker = scene.pick_busy()
            notes.append(scene.end(worker))
            # A worker with an up-to-date local copy has nothing to restore.
            if point == "restoring":
                worker.wipe_cache()
            most = TIMES.get(point, MOST_TIMES)
            times = 1 if attempt else scene.random.randint(1, most)
            worker.start(f"kill:{point}:{times}")
            if point == "closing":
                scene.recovery(time.time(), busy)
                scene.settled()  # a worker that has just been started does not handle SIGTERM yet
            worker.wanted = False  # the supervisor must not restart it now
            if point == "closing":
                worker.signal(signal.SIGTERM)
            elif point == "revoking":
                notes += revoke_partitions(scene, worker, busy)
            died = scene.fleet.wait(lambda worker=worker: not worker.runs(), DIES_S)
            since = time.time()
            reached = died and worker.exit_code() == -signal.SIGKILL
            if not reached:
                notes.append(
                    f"{worker.name} did not reach the point and "
                    + (f"ended with {worker.exit_code()}" if died else "still runs")
                )
                if not died:
                    scene.end(worker)
                since = time.time()
            worker.start()
            if reached:
                return FaultResult(
                    f"kill -9 at {point}",
                    scene.recovery(since, busy),
                    " ".join(filter(None, notes)),
                )
            scene.recovery(since, busy)
        return FaultResult(f"{point} not reached", None, " ".join(filter(None, notes)))

    return fault


def revoke_partitions(scene: Scene, worker: Worker, busy: list[Task]) -> list[str]:
    """Make a worker give partitions away: end all others, so that it takes over everything, and
    start them again. Returns complaints about their ends.

    With one worker less the others only gain partitions, and one worker more need not take them
    from this one.
    """
    others = [other for other in scene.fleet.running() if other is not worker]
    notes = [scene.end(other) for other in others]
    scene.recovery(time.time(), busy)
    for other in others:
        other.start()
    if not others:
        scene.fleet.add()
    return notes


def graceful(scene: Scene) -> FaultResult:
    """SIGTERM and restart, one worker more, or one less; there are two or three workers.

    Commits of a worker during its end, and commits of others before a new one has its partitions,
    do not count as recovery.
    """
    scene.settled()
    busy, running = scene.busy(), scene.fleet.running()
    choices = ["restart"] + (["add"] if len(running) < 3 else ["remove"])
    choice = scene.random.choice(choices) if len(running) > 1 else "add"
    if choice == "add":
        since = time.time()
        scene.fleet.add()
        scene.settled()
        return FaultResult("worker added", scene.recovery(since, busy, after=time.time()))
    worker = scene.pick_busy()
    since = time.time()
    note = scene.end(worker)
    ended = time.time()
    if choice == "restart":
        worker.start()
    return FaultResult(
        "SIGTERM, restart" if choice == "restart" else "worker removed",
        scene.recovery(since, busy, after=ended),
        note,
    )


def zombie(scene: Scene) -> FaultResult:
    """SIGSTOP until others have taken over, then SIGCONT: the worker must notice that it has been
    fenced before it changes anything.
    """
    if len(scene.fleet.running()) < 2:
        scene.fleet.add()
        scene.recovery(time.time(), scene.busy())
    worker, busy = scene.pick_busy(), scene.busy()
    worker.signal(signal.SIGSTOP)
    since = time.time()
    scene.fleet.wait(lambda: time.time() - since > SESSION_S, 2 * SESSION_S)
    taken_over = scene.recovery(since, busy)
    scene.pause(3.0)
    exits = len(scene.fleet.unrequested_exits)
    worker.signal(signal.SIGCONT)
    woken = time.time()
    ended = scene.fleet.wait(lambda: len(scene.fleet.unrequested_exits) > exits, 8.0)
    again = scene.recovery(woken, busy)
    note = scene.fleet.unrequested_exits[-1].last_log_lines if ended else "continues as a member"
    return FaultResult(
        "SIGSTOP past the session, SIGCONT",
        taken_over,
        f"{note}; all commit again after {again} s",
    )


def broker(scene: Scene) -> FaultResult:
    """kill -9 of the broker, and a restart with the same data."""
    busy = scene.busy()
    scene.broker.kill()
    since = time.time()
    scene.pause(4.0)
    scene.broker.start()
    back = time.time() - since
    return FaultResult("broker kill -9", scene.recovery(since, busy), f"back after {back:.1f} s")


def cache(scene: Scene) -> FaultResult:
    """A worker is killed or stopped, its local copy deleted or truncated, and it is restarted."""
    worker, busy = scene.pick_busy(), scene.busy()
    note = ""
    if scene.random.random() < 0.5:
        worker.kill()
    else:
        note = scene.end(worker)
    since = time.time()
    if scene.random.random() < 0.5:
        worker.wipe_cache()
        kind = "cache wiped"
    else:
        note += f" {worker.damage_cache(scene.random)} files"
        kind = "cache truncated"
    worker.start()
    return FaultResult(kind, scene.recovery(since, busy), note)


def disk_full(scene: Scene) -> FaultResult:
    """The disk of the local copies is full for some seconds; recovery is measured from when it has
    space again.
    """
    busy = scene.busy()
    exits = len(scene.fleet.unrequested_exits)
    with scene.disk.full([worker.pid for worker in scene.fleet.running()]):
        scene.fleet.wait(
            lambda: len(scene.fleet.unrequested_exits) > exits, scene.random.uniform(3.0, 12.0)
        )
    since = time.time()
    note = (
        scene.fleet.unrequested_exits[-1].last_log_lines
        if len(scene.fleet.unrequested_exits) > exits
        else "no worker noticed"
    )
    return FaultResult(f"disk full ({scene.disk.kind})", scene.recovery(since, busy), note)
