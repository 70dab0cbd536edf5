"""Runs a step that one worker at a time has (`driftline.agents.kafka.task.sole_owner`) on a thread
of this one, as long as it has it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from driftline.agents.kafka.broker.failures import MustStop

_AGAIN_S: Final = 2.0
_END_S: Final = 5.0


class Step(Protocol):
    """What is run. `is_ready` says whether it works, rather than reads where to go on."""

    is_ready: bool

    def run(self, is_abandoned: Callable[[], bool], /) -> None:
        """Work until `is_abandoned`, or until another worker has taken over. Blocks.

        Raises
        ------
        MustStop
            If the process must end.
        """


class OwnedStep:
    """A step of a worker.

    Parameters
    ----------
    title
        What it is called in messages, such as "re-keying".
    step
        The step.
    on_failure
        Called on its thread with what failed and the exception; it must end the process.
    """

    def __init__(
        self, title: str, step: Step, on_failure: Callable[[str, BaseException], None]
    ) -> None:
        self._title = title
        self._step = step
        self._on_failure = on_failure
        self._thread: threading.Thread | None = None
        self._ended_s = 0.0
        self._abandoned = threading.Event()

    def problem(self) -> str | None:
        """Why this worker does not run the step although it should; None if there is no reason."""
        if self._thread is None or self._step.is_ready:
            return None
        return f"{self._title} is being started"

    def follow(self, *, is_owner: bool) -> None:
        """Start or stop the step."""
        if self._thread is not None and not self._thread.is_alive():
            self._thread, self._ended_s = None, time.monotonic()
        if is_owner and self._thread is None and time.monotonic() >= self._ended_s + _AGAIN_S:
            self._abandoned = threading.Event()
            self._thread = threading.Thread(
                target=self._run, args=(self._abandoned.is_set,), name=self._title, daemon=True
            )
            self._thread.start()
        elif not is_owner:
            self._abandoned.set()

    def stop(self) -> None:
        """Stop the step, and wait for the end of its transaction. Blocks."""
        self._abandoned.set()
        if self._thread is not None:
            self._thread.join(_END_S)

    def _run(self, is_abandoned: Callable[[], bool]) -> None:
        try:
            self._step.run(is_abandoned)
        except MustStop as error:
            self._on_failure(self._title, error)
        except Exception as error:
            self._on_failure(f"{self._title} failed", error)
