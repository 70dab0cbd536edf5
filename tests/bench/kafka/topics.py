"""Topics of the benchmark: configuration, creation, deletion, and sending a recorded log.

Each measurement of the pipeline has topics of its own, except for the inputs, which are written
once and read by all contestants.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.topics import create
from driftline.schemas.config import load_config
from driftline.schemas.events import Tick
from driftline.schemas.times import format_time, parse_time
from driftline.schemas.topics import GROUND_TRUTH, METRICS, PREDICTIONS, PROGRAM_TOPICS, TICKS

INPUTS: Final = (PREDICTIONS, GROUND_TRUTH)
WAIT_S: Final = 60.0


class Bench:
    """A broker, and the topics of one prefix on it.

    Parameters
    ----------
    servers
        Bootstrap servers of the broker.
    prefix
        Prefix of all topic names.
    partitions
        Number of partitions of the inputs, and of the topics after stage 1.
    """

    def __init__(self, servers: str, prefix: str, partitions: int = 4) -> None:
        self.servers = servers
        self.prefix = prefix
        self.partitions = partitions
        self.app = ""
        self.admin = AdminClient({"bootstrap.servers": servers})

    def name(self, topic: str) -> str:
        """Name of a topic on the broker, for the program of the last configuration."""
        return f"{self.prefix}{f'{self.app}-' if topic in PROGRAM_TOPICS else ''}{topic}"

    def configuration(
        self, path: Path, settings: str, app: str, *, clock: str = "data", kafka: str = ""
    ) -> Path:
        """Write the settings of a job, with those of Kafka added."""
        self.app = app
        run = f'[run]\nclock = "{clock}"\ntopic_prefix = "{self.prefix}"\n'
        broker = (
            f'[kafka]\nbootstrap_servers = "{self.servers}"\napp = "{app}"\n'
            f"input_partitions = {self.partitions}\npartitions = {self.partitions}\n{kafka}"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(settings.replace("[run]\n", run) + broker, encoding="utf-8")
        return path

    def fresh(self, config: Path) -> None:
        """Delete all topics of the prefix except the inputs, and create the product's topics."""
        self.delete([name for name in self.names() if name not in map(self.name, INPUTS)])
        create(Connection(load_config(config), environment={}))

    def names(self) -> list[str]:
        """Topics that begin with the prefix."""
        return sorted(
            name
            for name in self.admin.list_topics(timeout=WAIT_S).topics
            if name.startswith(self.prefix)
        )

    def delete(self, names: list[str]) -> None:
        """Delete topics, and wait until they are gone."""
        if not names:
            return
        for future in self.admin.delete_topics(names, operation_timeout=WAIT_S).values():
            future.result()
        ends = time.monotonic() + WAIT_S
        while set(names) & set(self.names()):
            if time.monotonic() > ends:
                raise TimeoutError(
                    f"the broker has not deleted {', '.join(names)} after {WAIT_S:.0f} s"
                )
            time.sleep(0.1)

    def make_inputs(self) -> None:
        """Delete all topics of the prefix, and create the two input topics."""
        self.delete(self.names())
        topics = [
            NewTopic(self.name(topic), self.partitions, 1, config={"retention.ms": "-1"})
            for topic in INPUTS
        ]
        for future in self.admin.create_topics(topics, operation_timeout=WAIT_S).values():
            future.result()

    def send_log(self, log: Path) -> str:
        """Send a recorded log to the input topics, predictions and truths in the order of their
        times; returns the last time.
        """
        producer = self.producer()
        with (
            (log / "predictions.jsonl").open("rb") as predictions,
            (log / "ground-truth.jsonl").open("rb") as truths,
        ):
            truth, last = next(truths, b""), b""
            for line in predictions:
                self._send(producer, PREDICTIONS, line)
                while truth and _time(truth) <= _time(line):
                    self._send(producer, GROUND_TRUTH, truth)
                    last, truth = truth, next(truths, b"")
            while truth:
                self._send(producer, GROUND_TRUTH, truth)
                last, truth = truth, next(truths, b"")
        producer.flush()
        return _time(last).decode()

    def ask(self, upto_ms: int, *, ended: str | None = None) -> None:
        """Request a tick to a time on every partition, once its inputs are read to the end."""
        producer = self.producer()
        tick = msgspec.json.encode(Tick(timestamp=format_time(upto_ms), ended=ended))
        for partition in range(self.partitions):
            producer.produce(self.name(TICKS), tick, str(partition).encode(), partition)
        producer.flush()

    def finish(self, last: str, horizon_ms: int) -> int:
        """Request the end of a recorded log, far enough after its last row for all windows to be
        final; returns the requested time.
        """
        end_ms = parse_time(last) + 3 * horizon_ms
        self.ask(end_ms, ended=last)
        return end_ms

    def producer(self) -> Producer:
        """A producer like that of an application: Java's partitioner, large batches."""
        settings = {
            "partitioner": "murmur2_random",
            "linger.ms": 50,
            "batch.num.messages": 10_000,
            "queue.buffering.max.messages": 200_000,
        }
        return Producer({"bootstrap.servers": self.servers, **settings})

    def reader(self, *topics: str, **settings: object) -> Consumer:
        """A consumer of committed records, from the beginning of all partitions of some topics."""
        base = {
            "group.id": "unused",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
        }
        consumer = Consumer({"bootstrap.servers": self.servers, **base, **settings})
        places = [
            TopicPartition(self.name(topic), number, 0)
            for topic in topics
            for number in range(self.partitions)
        ]
        consumer.assign(places)
        return consumer

    def whole(self, topic: str) -> Iterator[bytes]:
        """All values of a topic that are committed by now."""
        consumer = self.reader(topic, **{"enable.partition.eof": True})
        ended = 0
        while ended < self.partitions:
            for message in consumer.consume(10_000, 1.0):
                if message.error() is not None:
                    ended += 1
                else:
                    yield message.value()
        consumer.close()

    def _send(self, producer: Producer, topic: str, line: bytes) -> None:
        # Every line of the jobs begins with the id: {"prediction_id":"<32 digits>".
        while True:
            try:
                producer.produce(self.name(topic), line.rstrip(), line[18:50])
                return
            except BufferError:
                producer.poll(0.05)


def value_of(message: Message) -> bytes:
    """The value of a message; raises if it is an error."""
    if message.error() is not None:
        raise KafkaException(message.error())
    return message.value()


def sum_figures(bench: Bench) -> dict[str, int]:
    """Sums of the final figures of the decisions lane, to compare with those of the ideal."""
    total = {"predictions": 0, "joined": 0, "right": 0}
    for value in bench.whole(METRICS):
        figure = msgspec.json.decode(value)
        if (figure["lane"], figure["segment"], figure["kind"], figure["final"]) == (
            "decisions",
            "all",
            "tumbling",
            True,
        ):
            total["predictions"] += figure["n_predictions"]
            total["joined"] += figure["n"]
            total["right"] += sum(row[i] for i, row in enumerate(figure.get("matrix", ())))
    return total


def _time(line: bytes) -> bytes:
    begin = line.index(b'"timestamp":"') + 13
    return line[begin : line.index(b'"', begin)]
