"""`python -m tests.bench.kafka.watched OUT ARGUMENTS...`: the command line of the product, with
every call of its event loop timed.

Once a second OUT gets the longest calls so far, as JSON: seconds of processor time, seconds of the
clock, and what was called. A call is what the loop does before it serves others.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

MOST: Final = 20


def main(out: str, *arguments: str) -> None:
    longest: list[tuple[float, float, str]] = []
    run: Any = asyncio.Handle._run
    main_thread = threading.get_ident()

    def timed(self: Any) -> None:
        begun, used = time.monotonic(), time.thread_time()
        run(self)
        seconds = time.monotonic() - begun
        if seconds > 0.02 and threading.get_ident() == main_thread:
            call = (time.thread_time() - used, seconds, _name_of(self))
            if len(longest) < MOST:
                heapq.heappush(longest, call)
            else:
                heapq.heappushpop(longest, call)

    def write() -> None:
        path = Path(out)
        while True:
            time.sleep(1.0)
            path.with_suffix(".new").write_text(json.dumps(sorted(longest)[::-1]))
            path.with_suffix(".new").replace(path)

    asyncio.Handle._run = timed  # type: ignore[method-assign]
    threading.Thread(target=write, daemon=True).start()
    sys.argv = ["driftline", *arguments]
    from driftline.agents.cli import main as driftline

    driftline()


def _name_of(handle: Any) -> str:
    task = getattr(handle._callback, "__self__", None)
    name = task.get_name() if isinstance(task, asyncio.Task) else repr(handle._callback)
    return f"{name} {task.get_coro()!r}"[:200] if isinstance(task, asyncio.Task) else name[:200]


if __name__ == "__main__":
    main(*sys.argv[1:])
