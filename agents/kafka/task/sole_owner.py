"""A step of a program that one worker at a time runs: re-keying, and notifications.

Its transactional id is one for all workers: a newer owner shuts the older one out before it reads
where to go on. Errors are handled as in the tasks: the step begins anew after an aborted
transaction or while the broker is away, ends when another worker has taken over, and ends the
process where a right is missing or its inputs cannot be read on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from confluent_kafka import KafkaException

from driftline.agents.kafka.broker import failures
from driftline.agents.kafka.broker.connection import FORBIDDEN, BrokerError, Connection
from driftline.agents.kafka.broker.failures import Abandoned, MustStop
from driftline.agents.kafka.task.transaction import TransactionAborted, Transactions

log = logging.getLogger(__name__)

_RETRY_S: Final = 1.0


class SoleOwner:
    """Runs a step as its only owner.

    Parameters
    ----------
    connection
        The broker.
    kind
        Kind of the step, see `agents.kafka.broker.task_kinds`.
    title
        What it is called in messages, such as "re-keying".
    missing_rights
        Asks the broker for the rights that the login lacks; returns a sentence that names them,
        None if it lacks none.
    """

    def __init__(
        self,
        connection: Connection,
        kind: str,
        title: str,
        missing_rights: Callable[[], str | None],
    ) -> None:
        self._connection = connection
        self._name = f"{connection.group(kind)}-0"
        self._title = title
        self._missing_rights = missing_rights

    def run(self, work: Callable[[Transactions], None], is_abandoned: Callable[[], bool]) -> None:
        """Do the work until `is_abandoned`, or until another worker has taken over. Blocks.

        Parameters
        ----------
        work
            Called once this worker is the owner, and again after each error that passes; it returns
            when `is_abandoned`.

        Raises
        ------
        MustStop
            If the process must end.
        """
        title = self._title
        while not is_abandoned():
            try:
                self._own(work, is_abandoned)
            except Abandoned:
                return
            except TransactionAborted as error:
                if error.undelivered:
                    self._stop_without_right(error)
                log.warning("%s: a transaction was aborted, beginning anew: %s", title, error)
            except (KafkaException, BrokerError) as error:
                if isinstance(error, KafkaException) and error.args[0].code() in FORBIDDEN:
                    self._stop_without_right(error)
                what = self._connection.error(error) if isinstance(error, KafkaException) else error
                log.warning("%s: beginning anew: %s", title, what)
                time.sleep(_RETRY_S)
            except MustStop as error:
                if error.code != failures.FENCED:
                    self._stop_without_right(error)
                    raise
                log.info("%s: another worker has taken over", title)
                return

    def _stop_without_right(self, error: Exception) -> None:
        """Raise with the rights that are missing; return if none is."""
        if lacking := self._missing_rights():
            raise MustStop(failures.CONFIGURATION, lacking) from error

    def _own(self, work: Callable[[Transactions], None], is_abandoned: Callable[[], bool]) -> None:
        transactions = Transactions(self._connection, self._name, is_abandoned)
        try:
            transactions.open()
            work(transactions)
        except BaseException:
            # What closing says then is about the transaction that failed.
            with suppress(KafkaException):
                transactions.close()
            raise
        transactions.close()
