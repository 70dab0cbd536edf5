"""Watches when each task commits, in the committed records of the changelogs."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import NamedTuple

from confluent_kafka import Consumer, TopicPartition

from tests.chaos.topics import partitions_of

KINDS = ("join", "downstream")
KEPT = 20_000  # commits of each task


class Task(NamedTuple):
    """A kind of task on a partition."""

    kind: str
    partition: int


class Commit(NamedTuple):
    """When a committed record was written and when it was read, in seconds since the epoch."""

    written: float
    seen: float


class CommitWatcher:
    """A thread that follows the changelogs of an application."""

    def __init__(self, bootstrap: str, prefix: str, app: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "chaos-watcher",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 20,
                "reconnect.backoff.max.ms": 200,
                "log_level": 2,  # the broker is killed on purpose
                "auto.offset.reset": "earliest",
            }
        )
        self._topics = {f"{prefix}{app}-{kind}-changelog": kind for kind in KINDS}
        placed = [
            (topic, number)
            for topic in self._topics
            for number in partitions_of(self._consumer, topic)
        ]
        self._consumer.assign([TopicPartition(topic, number, 0) for topic, number in placed])
        self._commits: dict[Task, deque[Commit]] = {
            Task(self._topics[topic], number): deque(maxlen=KEPT) for topic, number in placed
        }
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="commit-watcher", daemon=True)
        self._thread.start()

    @property
    def tasks(self) -> list[Task]:
        return list(self._commits)

    def active(self, since: float) -> list[Task]:
        """The tasks that have committed since a time; a task without input does not commit."""
        return [
            task
            for task, commits in self._commits.items()
            if commits and commits[-1].written >= since
        ]

    def recovered(self, task: Task, after: float) -> float | None:
        """When the first record that the task wrote after a time was read, or None."""
        for commit in self._recent(task, after):
            return commit.seen
        return None

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        self._consumer.close()

    def _recent(self, task: Task, after: float) -> list[Commit]:
        recent: list[Commit] = []
        commits = self._commits[task]
        for index in range(len(commits) - 1, -1, -1):
            if commits[index].written <= after:
                break
            recent.append(commits[index])
        return recent[::-1]

    def _run(self) -> None:
        while not self._stopped.is_set():
            for message in self._consumer.consume(2_000, 0.02):
                if message.error() is None:
                    task = Task(self._topics[message.topic()], message.partition())
                    self._commits[task].append(Commit(message.timestamp()[1] / 1000, time.time()))
