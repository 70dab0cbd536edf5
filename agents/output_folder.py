"""Lines of an output folder: records of a topic file, and the latest one of each group.

One record is in memory at a time, so a year of figures is read in little memory. The run may still
be writing: a last line without a line feed is skipped. The tables of a folder are `results.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from driftline.schemas.errors import DriftlineError
from driftline.schemas.results import decoder

T = TypeVar("T", bound=msgspec.Struct)
RUN_FILE = "run.json"
LOG_FILE = "log.json"


class ReadError(DriftlineError):
    """An output folder or one of its lines cannot be read; the message says what to do."""


class _KeyFields(msgspec.Struct):
    """The fields that select a record: decoded first, so that other records are skipped at less
    cost.
    """

    model_name: str
    model_version: str | None = None
    segment: str = ""
    lane: str = ""
    window: str = ""
    final: bool | None = None


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which records to read; None selects all values of a field."""

    model_name: str | None = None
    model_version: str | None = None
    segment: str | None = None
    lane: str | None = None
    window: str | None = None
    final: bool | None = None

    def matches(self, record: _KeyFields) -> bool:
        """Whether a record with these fields is selected."""
        return (
            (self.model_name is None or record.model_name == self.model_name)
            and (self.model_version is None or record.model_version == self.model_version)
            and (self.segment is None or record.segment == self.segment)
            and (self.lane is None or record.lane == self.lane)
            and (self.window is None or record.window == self.window)
            and (self.final is None or record.final == self.final)
        )


EVERYTHING = Selection()


def check_folder(folder: Path) -> None:
    """Check that a folder is the output of a run, or an export.

    Raises
    ------
    ReadError
        If there is no such folder, or it is something else.
    """
    if not folder.is_dir():
        raise ReadError(
            f"there is no output folder {folder}; make one with `driftline replay LOG --out "
            f"{folder}`, or name one with --out"
        )
    if not any((folder / name).is_file() for name in (RUN_FILE, LOG_FILE)):
        raise ReadError(
            f"{folder} is not the output of a run (no {RUN_FILE}, no {LOG_FILE}); "
            "name the folder that `driftline replay` or `driftline export` wrote with --out"
        )


def read_run(folder: Path) -> dict[str, Any]:
    """The identity of the run that wrote a folder: its inputs, configuration and versions.

    Raises
    ------
    ReadError
        If the file is damaged.
    """
    path = folder / RUN_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ReadError(f"{path} is damaged: {error}") from error


def count_dead_letters(folder: Path) -> dict[str, int]:
    """Number of rejected rows by input topic, for topics that have any."""
    counts = {}
    for path in sorted(folder.glob("*.dlq.jsonl")):
        with path.open("rb") as file:
            count = sum(1 for _ in file)
        if count:
            counts[path.name.removesuffix(".dlq.jsonl")] = count
    return counts


def read_records(
    folder: Path, topic: str, type_: type[T], selection: Selection = EVERYTHING
) -> Iterator[T]:
    """The records of a topic in the order of the file; none if there is no file.

    Raises
    ------
    ReadError
        If a line is not a record of the topic.
    """
    path = folder / f"{topic}.jsonl"
    if not path.exists():
        return
    decode = decoder(type_).decode
    fields = msgspec.json.Decoder(_KeyFields)
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                if selection is EVERYTHING or selection.matches(fields.decode(line)):
                    yield decode(line)
            except msgspec.DecodeError as error:
                raise ReadError(
                    f"{path}:{number}: not a record of {topic}: {error}; "
                    "the file was changed after the run"
                ) from error


def latest(
    records: Iterable[T], group: Callable[[T], Any], order: Callable[[T], Any] = lambda _: 0
) -> list[T]:
    """The greatest record of each group, in ascending order of the groups; the last one of equals.

    Parameters
    ----------
    group
        Sortable key that records share if a later one replaces an earlier one.
    order
        Sort key within a group; by default the order of the lines.
    """
    greatest: dict[Any, tuple[Any, T]] = {}
    for record in records:
        key, place = group(record), order(record)
        if key not in greatest or place >= greatest[key][0]:
            greatest[key] = (place, record)
    return [greatest[key][1] for key in sorted(greatest)]
