"""Registry commands of one model, for tests and benches."""

from __future__ import annotations

from typing import Any, Final

from driftline.schemas.results import RegistryCommand
from driftline.schemas.times import format_time
from driftline.schemas.topics import REGISTRY_COMMANDS
from driftline.streams.stage import Record

START_MS: Final = 1_700_000_000_000


def command(name: str, version: str, *, at_ms: int, **params: Any) -> Record:
    """A command of ada to the model "churn"; its time makes its id."""
    value = RegistryCommand(
        command_id=f"c{at_ms}",
        command=name,
        model_name="churn",
        model_version=version,
        timestamp=format_time(at_ms),
        requested_by="ada",
        params=params,
    )
    return Record(REGISTRY_COMMANDS, value)


def registrations(versions: int) -> list[Record]:
    """Commands that register the versions v0, v1 and so on."""
    return [
        command("register", f"v{number}", at_ms=START_MS + number) for number in range(versions)
    ]
