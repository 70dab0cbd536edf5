"""Requests that a broker refuses while it starts, moves partitions, or has just created a topic.

They are repeated for a bounded time. Waiting for a broker that is away is `broker_retry.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Final, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from driftline.agents.kafka.broker.connection import Connection

REPEATED_S: Final = 30.0
_PAUSE_S: Final = 0.05
_MOVING: Final = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
)

_T = TypeVar("_T")


def patiently(
    connection: Connection, call: Callable[[AdminClient], _T], *, also: Collection[int] = ()
) -> _T:
    """The answer to a request, which is repeated while partitions move. Each time with a new
    client: one that has seen the broker before a restart keeps the old epochs of its leaders.

    Parameters
    ----------
    call
        Sends the request and waits for the answer.
    also
        Further error codes to repeat it for.

    Raises
    ------
    KafkaException
        If the broker refuses for another reason, or for REPEATED_S.
    """
    ends = time.monotonic() + REPEATED_S
    while True:
        admin = connection.admin()  # must live until the answer is there
        try:
            return call(admin)
        except KafkaException as error:
            code = error.args[0].code()
            if (code not in _MOVING and code not in also) or time.monotonic() >= ends:
                raise
            time.sleep(_PAUSE_S)
