"""Termination of a worker that must not continue, and fault injection for tests.

If the outcome of a transaction is unknown, or another worker has taken a task over, everything in
the memory of this process may be wrong. The process ends at once without cleaning up; the
supervisor restarts it, and the state is restored from the last commit. Exit codes are those of
sysexits.h where one fits.

For the chaos campaign, the environment variable DRIFTLINE_FAULT names a point and a signal:
"kill:produced:5" sends SIGKILL to the own process the fifth time that the point is reached,
"stop:committed:1" sends SIGSTOP. Nothing else reads the variable.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import Final, Literal, NoReturn

POINTS: Final = ("restoring", "produced", "committed", "cached", "revoking", "closing")
Point = Literal["restoring", "produced", "committed", "cached", "revoking", "closing"]

# Exit codes: the disk is full or damaged; the program has a defect; another worker took a task
# over; configuration, broker, topics or stored state cannot be used.
STORAGE: Final = 74
DEFECT: Final = 70
FENCED: Final = 75
CONFIGURATION: Final = 78

FAULT_VARIABLE: Final = "DRIFTLINE_FAULT"
_SIGNALS: Final = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}

log = logging.getLogger(__name__)


def stop_process(code: int, why: str) -> NoReturn:
    """End this process now, after one line with the reason on standard error.

    Parameters
    ----------
    code
        Exit code, one of those above.
    why
        A sentence: what happened, and what to do if a restart does not help.
    """
    if sys.exc_info()[0] is not None and code == DEFECT:
        log.error("the exception that ended this worker", exc_info=True)
    sys.stderr.write(f"driftline worker stops: {why}\n")
    sys.stderr.flush()
    os._exit(code)


class _Fault:
    """The injected fault, if any."""

    def __init__(self, asked: str) -> None:
        action, point, times = ([*asked.split(":"), "", ""])[:3] if asked else ("", "", "")
        if asked and (
            action not in _SIGNALS or point not in POINTS or not times.isdigit() or times == "0"
        ):
            shown = f"{'|'.join(_SIGNALS)}:{'|'.join(POINTS)}:TIMES"
            stop_process(
                CONFIGURATION,
                f"{FAULT_VARIABLE} is {asked!r}, expected {shown}; unset it, it is for tests only",
            )
        self._action, self._point, self._left = action, point, int(times or 0)
        self._lock = threading.Lock()

    def reach(self, point: Point) -> None:
        if point != self._point:
            return
        with self._lock:
            self._left -= 1
            due = self._left == 0
        if due:
            os.kill(os.getpid(), _SIGNALS[self._action])


_fault = _Fault(os.environ.get(FAULT_VARIABLE, ""))


def fault_point(point: Point) -> None:
    """Mark a point of the program where a fault can be injected."""
    _fault.reach(point)


class MustStop(Exception):
    """The process must end with this exit code, for the reason in the message.

    Raised where the process cannot be ended directly.
    """

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class Forbidden(MustStop):
    """The broker refused a request for a missing right; the message has its words."""

    def __init__(self, what: str) -> None:
        super().__init__(CONFIGURATION, what)


class Abandoned(Exception):
    """The operation ended because its task was abandoned."""
