"""Live run of a recorded log with workers that are killed, and its comparison with a replay of the
exported topics.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

from driftline.agents.inprocess.replay import replay
from driftline.agents.kafka.broker.topics import create
from driftline.agents.kafka.tools.export import export
from driftline.agents.kafka.tools.send_log import send_log
from driftline.schemas.topics import REGISTRY_COMMANDS, TOPICS
from tests.forks import run_command
from tests.kafka.brokers import Names
from tests.kafka.worker_process import WorkerProcess

KAFKA = "input_partitions = 4\npartitions = 2"
FINISH_S = 240.0


def run_live(
    names: Names,
    log: Path,
    config: str,
    folder: Path,
    *,
    kills: int,
    workers: int,
    seed: int,
    commands: Sequence[tuple[str, bytes]] = (),
) -> str:
    """Send a log to workers, kill and restart some at random, and advance time to its end; returns
    the configuration.

    Parameters
    ----------
    config
        The configuration, without the broker.
    folder
        For the workers' state and logs, and for the exported log `export`.
    kills
        How often a worker is killed.
    commands
        Registry commands, with the model of each, that are on their topic before anything else is.
    """
    random = Random(seed)
    toml = names.toml('run.clock = "data"\n' + config, kafka=KAFKA)
    connection = names.connection('run.clock = "data"\n' + config, kafka=KAFKA)
    create(connection)
    running = [WorkerProcess(folder, toml, name=f"w{number}").start() for number in range(workers)]
    try:
        running[0].until_ready()
        producer = connection.producer()
        for model, value in commands:
            producer.produce(connection.name(REGISTRY_COMMANDS), value, key=model)
        assert producer.flush(FINISH_S) == 0
        send_log(connection, log, keep_order=True)
        for _ in range(kills):
            time.sleep(random.uniform(0.2, 2.5))
            victim = random.choice(running)
            victim.kill()
            victim.start()
        (folder / "driftline.toml").write_text(toml, encoding="utf-8")
        finish(folder / "driftline.toml", running)
        for worker in running:
            worker.terminate()
    finally:
        for worker in running:
            worker.kill()
    export(connection, folder / "export")
    return toml


def finish(config: Path, workers: Sequence[WorkerProcess]) -> None:
    """Advance time to the end of the history, as a user does; the workers must run."""
    log = config.with_suffix(".finish.log")
    finishing = run_command(["finish", "--config", str(config)], log=log, environment=os.environ)
    finishing.join(FINISH_S)
    code = finishing.exitcode
    finishing.kill()
    assert code == 0, log.read_text(encoding="utf-8") + "".join(
        worker.read_log()[-2_000:] for worker in workers
    )


def differences(
    names: Names, folder: Path, config: str, *, follow: bool = False
) -> dict[str, list[str]]:
    """Lines that only the live run ("<") or only the replay of its export (">") wrote, with their
    counts, by output topic.
    """
    settings = names.config('run.clock = "data"\n' + config, kafka=KAFKA)
    replay(
        folder / "export",
        folder / "replayed",
        settings,
        partitions=settings.kafka.input_partitions,
        follow=follow,
    )
    return result_differences(folder)


def result_differences(folder: Path) -> dict[str, list[str]]:
    """As `differences`, of the folders "export" and "replayed"."""
    found: dict[str, list[str]] = {}
    for topic in TOPICS.values():
        if topic.stage == "input" or topic.type is None:
            continue
        live, again = (
            lines_of(folder / part / f"{topic.name}.jsonl") for part in ("export", "replayed")
        )
        lines = [f"< {line}" for line in (live - again).elements()] + [
            f"> {line}" for line in (again - live).elements()
        ]
        if lines:
            found[topic.name] = sorted(lines, key=lambda line: line[2:])
    return found


def lines_of(path: Path) -> Counter[str]:
    """Count of each line; empty if the file is missing."""
    return Counter(path.read_text(encoding="utf-8").splitlines()) if path.exists() else Counter()
