"""Retry while a broker is away, with a log line now and then, until the caller gives up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from confluent_kafka import KafkaError

from driftline.agents.kafka.broker.connection import FORBIDDEN, Connection
from driftline.agents.kafka.broker.failures import Abandoned, Forbidden

log = logging.getLogger(__name__)

_PAUSE_S: Final = 0.25
# Leaders change within this time; a longer wait is logged.
_QUIET_S: Final = 2.0
_LOG_EVERY_S: Final = 10.0


class BrokerRetry:
    """One operation that is retried.

    Parameters
    ----------
    connection
        The broker.
    name, doing
        Task and operation, for messages such as "driftline-join-3: cannot commit yet".
    is_abandoned
        Checked before each retry; True ends the wait.
    """

    def __init__(
        self, connection: Connection, name: str, doing: str, is_abandoned: Callable[[], bool]
    ) -> None:
        self._connection = connection
        self._name = name
        self._doing = doing
        self._unwanted = is_abandoned
        self._began = time.monotonic()
        self._log_at = self._began + _QUIET_S

    @property
    def waited_s(self) -> float:
        """Seconds since the first attempt."""
        return time.monotonic() - self._began

    def wait(self, fault: KafkaError) -> None:
        """Sleep until the next attempt after a fault.

        Raises
        ------
        Forbidden
            If a right is missing.
        Abandoned
            If `is_abandoned` returned True.
        """
        if fault.code() in FORBIDDEN:
            raise Forbidden(f"{self._name}: cannot {self._doing}: {fault.str()}")
        if self._unwanted():
            raise Abandoned(self._name)
        now = time.monotonic()
        if now >= self._log_at:
            self._log_at = now + _LOG_EVERY_S
            log.warning(
                "%s: cannot %s yet, retrying: %s",
                self._name,
                self._doing,
                self._connection.error(fault),
            )
        time.sleep(_PAUSE_S)
