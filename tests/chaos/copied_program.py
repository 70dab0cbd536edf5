"""A second program beside the first one: under its own prefix, on copies of the input topics."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from tests.chaos.programs import Program
from tests.chaos.topics import LARGEST_BATCH, LARGEST_KEPT, ends_of, partitions_of
from tests.chaos.verify import Verdict, verify
from tests.chaos.workers import Fleet

COPIED = ("predictions", "ground-truth", "registry-commands")


class TopicCopier:
    """A thread that copies the inputs of one program to those of another, partition by partition.

    Records too large for any row are left out.
    """

    def __init__(self, source: Program, target: Program) -> None:
        self._source = source
        self._names = {
            source.connection.name(name): target.connection.name(name) for name in COPIED
        }
        self._consumer = Consumer(
            {
                "bootstrap.servers": source.servers,
                "group.id": "chaos-copier",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "receive.message.max.bytes": LARGEST_BATCH,
                "auto.offset.reset": "earliest",
                "log_level": 2,
            }
        )
        self._producer = Producer(
            {
                "bootstrap.servers": target.servers,
                "enable.idempotence": True,
                "linger.ms": 5,
                "message.max.bytes": 2 * LARGEST_KEPT,
                "log_level": 2,
            }
        )
        self._next = {
            (topic, number): 0
            for topic in self._names
            for number in partitions_of(self._consumer, topic)
        }
        self._consumer.assign([TopicPartition(*place, 0) for place in self._next])
        self._stopped = threading.Event()
        self._failed: str | None = None
        self._thread = threading.Thread(target=self._run, name="topic-copier", daemon=True)
        self._thread.start()

    def finish(self, seconds: float) -> str | None:
        """Copy up to the present ends, and stop; returns a complaint if that fails."""
        ends = {
            (topic, number): end
            for topic in self._names
            for number, end in ends_of(self._source.servers, topic).items()
        }
        until = time.monotonic() + seconds
        while any(self._next[place] < end for place, end in ends.items()):
            if self._failed or time.monotonic() > until:
                break
            time.sleep(0.05)
        self.stop()
        left = sum(max(0, end - self._next[place]) for place, end in ends.items())
        left += self._producer.flush(seconds)
        if left or self._failed:
            return f"{left} records were not copied ({self._failed or 'time is up'})"
        return None

    def stop(self) -> None:
        """Stop, if it still copies."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            for message in self._consumer.consume(500, 0.05):
                if message.error() is not None:
                    self._failed = str(message.error())
                    continue
                if len(message.value() or b"") <= LARGEST_KEPT:
                    self._producer.produce(
                        self._names[message.topic()],
                        message.value(),
                        key=message.key(),
                        partition=message.partition(),
                        on_delivery=self._delivered,
                    )
                self._next[message.topic(), message.partition()] = message.offset() + 1
            self._producer.poll(0)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed = f"{message.topic()}: {error}"


class CopiedProgram:
    """A program with one worker on copies of another one's inputs, until it is ended."""

    def __init__(self, source: Program, program: Program, command: Sequence[str]) -> None:
        self.program = program
        program.create_topics()
        self.fleet = Fleet(
            program.folder, program.configuration, static=False, command=list(command)
        )
        self._copier = TopicCopier(source, program)
        self.fleet.add()

    def end(self, seconds: float, stops_s: float) -> list[str]:
        """Copy the rest, make all windows final, and end the worker; returns complaints."""
        complaint = self._copier.finish(seconds)
        complaints = [] if complaint is None else [complaint]
        code, output = self.program.finish(self.fleet, seconds)
        if code:
            complaints.append(f"driftline finish ended with {code}: {output}")
        complaints += self.fleet.stop(stops_s)
        complaints += [
            f"{exit_.worker} ended with {exit_.code}: {exit_.last_log_lines}"
            for exit_ in self.fleet.unrequested_exits
        ]
        return [f"second program: {complaint}" for complaint in complaints]

    def kill(self) -> None:
        """End everything at once."""
        self._copier.stop()
        for worker in self.fleet.workers:
            worker.kill()

    def verify(self, now_ms: int) -> Verdict:
        """Verify its figures; `now_ms` is the wall-clock time of the run."""
        return verify(self.program.topics(), self.program.configuration, now_ms=now_ms)
