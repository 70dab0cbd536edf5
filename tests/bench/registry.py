"""`python -m tests.bench.registry`: CPU per registry command and per event of its log, by the
number of versions of one model.

Stages 2 to 4 run on a state in memory. "together" sends all commands in one batch, "one by one"
completes each before the next.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.results import RegistryEvent
from driftline.schemas.settings import Config
from driftline.streams.pipeline import Downstream
from driftline.streams.registry import replay
from driftline.streams.stage import Record
from tests.streams.registry_commands import registrations

SIZES: Final = (400, 1_000, 4_000)


def main() -> None:
    print(f"{'versions':>10}{'together':>12}{'one by one':>12}{'log':>12}   CPU in microseconds")
    for versions in SIZES:
        commands = registrations(versions)
        together_s, _ = _run([commands])
        apart_s, records = _run([[command] for command in commands])
        events = [record.value for record in records if isinstance(record.value, RegistryEvent)]
        begin_s = time.process_time()
        replay(events)
        log_s = time.process_time() - begin_s
        costs = (1e6 * seconds / versions for seconds in (together_s, apart_s, log_s))
        print(f"{versions:10,}" + "".join(f"{cost:12.1f}" for cost in costs))


def _run(batches: Sequence[Sequence[Record]]) -> tuple[float, list[Record]]:
    """CPU in seconds of the batches, and what they lead to."""
    states = {name: MemoryState() for name in ("measure", "decide", "registry")}
    stages = Downstream(Config(), states.__getitem__)
    begin_s = time.process_time()
    records = [record for batch in batches for record in stages.finish(batch)]
    return time.process_time() - begin_s, records


if __name__ == "__main__":
    main()
