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
        self._bootstrap, self._load, self._rate, self._prefix = bootstrap, load, rate, prefix
        self._stopped, self._paused = threading.Event(), threading.Event()
        self._sending = threading.Lock()
        self._failed: str | None = None
        self._producer = self._connect()
        self._thread = threading.Thread(target=self._run, name="load-producer", daemon=True)
        self._thread.start()

    def _connect(self) -> Producer:
        # murmur2 is the partitioner of Java clients. The timeouts outlast the faults of the broker.
        return Producer(
            {
                "bootstrap.servers": self._bootstrap,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "linger.ms": 5,
                "log_level": 2,  # the broker is killed on purpose
                "delivery.timeout.ms": 600_000,
                "reconnect.backoff.max.ms": 500,
                "queue.buffering.max.messages": 1_000_000,
            }
        )

    @property
    def predictions(self) -> int:
        return self._load.predictions

    def pause(self, seconds: float) -> None:
        """Send nothing more for now, and wait for the broker as `finish` does."""
        self._paused.set()
        with self._sending:
            self._flush(seconds)

    def resume(self) -> None:
        """Go on with a new client, which knows nothing about topics that were made anew."""
        self._producer = self._connect()
        self._paused.clear()

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
        self._flush(seconds)

    def _flush(self, seconds: float) -> None:
        left = self._producer.flush(seconds)
        if left or self._failed:
            raise RuntimeError(
                f"the producer could not send {left} records ({self._failed or 'time is up'})"
            )

    def _run(self) -> None:
        began, sent = time.monotonic(), 0
        batches = iter(self._load)
        while not self._stopped.is_set():
            if self._paused.is_set():
                time.sleep(PAUSE_S)
                began += PAUSE_S
                continue
            with self._sending:
                while sent < (time.monotonic() - began) * self._rate and not (
                    self._stopped.is_set() or self._paused.is_set()
                ):
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
