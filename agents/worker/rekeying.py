"""The re-keying step in the worker that has the first partition of stage 1, and how far it is
behind, whichever worker has it.
"""

from __future__ import annotations

from collections.abc import Callable

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.rekey.rekeyer import Rekeyer
from driftline.agents.kafka.tools.journal_positions import (
    Place,
    source_logs,
    unread_sources,
)
from driftline.agents.recorded.export_manifest import Range
from driftline.agents.worker.owned_step import OwnedStep


class Rekeying(OwnedStep):
    """The re-keying step of a worker.

    Parameters
    ----------
    connection
        The broker.
    rekeyer
        The step.
    on_failure
        Called on its thread with what failed and the exception; it must end the process.

    Attributes
    ----------
    is_caught_up
        Whether all records have been passed on to stage 1 that were in the sources at the look
        before the last one.
    lag_records
        Number of records that were not passed on at the last look, of those before it.
    """

    def __init__(
        self,
        connection: Connection,
        rekeyer: Rekeyer,
        on_failure: Callable[[str, BaseException], None],
    ) -> None:
        super().__init__("re-keying", rekeyer, on_failure)
        self._connection = connection
        self._logs: dict[Place, Range] = {}
        self.is_caught_up = False
        self.lag_records = 0

    def look(self) -> None:
        """Compare the positions of the step, whichever worker has it, with the ends of the sources.
        Blocks.

        Raises
        ------
        KafkaException
            If the broker does not answer.
        """
        before, self._logs = self._logs, {}
        try:
            # Of a source that goes on, there are always some records on their way.
            unread = unread_sources(self._connection, before)
            self._logs = source_logs(self._connection)
        except Exception:
            self.is_caught_up = False
            raise
        self.lag_records = sum(unread.values())
        self.is_caught_up = bool(before) and not self.lag_records
