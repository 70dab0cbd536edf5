"""From the options of `driftline worker` to a running worker: which kinds of task, with which
processors, on which broker.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import msgspec

from driftline.agents.garbage_collection import rarely_collecting
from driftline.agents.kafka.broker.broker_clock import BrokerClock
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.input_logs import parse_resume
from driftline.agents.kafka.broker.task_kinds import DOWNSTREAM, JOIN
from driftline.agents.kafka.stages.downstream import DownstreamProcessor, downstream_processors
from driftline.agents.kafka.stages.join import JoinProcessor, join_processors
from driftline.agents.mirror.mirror import mirror_of
from driftline.agents.notify.channel_builder import build_channels
from driftline.agents.worker import logging_setup
from driftline.agents.worker.app import check_faust
from driftline.agents.worker.malloc_settings import return_large_blocks
from driftline.agents.worker.run import TaskKind, run
from driftline.schemas.settings import Config


def run_worker(
    config: Config,
    kinds: Sequence[str],
    *,
    state: Path,
    broker: str | None,
    static_member: str | None,
    host: str,
    port: int,
    json_logs: bool,
    resume: Sequence[str] = (),
) -> NoReturn:
    """Run a worker until a signal ends it.

    Parameters
    ----------
    kinds
        Names of the kinds of task to run.
    state
        Folder for the local state; no other worker may use it.
    broker
        Overrides the broker of the configuration.
    static_member
        Overrides the static member name of the configuration.
    host, port
        Where health is served.
    resume
        Values of --resume.

    Raises
    ------
    ConfigError
        If a setting, or a secret of a channel for notifications or of Redis, cannot be used.
    MissingExtra
        If Redis is configured and its library is not installed.
    UnsupportedFaust, BrokerError, UnusableTopics, InvalidResume, OSError
        If it cannot start; the message says what to do.
    """
    logging_setup.configure(as_json=json_logs)
    check_faust()
    return_large_blocks()
    if static_member is not None:
        config = msgspec.structs.replace(
            config, kafka=msgspec.structs.replace(config.kafka, static_member=static_member)
        )
    channels = build_channels(config.notifications, path=config.path)
    mirror = None if config.redis.url is None else mirror_of(config)
    clock = BrokerClock()
    join = join_processors(config, clock=clock, ahead=clock.ahead_ms)
    downstream = downstream_processors(config, clock=clock, ahead=clock.ahead_ms)
    known = {
        JOIN: TaskKind(JOIN, JoinProcessor.inputs, join),
        DOWNSTREAM: TaskKind(DOWNSTREAM, DownstreamProcessor.inputs, downstream),
    }
    connection = Connection(config, broker)
    with rarely_collecting():
        run(
            connection,
            [known[kind] for kind in kinds],
            clock=clock,
            state=state,
            host=host,
            port=port,
            resume=parse_resume(resume, connection),
            channels=channels,
            mirror=mirror,
        )
