"""The manifest of an export: `log.json` beside the topics of a recorded log."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from driftline.agents.recorded.lines import LogError

LOG_FILE: Final = "log.json"
SETTINGS_FILE: Final = "driftline.toml"
"""The settings that were in force at the end of an export, beside its topics."""


class Range(msgspec.Struct, frozen=True):
    """Offsets `start` (included) to `end` (excluded) of one partition of `topic`, whose name is
    without the prefix.
    """

    topic: str
    partition: int
    start: int
    end: int


class ExportManifest(msgspec.Struct, frozen=True):
    """The range of an export.

    Attributes
    ----------
    since_ms, until_ms
        The requested range; None without a bound.
    partitions
        Partitions of the input topics; a replay needs the same number.
    ranges
        Offsets that were read of each input topic.
    records
        Number of lines of each file.
    """

    since_ms: int | None
    until_ms: int | None
    partitions: int
    ranges: list[Range]
    records: dict[str, int]

    def write(self, folder: Path) -> None:
        """Write the manifest, as the last step of an export: a folder without it is incomplete."""
        (folder / LOG_FILE).write_bytes(
            msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"
        )


def read_manifest(folder: Path) -> ExportManifest | None:
    """The manifest of an export; None for any other folder.

    Raises
    ------
    LogError
        If the file is damaged.
    """
    path = folder / LOG_FILE
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=ExportManifest)
    except msgspec.DecodeError as error:
        raise LogError(
            f"{path} is damaged ({error}); export the log again into a new folder"
        ) from error
