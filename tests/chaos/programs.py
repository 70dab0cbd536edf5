"""A program of a round: its configuration, its topics, and the verbs that are called for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from driftline.agents.kafka.broker.connection import Connection
from driftline.schemas.config import parse_config
from tests.chaos.load import CONFIGURATION
from tests.chaos.topics import Stored, read_topic
from tests.chaos.verify import INPUTS, OUTPUTS
from tests.chaos.workers import Fleet

PRODUCT = ("-m", "driftline.agents.cli")
INPUT_PARTITIONS, PARTITIONS = 4, 4

KAFKA = """
[kafka]
bootstrap_servers = "{servers}"
worker_metrics = "off"
app = "{app}"
input_partitions = {inputs}
partitions = {partitions}
session_timeout = "6s"
provisional = "500ms"
memory = "1MB"
"""


@dataclass(frozen=True)
class Program:
    """A program that reads the load, by event time.

    Attributes
    ----------
    folder
        Of its configuration and its workers; it exists.
    """

    servers: str
    prefix: str
    app: str
    folder: Path

    @property
    def configuration(self) -> str:
        kafka = KAFKA.format(
            servers=self.servers, app=self.app, inputs=INPUT_PARTITIONS, partitions=PARTITIONS
        )
        run = f'[run]\nclock = "data"\ntopic_prefix = "{self.prefix}"'
        return CONFIGURATION.replace("[run]", run) + kafka

    @property
    def connection(self) -> Connection:
        return Connection(parse_config(self.configuration), self.servers)

    def create_topics(self) -> None:
        """Create the topics that are missing.

        Raises
        ------
        RuntimeError
            If that fails.
        """
        create_topics(self._settings())

    def finish(self, fleet: Fleet, seconds: float) -> tuple[int, str]:
        """Advance event time until all windows are final, with the workers supervised; returns the
        exit code and the last output.
        """
        settings = self._settings()
        output = settings.with_name("finish.log")
        with output.open("wb") as log:
            finishing = subprocess.Popen(
                [sys.executable, *PRODUCT, "finish", "--config", str(settings)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
            try:
                fleet.wait(lambda: finishing.poll() is not None, seconds)
            finally:
                finishing.kill()
            code = finishing.wait()
        return code, output.read_text(encoding="utf-8", errors="replace")[-500:]

    def topics(self) -> Mapping[str, Iterable[Stored]]:
        """What is on its topics; those of the inputs only in the configured partitions."""
        return {name: self._read(name) for name in (*INPUTS, *OUTPUTS)}

    def _read(self, name: str) -> Iterable[Stored]:
        records = read_topic(self.servers, self.connection.name(name))
        if name not in ("predictions", "ground-truth"):
            return records
        return (record for record in records if record.partition < INPUT_PARTITIONS)

    def _settings(self) -> Path:
        path = self.folder / "driftline.toml"
        path.write_text(self.configuration, encoding="utf-8")
        return path


def create_topics(settings: Path) -> None:
    """`driftline topics create` with a configuration.

    Raises
    ------
    RuntimeError
        If it fails.
    """
    arguments = ("topics", "create", "--config", str(settings))
    done = subprocess.run(
        [sys.executable, *PRODUCT, *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise RuntimeError(
            f"driftline {' '.join(arguments)} ended with {done.returncode}: "
            f"{(done.stderr or done.stdout).strip()}"
        )
