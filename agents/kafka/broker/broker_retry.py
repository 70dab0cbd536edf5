"""Waiting for a broker that is away: try again, say so now and then, and stop when nobody wants it
any more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from confluent_kafka import KafkaError

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.failures import Abandoned

log = logging.getLogger(__name__)

_PAUSE_S: Final = 0.25
# Leaders change within this time; what takes longer is worth a line.
_QUIET_S: Final = 2.0
_TELL_S: Final = 10.0


class BrokerRetry:
    """One wait.

    Parameters
    ----------
    connection
        The broker.
    name, doing
        Who waits, and for what; for messages such as "driftline-join-3: cannot commit yet".
    is_abandoned
        True ends the wait.
    """

    def __init__(
        self, connection: Connection, name: str, doing: str, is_abandoned: Callable[[], bool]
    ) -> None:
        self._connection = connection
        self._name = name
        self._doing = doing
        self._unwanted = is_abandoned
        self._began = time.monotonic()
        self._tell_at = self._began + _QUIET_S

    @property
    def waited_s(self) -> float:
        """For how long."""
        return time.monotonic() - self._began

    def again(self, fault: KafkaError) -> None:
        """Return when it is time to try again after a fault.

        Raises
        ------
        Abandoned
            If it is no longer wanted.
        """
        if self._unwanted():
            raise Abandoned(self._name)
        now = time.monotonic()
        if now >= self._tell_at:
            self._tell_at = now + _TELL_S
            log.warning(
                "%s: cannot %s yet, trying on: %s",
                self._name,
                self._doing,
                self._connection.error(fault),
            )
        time.sleep(_PAUSE_S)
