"""Processes that are forked from a server which has imported what the tests run in them.

The server has opened no file, no database and no connection. A process starts in a tenth of a
second; by itself, a worker imports for 1.3 s of processor time (measured).
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

FORKS = multiprocessing.get_context("forkserver")
FRESH = multiprocessing.get_context("spawn")
FORKS.set_forkserver_preload(
    [
        "driftline.agents.cli.program",
        "driftline.agents.inprocess.replay",
        "driftline.agents.worker.main",
        "river.drift",
        "tests.simulation.runs",
    ]
)


def run_command(
    words: Sequence[str], *, log: Path, environment: Mapping[str, str], fresh: bool = False
) -> BaseProcess:
    """Start `driftline` with these words; its output is appended to `log`.

    With `fresh`, the interpreter starts anew, with the environment of the test as it is now: a
    forked one does not read PYTHONPATH again.
    """
    context = FRESH if fresh else FORKS
    process = context.Process(target=_command, args=(list(words), log, dict(environment)))
    process.start()
    return process


def _command(words: list[str], log: Path, environment: dict[str, str]) -> None:
    """Become the command."""
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["driftline", *words]
    from driftline.agents.cli import main

    main()
