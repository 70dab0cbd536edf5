"""Topics in memory and tasks that run on them: the guarantees of Kafka and the task layer, without
either.

Offsets of a topic partition ascend with gaps, as transactions leave them. A task takes any number
of records of any input, commits positions, state and outputs as one change, and loses everything
else when it crashes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from driftline.agents.kafka.broker.input_logs import PositionFault
from driftline.agents.kafka.broker.outgoing import Outgoing
from driftline.agents.kafka.broker.received_records import ReceivedRecords
from driftline.agents.kafka.task.input_positions import Loss
from driftline.agents.kafka.task.processor import (
    Processor,
    ProcessorFactory,
    SlicedProcessor,
)
from driftline.agents.state.dict_state import MemoryState
from driftline.agents.uncounted_rows import Uncounted
from driftline.streams.hashing import partitions_of
from driftline.streams.work_slices import run_some


@dataclass(frozen=True)
class Stored:
    """A record of a topic partition."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, str] = field(default_factory=dict)


class Bus:
    """All topics; `partitions` gives the number of partitions of a topic."""

    def __init__(self, partitions: Callable[[str], int], random: Random) -> None:
        self._partitions = partitions
        self._random = random
        self.logs: dict[tuple[str, int], list[Stored]] = {}
        self._next: dict[tuple[str, int], int] = {}

    def write(self, outgoing: Outgoing) -> None:
        """Append a record."""
        count = self._partitions(outgoing.topic)
        partition = outgoing.partition
        if partition is None:
            assert outgoing.key is not None, "neither a partition nor a key to derive it from"
            partition = int(partitions_of([outgoing.key], count)[0])
        assert 0 <= partition < count, outgoing
        place = (outgoing.topic, partition)
        offset = self.end(*place)
        headers = {name: text.decode() for name, text in outgoing.headers}
        self.logs.setdefault(place, []).append(
            Stored(offset, outgoing.key, outgoing.value, headers)
        )
        self._next[place] = offset + self._random.choice((1, 1, 1, 2))

    def end(self, topic: str, partition: int) -> int:
        """The next offset."""
        return self._next.get((topic, partition), 0)

    def read(self, topic: str, partition: int, position: int, count: int) -> ReceivedRecords:
        """At most `count` records from a position on."""
        log = self.logs.get((topic, partition), [])
        records = [record for record in log if record.offset >= position][:count]
        after = records[-1].offset + 1 if len(records) == count else self.end(topic, partition)
        return ReceivedRecords(
            topic=topic,
            partition=partition,
            offsets=[record.offset for record in records],
            keys=[record.key for record in records],
            values=[record.value for record in records],
            timestamps_ms=[0] * len(records),
            start=position,
            next=max(after, position),
        )

    def delete(self, topic: str, partition: int, start: int, end: int) -> list[Stored]:
        """Delete the records from `start` to `end`, excluded, as retention does; returns them."""
        log = self.logs.get((topic, partition), [])
        deleted = [record for record in log if start <= record.offset < end]
        self.logs[topic, partition] = [record for record in log if record not in deleted]
        return deleted

    def all(self, topic: str) -> list[tuple[int, Stored]]:
        """Every record of a topic with its partition, partition by partition."""
        return [
            (partition, record)
            for (name, partition), log in sorted(self.logs.items())
            if name == topic
            for record in log
        ]


class BusTask:
    """One task: a processor, its committed state and positions.

    Attributes
    ----------
    uncounted
        Rows that do not count, of all commits.
    """

    def __init__(
        self,
        bus: Bus,
        make: ProcessorFactory,
        partition: int,
        random: Random,
        clock: Callable[[], int],
    ) -> None:
        self._bus, self._make, self._partition, self._random = bus, make, partition, random
        self._clock = clock
        self._between = Random(partition)
        self._committed: dict[str, dict[bytes, bytes]] = {}
        self._positions: dict[str, int] = {}
        self._losses: list[Loss] = []
        self.uncounted: list[Uncounted] = []
        self.start()

    def start(self) -> None:
        """Start from the last commit, as after a crash."""
        self._states: dict[str, MemoryState] = {}
        self._reading = dict(self._positions)
        for loss in self._losses:
            self._reading[loss.topic] = loss.resumed_at
        self._processor: Processor = self._make(self._partition, self._state, dict(self._reading))
        for loss in self._losses:
            self._processor.note_loss(loss)
        self._buffered = 0

    def _state(self, name: str) -> MemoryState:
        if name not in self._states:
            self._states[name] = MemoryState()
            self._states[name].values.update(self._committed.get(name, {}))
        return self._states[name]

    def lose(self, topic: str, count: int) -> list[Stored]:
        """Delete the next `count` offsets of an input and start behind them; returns the records.

        An input of which nothing was applied has no position, so that nobody notices the loss.
        """
        position = self._positions.get(topic)
        end = self._bus.end(topic, self._partition)
        if position is None or position >= end:
            return []
        resumed_at = min(position + count, end)
        deleted = self._bus.delete(topic, self._partition, position, resumed_at)
        fault = PositionFault(topic, self._partition, position, "deleted", "deleted", "")
        self._losses = [loss for loss in self._losses if loss.topic != topic]
        self._losses.append(Loss(topic, fault, resumed_at))
        self.start()
        return deleted

    def unread(self) -> int:
        """Number of positions between the taken records and the ends of the inputs."""
        return sum(
            self._bus.end(topic, self._partition) - self._reading.get(topic, 0)
            for topic in self._processor.inputs
        )

    def take(self, count: int) -> None:
        """Take at most `count` records of one input, now and then of one that should wait."""
        topics = [
            t
            for t in self._processor.inputs
            if self._bus.end(t, self._partition) > self._reading.get(t, 0)
        ]
        self._processor.note_unread(frozenset(topics), now_ms=self._clock())
        pair = self._processor.waits()
        if pair is not None and set(pair) <= set(topics) and self._random.random() < 0.9:
            topics.remove(pair[0])
        if topics:
            topic = self._random.choice(topics)
            received = self._bus.read(topic, self._partition, self._reading.get(topic, 0), count)
            self._reading[topic] = received.next
            self._buffered = self._processor.take(received)

    def step(self) -> bool:
        """Commit if there is work that is not deferred; returns whether it committed."""
        ends = ((topic, self._bus.end(topic, self._partition)) for topic in self._processor.inputs)
        self._processor.note_unread(
            frozenset(topic for topic, end in ends if end > self._reading.get(topic, 0)),
            now_ms=self._clock(),
        )
        if self._processor.defers():
            return False
        self._processor.note_caught_up(not self.unread(), now_ms=self._clock())
        if self._reading == self._positions and not self._processor.pending():
            return False
        reading = dict(self._reading)
        emitted = self._process(reading)
        self._committed |= {name: dict(state.values) for name, state in self._states.items()}
        self._positions = reading
        self._losses = []
        self.uncounted += self._processor.tally().uncounted
        for outgoing in emitted:
            self._bus.write(outgoing)
        return True

    def _process(self, positions: dict[str, int]) -> list[Outgoing]:
        """Process in slices where the processor has some; now and then records come between."""
        if not isinstance(self._processor, SlicedProcessor):
            return self._processor.process(positions)
        slices = self._processor.work(positions)
        while True:
            done = run_some(slices, lambda: self._between.random() < 0.5)
            if done is not None:
                return done.result
            if self._between.random() < 0.2:
                self.take(self._between.randint(1, 20))
