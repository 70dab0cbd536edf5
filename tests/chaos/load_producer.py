"""Sends a load at a steady rate, also across failures of the broker."""

from __future__ import annotations

import threading
import time

from confluent_kafka import KafkaError, Message, Producer

from tests.chaos.load import Load
from tests.chaos.load import Message as LoadMessage

PAUSE_S = 0.01


class LoadProducer:
    """A thread that sends the load.

    Parameters
    ----------
    rate
        Predictions per second.
    """

    def __init__(self, bootstrap: str, prefix: str, load: Load, *, rate: float) -> None:
        self._load, self._rate, self._prefix = load, rate, prefix
        # murmur2 is the partitioner of Java clients. The timeouts outlast the faults of the broker.
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "linger.ms": 5,
                "log_level": 2,  # the broker is killed on purpose
                "delivery.timeout.ms": 600_000,
                "reconnect.backoff.max.ms": 500,
                "queue.buffering.max.messages": 1_000_000,
            }
        )
        self._stopped = threading.Event()
        self._failed: str | None = None
        self._thread = threading.Thread(target=self._run, name="load-producer", daemon=True)
        self._thread.start()

    @property
    def predictions(self) -> int:
        return self._load.predictions

    def finish(self, seconds: float) -> None:
        """Send the rest of the load, and wait until the broker has all of it.

        Raises
        ------
        RuntimeError
            If a record could not be sent.
        """
        self._stopped.set()
        self._thread.join()
        for message in self._load.rest():
            self._send(message)
        left = self._producer.flush(seconds)
        if left or self._failed:
            raise RuntimeError(
                f"the producer could not send {left} records ({self._failed or 'time is up'})"
            )

    def _run(self) -> None:
        began, sent = time.monotonic(), 0
        batches = iter(self._load)
        while not self._stopped.is_set():
            while sent < (time.monotonic() - began) * self._rate and not self._stopped.is_set():
                for message in next(batches):
                    self._send(message)
                sent += 1
            self._producer.poll(PAUSE_S)

    def _send(self, message: LoadMessage) -> None:
        topic, options = (
            self._prefix + message.topic,
            {} if message.partition is None else {"partition": message.partition},
        )
        while True:
            try:
                self._producer.produce(
                    topic, message.value, key=message.key, on_delivery=self._delivered, **options
                )
                return
            except BufferError:
                self._producer.poll(PAUSE_S)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed = f"{message.topic()}: {error}"
