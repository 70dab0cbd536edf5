"""`python -m tests.bench.kafka.profiled OUT ARGUMENTS...`: the command line of the product under
cProfile, each thread separately.

Writes OUT (main thread) and OUT.1, OUT.2, ... when the command ends; read them with pstats. Times
are processor time of each thread, so waits do not show.
"""

from __future__ import annotations

import cProfile
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any


def main(out: str, *arguments: str) -> None:
    profiles: list[cProfile.Profile] = []
    run: Callable[[threading.Thread], None] = threading.Thread.run

    def profiled(self: threading.Thread) -> None:
        profile = cProfile.Profile(time.thread_time)
        profiles.append(profile)
        profile.enable()
        try:
            run(self)
        finally:
            profile.disable()

    threading.Thread.run = profiled  # type: ignore[method-assign]
    own = cProfile.Profile(time.thread_time)

    def write() -> None:
        own.disable()
        own.dump_stats(out)
        for number, profile in enumerate(profiles, 1):
            profile.create_stats()
            profile.dump_stats(f"{out}.{number}")

    leave: Any = os._exit

    def leaving(code: int) -> None:
        write()
        leave(code)

    os._exit = leaving  # type: ignore[assignment]
    sys.argv = ["driftline", *arguments]
    from driftline.agents.cli import main as driftline

    own.enable()
    try:
        driftline()
    finally:
        write()


if __name__ == "__main__":
    main(*sys.argv[1:])
