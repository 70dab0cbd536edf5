"""What `driftline worker` does with its settings: which tasks, with which processors, on which
broker.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import msgspec

from driftline.agents.garbage_collection import rarely_collecting
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.task_kinds import DOWNSTREAM, JOIN
from driftline.agents.kafka.stages.downstream import DownstreamProcessor, downstream_processors
from driftline.agents.kafka.stages.join import JoinProcessor, join_processors
from driftline.agents.worker import logging_setup
from driftline.agents.worker.app import check_faust
from driftline.agents.worker.malloc_settings import give_back_large
from driftline.agents.worker.run import Work, run
from driftline.schemas.settings import Config


def work(
    config: Config,
    kinds: Sequence[str],
    *,
    state: Path,
    broker: str | None,
    static_member: str | None,
    host: str,
    port: int,
    json_logs: bool,
) -> NoReturn:
    """Run a worker until a signal ends it.

    Parameters
    ----------
    kinds
        Which kinds of task, by name.
    state
        Folder of this worker alone for the local copies.
    broker
        Instead of that of the configuration.
    static_member
        Name in the group, instead of that of the configuration.

    Raises
    ------
    WrongFaust, BrokerError, TopicsRefused, OSError
        If it cannot start; the message says what to do.
    """
    logging_setup.configure(as_json=json_logs)
    check_faust()
    give_back_large()
    if static_member is not None:
        config = msgspec.structs.replace(
            config, kafka=msgspec.structs.replace(config.kafka, static_member=static_member)
        )
    works = {
        JOIN: Work(JOIN, JoinProcessor.inputs, join_processors(config, clock=_now_ms)),
        DOWNSTREAM: Work(
            DOWNSTREAM, DownstreamProcessor.inputs, downstream_processors(config, clock=_now_ms)
        ),
    }
    with rarely_collecting():
        run(
            Connection(config, broker),
            [works[kind] for kind in kinds],
            state=state,
            host=host,
            port=port,
        )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
