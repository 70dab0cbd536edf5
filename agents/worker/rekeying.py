"""Runs the re-keying step on a thread of one worker: the one that has the first partition of
stage 1.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.failures import MustStop
from driftline.agents.kafka.rekey.rekeyer import Rekeyer
from driftline.agents.kafka.tools.journal_positions import (
    Place,
    source_logs,
    unread_sources,
)
from driftline.agents.recorded.export_manifest import Range

_AGAIN_S: Final = 2.0
_END_S: Final = 5.0


class Rekeying:
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
        self._connection = connection
        self._rekeyer = rekeyer
        self._on_failure = on_failure
        self._thread: threading.Thread | None = None
        self._ended_s = 0.0
        self._abandoned = threading.Event()
        self._logs: dict[Place, Range] = {}
        self.is_caught_up = False
        self.lag_records = 0

    def problem(self) -> str | None:
        """Why this worker does not re-key although it should; None if it does, or need not."""
        if self._thread is None or self._rekeyer.is_ready:
            return None
        return "re-keying is being started"

    def follow(self, *, is_owner: bool) -> None:
        """Start or stop the step."""
        if self._thread is not None and not self._thread.is_alive():
            self._thread, self._ended_s = None, time.monotonic()
        if is_owner and self._thread is None and time.monotonic() >= self._ended_s + _AGAIN_S:
            self._abandoned = threading.Event()
            self._thread = threading.Thread(
                target=self._run, args=(self._abandoned.is_set,), name="rekey", daemon=True
            )
            self._thread.start()
        elif not is_owner:
            self._abandoned.set()

    def stop(self) -> None:
        """Stop the step, and wait for the end of its transaction. Blocks."""
        self._abandoned.set()
        if self._thread is not None:
            self._thread.join(_END_S)

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

    def _run(self, is_abandoned: Callable[[], bool]) -> None:
        try:
            self._rekeyer.run(is_abandoned)
        except MustStop as error:
            self._on_failure("re-keying", error)
        except Exception as error:
            self._on_failure("re-keying failed", error)
