"""What is done to the workers and to the broker, one fault at a time, and how long until every task
commits again.

A fault is a function of the scene: it does the harm, sees to it that somebody repairs it as a
supervisor or an operator would, and tells what happened. How many of which fault there are is
`campaign.py`.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from tests.chaos.disk import Disk
from tests.chaos.watching import Task, Watching
from tests.chaos.workers import ENDS, Fleet, Worker
from tests.kafka.brokers import BrokerProcess

RECOVERS_S = (
    120.0  # after that the scene goes on, and the fault counts as one that was not recovered from
)
ATTEMPTS = (
    4  # at having a worker reach a point: the partitions that it gets may have too little to do
)
# A worker that holds four partitions of both kinds gives away two of each to a second one.
TIMES = {"restoring": 3, "revoking": 4, "closing": 1}
OFTEN = 30  # how often the other points are reached at most, before the kill
DIES_S = 60.0  # a worker that was told to end at a named point does so until then, or the point was not reached
SESSION_S = 7.0  # a second more than the session timeout
LOOK_S = 0.2  # between two questions about health
STOPS_S = 10.0  # from SIGTERM to the end
ACTIVE_S = (
    3.0  # a task that committed nothing for so long has nothing to do, and nobody waits for it
)


class Happening(NamedTuple):
    """One fault that happened.

    Attributes
    ----------
    recovery
        Seconds from the fault to the first committed output of the last task that had been at work;
        None if it did not come.
    note
        What else there is to say.
    """

    kind: str
    recovery: float | None
    note: str = ""


class Unsettled(Exception):
    """The workers are not well enough for a fault to be told from what came before."""


class Scene:
    """Everything that a fault can get at."""

    def __init__(
        self, broker: BrokerProcess, fleet: Fleet, watching: Watching, disk: Disk, random: Random
    ) -> None:
        self.broker, self.fleet, self.watching, self.disk, self.random = (
            broker,
            fleet,
            watching,
            disk,
            random,
        )

    def busy(self) -> list[Task]:
        """The tasks that are at work, once there are any."""
        self.fleet.wait(lambda: bool(self.watching.active(time.time() - ACTIVE_S)), RECOVERS_S)
        return self.watching.active(time.time() - ACTIVE_S)

    def recovery(
        self, since: float, tasks: list[Task], *, after: float | None = None
    ) -> float | None:
        """Wait until all of these tasks, and at least one, have written and committed something;
        gives the seconds since `since`.

        Parameters
        ----------
        after
            What was written before does not count; by default `since`.
        """
        if not tasks:
            return None
        missing, after = set(tasks), since if after is None else after

        def all_again() -> bool:
            missing.difference_update(
                [task for task in missing if self.watching.recovered(task, after) is not None]
            )
            return not missing

        if not self.fleet.wait(all_again, RECOVERS_S):
            return None
        seen = [self.watching.recovered(task, after) or since for task in tasks]
        return round(max(seen, default=since) - since, 3)

    def pause(self, most: float) -> None:
        """Let some time pass."""
        self.fleet.wait(lambda: False, self.random.uniform(0, most))

    def pick(self) -> Worker:
        """One of the workers that run."""
        if not self.fleet.wait(lambda: bool(self.fleet.running()), RECOVERS_S):
            raise Unsettled("no worker goes on running although all were started again")
        return self.random.choice(self.fleet.running())

    def settled(self) -> list[Worker]:
        """The workers that have partitions, once all are ready."""
        ends = time.monotonic() + RECOVERS_S
        while time.monotonic() < ends:
            tasks = {worker: worker.ready_tasks() for worker in self.fleet.running()}
            busy = [worker for worker, found in tasks.items() if found]
            if busy and None not in tasks.values():
                return busy
            self.fleet.wait(lambda: False, LOOK_S)
        raise Unsettled(
            f"not all workers became ready within {RECOVERS_S:.0f} s although all were started again"
        )

    def pick_busy(self) -> Worker:
        """One of the workers that have partitions, once all are ready."""
        return self.random.choice(self.settled())

    def end(self, worker: Worker) -> str:
        """SIGTERM, and wait; gives what was wrong with its end."""
        worker.wanted = False
        worker.signal(signal.SIGTERM)
        ended = self.fleet.wait(lambda: not worker.runs(), STOPS_S)
        note = "" if ended else f"{worker.name} runs {STOPS_S:.0f} s after SIGTERM"
        if ended and worker.exit_code() not in ENDS:
            note = f"{worker.name} ended with {worker.exit_code()}: {worker.last_words()}"
        worker.kill()
        return note


Fault = Callable[[Scene], Happening]


def kill(scene: Scene) -> Happening:
    """kill -9 of a worker at a random time; one in five is killed again while it comes back."""
    worker, busy = scene.pick(), scene.busy()
    worker.kill()
    since, note = time.time(), ""
    worker.start()
    if scene.random.random() < 0.2:
        scene.pause(4.0)
        worker.kill()
        worker.start()
        note = "twice"
    return Happening("kill -9", scene.recovery(since, busy), note)


def kill_at(point: str) -> Fault:
    """kill -9 at a named point, reached for a random number of times."""

    def fault(scene: Scene) -> Happening:
        busy, notes = scene.busy(), []
        for attempt in range(ATTEMPTS):
            worker = scene.pick_busy()
            notes.append(scene.end(worker))
            # With a local copy that is up to date there is nothing to restore.
            if point == "restoring":
                worker.wipe_cache()
            worker.start(
                f"kill:{point}:{1 if attempt else scene.random.randint(1, TIMES.get(point, OFTEN))}"
            )
            if point == "closing":
                scene.recovery(time.time(), busy)
                scene.settled()  # one that has only just been started does not hear SIGTERM yet
            worker.wanted = False  # from here on its end is waited for
            if point == "closing":
                worker.signal(signal.SIGTERM)
            elif point == "revoking":
                notes += crowd(scene, worker, busy)
            died = scene.fleet.wait(lambda worker=worker: not worker.runs(), DIES_S)
            since = time.time()
            reached = died and worker.exit_code() == -signal.SIGKILL
            if not reached:
                notes.append(
                    f"{worker.name} did not come to the point and "
                    + (f"ended with {worker.exit_code()}" if died else "runs")
                )
                if not died:
                    scene.end(worker)
                since = time.time()
            worker.start()
            if reached:
                return Happening(
                    f"kill -9 at {point}",
                    scene.recovery(since, busy),
                    " ".join(filter(None, notes)),
                )
            scene.recovery(since, busy)
        return Happening(f"{point} not reached", None, " ".join(filter(None, notes)))

    return fault


def crowd(scene: Scene, worker: Worker, busy: list[Task]) -> list[str]:
    """Have a worker take over everything and others come back, so that it gives partitions away;
    tells what was wrong with their ends.

    One worker less makes the others gain partitions only, and one worker more need not take them
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


