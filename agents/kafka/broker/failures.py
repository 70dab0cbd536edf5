"""How a worker ends when it may not go on, and where faults can be asked for.

A transaction whose outcome is not known, or a task that another worker has taken over, leaves
nothing to decide: whatever this process holds in memory may be wrong. It ends at once, without
cleaning up, and the supervisor starts it again; the state is restored from what is committed. Exit
codes are those of sysexits.h where one fits.

For the chaos campaign the environment variable DRIFTLINE_FAULT names a point and what happens
there: "kill:produced:5" is kill -9 of the own process the fifth time that the point is reached,
"stop:committed:1" is SIGSTOP. Nothing else reads it.
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

# The disk is full or damaged, the program has a defect, another worker took over, the broker or a
# topic is not what it should be.
STORAGE: Final = 74
DEFECT: Final = 70
FENCED: Final = 75
CONFIGURATION: Final = 78

FAULT_VARIABLE: Final = "DRIFTLINE_FAULT"
_SIGNALS: Final = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}

log = logging.getLogger(__name__)


def stop_process(code: int, why: str) -> NoReturn:
    """End this process now, after one line on standard error that says why.

    Parameters
    ----------
    code
        Exit code, one of those above.
    why
        A sentence: what happened, and what to do if the supervisor's restart does not cure it.
    """
    if sys.exc_info()[0] is not None and code == DEFECT:
        log.error("the exception that ended this worker", exc_info=True)
    sys.stderr.write(f"driftline worker stops: {why}\n")
    sys.stderr.flush()
    os._exit(code)


class _Fault:
    """The fault that was asked for, if any."""

    def __init__(self, asked: str) -> None:
        action, point, times = ([*asked.split(":"), "", ""])[:3] if asked else ("", "", "")
        if asked and (
            action not in _SIGNALS or point not in POINTS or not times.isdigit() or times == "0"
        ):
            shown = f"{'|'.join(_SIGNALS)}:{'|'.join(POINTS)}:TIMES"
            stop_process(
                CONFIGURATION,
                f"{FAULT_VARIABLE} is {asked!r}, needed is {shown}; unset it, it is for tests",
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
    """Say that the process is at a point where a fault may be asked for."""
    _fault.reach(point)


class MustStop(Exception):
    """Found where the process cannot be ended yet: it has to be, with this exit code, for the
    reason that the message says.
    """

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class Abandoned(Exception):
    """What was being waited for is no longer wanted."""
