"""The broker's time, measured by the append times of records on a topic of the program's own.

A worker judges records by the time: those too far ahead of it are rejected, and idle partitions
advance by it. If the clock of its machine is wrong, both would be wrong for ever. So the broker's
time is measured and carried on by the monotonic clock, which no correction of the machine's clock
moves, and each decision is made by the clock that does no harm: rejection by the later of the two,
ticks by the earlier one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, Message
from msgspec import Struct

from driftline.agents.kafka.broker.connection import BrokerAway, BrokerError, Connection
from driftline.agents.kafka.broker.topics import clock_topic

ANSWER_S: Final = 5.0
# The first one may wait for the connection.
_PROBES: Final = 2


class Measurement(Struct, frozen=True):
    """One measurement of the broker's time.

    Attributes
    ----------
    broker_ms
        The broker's time in the middle of the round trip, in ms since the epoch.
    at_s
        The middle of the round trip by the monotonic clock, in seconds.
    round_trip_s
        Its length; the measurement is off by half of it at most.
    """

    broker_ms: int
    at_s: float
    round_trip_s: float


class BrokerClock:
    """The broker's time: the last measurement, carried on by the monotonic clock. Before the first
    one it is the machine's time.

    Parameters
    ----------
    local
        The machine's time, in ms since the epoch.
    steady
        A monotonic clock, in seconds.

    Examples
    --------
    >>> clock = BrokerClock(local=lambda: 7_200_000, steady=lambda: 12.0)
    >>> clock.note(Measurement(broker_ms=1_000, at_s=10.0, round_trip_s=0.01))
    >>> clock(), clock.ahead_ms()
    (3000, 7197000)
    """

    def __init__(
        self,
        local: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._local = local
        self._steady = steady
        self.measured: Measurement | None = None

    def note(self, measurement: Measurement) -> None:
        """Set the clock by a measurement."""
        self.measured = measurement

    def __call__(self) -> int:
        """The broker's time, in ms since the epoch."""
        measured = self.measured
        if measured is None:
            return self._local()
        return measured.broker_ms + round((self._steady() - measured.at_s) * 1000)

    def ahead_ms(self) -> int:
        """By how many ms the machine's clock is ahead of the broker's; negative if behind."""
        return self._local() - self()


class ClockProbe:
    """Measures the broker's time with records on the program's clock topic.

    Parameters
    ----------
    connection
        The broker; the topic must exist.
    """

    def __init__(
        self, connection: Connection, steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._connection = connection
        self._steady = steady
        self._topic = connection.name(clock_topic(connection.settings))
        self._producer = connection.producer(
            linger_ms=0, message_timeout_ms=round(ANSWER_S * 1000), enable_metrics_push=False
        )

    def measure(self) -> Measurement:
        """Append a record or two; returns the measurement with the shortest round trip.

        Raises
        ------
        BrokerError
            If the broker does not answer or refuses the record, or the topic has no append times.
        """
        return min((self._probe() for _ in range(_PROBES)), key=lambda found: found.round_trip_s)

    def _probe(self) -> Measurement:
        answers: list[tuple[KafkaError | None, tuple[int, int], float]] = []

        def acknowledged(error: KafkaError | None, message: Message) -> None:
            answers.append((error, message.timestamp(), self._steady()))

        sent_s = self._steady()
        self._producer.produce(self._topic, b"{}", on_delivery=acknowledged)
        self._producer.flush(2 * ANSWER_S)
        if not answers:
            raise BrokerAway(
                f"broker {self._connection.servers}, measuring its time: does not answer"
            )
        error, (kind, broker_ms), acknowledged_s = answers[0]
        if error is not None:
            raise self._connection.error(error, f"measuring its time with topic {self._topic}")
        if kind != TIMESTAMP_LOG_APPEND_TIME:
            raise BrokerError(
                f"topic {self._topic}: its records do not have the broker's time; set "
                "message.timestamp.type=LogAppendTime"
            )
        return Measurement(broker_ms, (sent_s + acknowledged_s) / 2, acknowledged_s - sent_s)


def difference(ahead_ms: int) -> str:
    """The difference of the clocks as words.

    Examples
    --------
    >>> difference(7_200_000), difference(-1_500)
    ('7,200.0 s ahead of', '1.5 s behind')
    """
    return f"{abs(ahead_ms) / 1000:,.1f} s {'ahead of' if ahead_ms > 0 else 'behind'}"


def clock_complaint(connection: Connection, ahead_ms: int) -> str | None:
    """A sentence about clocks that differ by more than kafka.max_clock_error; None if they agree
    well enough.
    """
    limit_ms = connection.settings.max_clock_error_ms
    if abs(ahead_ms) <= limit_ms:
        return None
    return (
        f"the clock of this machine is {difference(ahead_ms)} the broker's "
        f"({connection.servers}), more than kafka.max_clock_error = {limit_ms / 1000:g} s; "
        "synchronize the wrong one of them (NTP)"
    )
