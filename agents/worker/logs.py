"""How a worker logs: one line an event on standard error, for people or for machines."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

import msgspec

# What speaks of its own inner parts at INFO; their warnings count.
QUIET = ("aiohttp", "aiokafka", "asyncio", "faust", "mode")
# What librdkafka says while it tries again; whoever waits for it says so in a sentence.
SILENT = ("driftline.kafka.client",)


def configure(*, as_json: bool) -> None:
    """Send everything from INFO on to standard error, of libraries from WARNING on.

    Faust would let the root logger run at DEBUG and sort out later, which took 13 % of the samples of a profile; its worker class, which
    does that, is not used.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if as_json else Line())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)


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
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


def _source(record: logging.LogRecord) -> str:
    """Last parts of the logger's name: whose module it is does not matter to the reader."""
    return record.name.rpartition(".")[2]