def graceful(scene: Scene) -> Happening:
    """SIGTERM and start again, one worker more, or one less; there are two or three.

    What a worker commits while it ends, and what others do before a new one has its partitions, is
    no recovery.
    """
    scene.settled()
    busy, running = scene.busy(), scene.fleet.running()
    choices = ["restart"] + (["add"] if len(running) < 3 else ["remove"])
    choice = scene.random.choice(choices) if len(running) > 1 else "add"
    if choice == "add":
        since = time.time()
        scene.fleet.add()
        scene.settled()
        return Happening("worker added", scene.recovery(since, busy, after=time.time()))
    worker = scene.pick_busy()
    since = time.time()
    note = scene.end(worker)
    ended = time.time()
    if choice == "restart":
        worker.start()
    return Happening(
        "SIGTERM, restart" if choice == "restart" else "worker removed",
        scene.recovery(since, busy, after=ended),
        note,
    )


def zombie(scene: Scene) -> Happening:
    """SIGSTOP until others have taken over, then SIGCONT: it must find out that it is out before it
    changes anything.
    """
    if len(scene.fleet.running()) < 2:
        scene.fleet.add()
        scene.recovery(time.time(), scene.busy())
    worker, busy = scene.pick_busy(), scene.busy()
    worker.signal(signal.SIGSTOP)
    since = time.time()
    scene.fleet.wait(lambda: time.time() - since > SESSION_S, 2 * SESSION_S)
    taken = scene.recovery(since, busy)
    scene.pause(3.0)
    exits = len(scene.fleet.self_exits)
    worker.signal(signal.SIGCONT)
    woken = time.time()
    ended = scene.fleet.wait(lambda: len(scene.fleet.self_exits) > exits, 8.0)
    again = scene.recovery(woken, busy)
    note = scene.fleet.self_exits[-1].words if ended else "goes on as a member"
    return Happening(
        "SIGSTOP past the session, SIGCONT", taken, f"{note}; all again after {again} s"
    )


def broker(scene: Scene) -> Happening:
    """kill -9 of the broker, and a new start on the same data."""
    busy = scene.busy()
    scene.broker.kill()
    since = time.time()
    scene.pause(4.0)
    scene.broker.start()
    back = time.time() - since
    return Happening("broker kill -9", scene.recovery(since, busy), f"back after {back:.1f} s")


def cache(scene: Scene) -> Happening:
    """A worker is killed or stopped, its cache deleted or cut short, and it comes back."""
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
    return Happening(kind, scene.recovery(since, busy), note)


def disk_full(scene: Scene) -> Happening:
    """No space is left for the caches for some seconds; the time counts from when there is some
    again.
    """
    busy = scene.busy()
    exits = len(scene.fleet.self_exits)
    with scene.disk.full([worker.pid for worker in scene.fleet.running()]):
        scene.fleet.wait(
            lambda: len(scene.fleet.self_exits) > exits, scene.random.uniform(3.0, 12.0)
        )
    since = time.time()
    note = (
        scene.fleet.self_exits[-1].words
        if len(scene.fleet.self_exits) > exits
        else "nobody noticed"
    )
    return Happening(f"disk full ({scene.disk.how})", scene.recovery(since, busy), note)
