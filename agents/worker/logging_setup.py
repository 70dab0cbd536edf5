"""How a worker logs: one line an event on standard error, for people or for machines."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

# What speaks of its own inner parts at INFO; their warnings count.
QUIET = ("aiohttp", "aiokafka", "asyncio", "faust", "mode")
# Of what one place in the code of those says, so often at most: while a broker is away they say the
# same hundreds of times a second.
SELDOM_SECONDS = 10.0
# What others say better: librdkafka while it tries again (whoever waits for it says so in a
# sentence), mode's timers under load.
SILENT = ("driftline.kafka.client", "mode.timers")


def configure(*, as_json: bool) -> None:
    """Send everything from INFO on to standard error, of libraries from WARNING on.

    Faust would let the root logger run at DEBUG and sort out later, which took 13 % of the samples
    of a profile; its worker class, which does that, is not used.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if as_json else Line())
    handler.addFilter(Seldom())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)


class Seldom(logging.Filter):
    """Lets a line of the quiet loggers pass when the place that says it has been silent for a
    while, with how many it left out.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said: dict[tuple[str, int], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        if record.name.partition(".")[0] not in QUIET:
            return True
        place, now = (record.pathname, record.lineno), self._clock()
        last, left_out = self._said.get(place, (float("-inf"), 0))
        if now - last < SELDOM_SECONDS:
            self._said[place] = last, left_out + 1
            return False
        self._said[place] = now, 0
        if left_out:
            record.msg, record.args = f"{record.getMessage()} (and {left_out} more like this)", None
        return True


class Line(logging.Formatter):
    """`2026-11-21T19:20:01.250Z INFO worker: restored …`; a traceback follows where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line for people."""
        text = f"{_time(record)} {record.levelname} {_source(record)}: {record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line for machines."""
        line: Mapping[str, Any] = {
            "time": _time(record), "level": record.levelname.lower(), "source": _source(record), "message": record.getMessage(),
        }  # fmt: skip
        if record.exc_info:
            line = {**line, "traceback": self.formatException(record.exc_info)}
        return msgspec.json.encode(line).decode()


def _time(record: logging.LogRecord) -> str:
    return (
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        + f".{int(record.msecs):03d}Z"
    )


def _source(record: logging.LogRecord) -> str:
    """Last parts of the logger's name: whose module it is does not matter to the reader."""
    return record.name.rpartition(".")[2]
