"""How a long run that has started brokers and workers of its own ends early: in order, so that none
of them is left behind.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def end_in_order() -> None:
    """Have each of these signals end this process by `SystemExit`, and further ones change nothing
    while it cleans up.
    """
    for number in SIGNALS:
        signal.signal(number, _end)


def _end(number: int, _: FrameType | None) -> None:
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)
