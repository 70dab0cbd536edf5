"""`driftline worker`: run the pipeline live on Kafka."""

from __future__ import annotations

from pathlib import Path

import click

from driftline.agents.cli.broker_options import broker_option
from driftline.agents.cli.inputs import config_option, read_config
from driftline.agents.cli.output import WrongInput, example


@click.command(
    short_help="Run the pipeline live on Kafka.",
    epilog=example(
        "driftline worker --config driftline.toml --state /var/lib/driftline --web-port 8080",
        "driftline worker --state w2 --web-port 8081 --stages join --name w2",
    ),
)
@config_option
@broker_option
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for a local copy of this worker's state, not shared with other workers. If it is "
    "lost, a restart reads the changelogs from the beginning.",
)
@click.option(
    "--web-port",
    type=click.IntRange(1, 65_535),
    required=True,
    help="Port of /health/live, /health/ready and /metrics.",
)
@click.option(
    "--web-bind",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address on which they are served.",
)
@click.option(
    "--stages",
    metavar="LIST",
    help="Stages that this worker runs: join, or measure,decide,registry; by default all four.",
)
@click.option(
    "--name",
    "static_member",
    metavar="NAME",
    help="Static member name, instead of kafka.static_member: a restart under the same name does "
    "not rebalance the other workers. Unique per worker.",
)
@click.option(
    "--resume",
    multiple=True,
    metavar="earliest|TOPIC:PARTITION:OFFSET",
    help="Go on where unread records were deleted or a topic was made anew: at the beginning of "
    "the log, or at an offset; repeatable. Positions that can be used stay as they are. The "
    "loss is recorded on TOPIC.dlq.",
)
@click.option("--json-logs", is_flag=True, help="Write log lines as JSON objects.")
def worker(
    config: Path | None,
    broker: str | None,
    state: Path,
    web_port: int,
    web_bind: str,
    stages: str | None,
    static_member: str | None,
    resume: tuple[str, ...],
    json_logs: bool,
) -> None:
    """Run the pipeline live until SIGTERM or SIGINT.

    Workers share the partitions; each needs its own --state. A worker that cannot continue exits
    and has to be restarted by its supervisor: docs/operations.md.
    """
    kinds = task_kinds_of(stages)
    settings = read_config(config)
    try:
        from driftline.agents.kafka.broker.connection import BrokerError
        from driftline.agents.kafka.broker.input_logs import InvalidResume
        from driftline.agents.kafka.broker.topics import UnusableTopics
        from driftline.agents.results import MissingExtra
        from driftline.agents.worker.app import UnsupportedFaust
        from driftline.agents.worker.main import run_worker
        from driftline.schemas.config import ConfigError
    except ImportError as error:
        raise WrongInput(
            f'this command needs the extra "kafka" ({error}): pip install "driftline[kafka]"'
        ) from error

    try:
        run_worker(
            settings,
            kinds,
            state=state,
            broker=broker,
            static_member=static_member,
            host=web_bind,
            port=web_port,
            json_logs=json_logs,
            resume=resume,
        )
    except (
        ConfigError,
        BrokerError,
        UnusableTopics,
        InvalidResume,
        UnsupportedFaust,
        MissingExtra,
    ) as error:
        raise WrongInput(str(error)) from error


def task_kinds_of(stages: str | None) -> tuple[str, ...]:
    """The kinds of task that run the named stages; all kinds for None.

    Examples
    --------
    >>> task_kinds_of("join,measure,decide,registry")
    ('join', 'downstream')

    Raises
    ------
    click.BadParameter
        If a stage is unknown, or stages of one kind are missing.
    """
    from driftline.agents.kafka.broker.task_kinds import STAGES

    if stages is None:
        return tuple(STAGES)
    known = [stage for of_kind in STAGES.values() for stage in of_kind]
    named = {name.strip() for name in stages.split(",")}
    unknown = sorted(named.difference(known))
    if unknown:
        raise click.BadParameter(
            f"{unknown[0]!r} is not a stage; the stages are {', '.join(known)}",
            param_hint="--stages",
        )
    kinds = tuple(kind for kind, of_kind in STAGES.items() if named.issuperset(of_kind))
    if named != {stage for kind in kinds for stage in STAGES[kind]}:
        raise click.BadParameter(
            "measure, decide and registry run in one task: they finish a pane in one transaction, "
            "so that live equals replay; name join, or measure,decide,registry, or all four",
            param_hint="--stages",
        )
    return kinds
