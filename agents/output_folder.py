"""Read the output folder of a run: topic files line by line, and the latest record of each key.

Nothing is kept but what the caller asks for, so a year of figures is read in little memory. A run
may still be writing: a last line without its end is not there yet. What the records mean is
`driftline.schemas.results`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from driftline.schemas.errors import DriftlineError
from driftline.schemas.results import (
    Alert,
    Drift,
    Histogram,
    Recommendation,
    RegistryEntry,
    RegistryEvent,
    WindowFigures,
    decoder,
)
from driftline.schemas.topics import (
    ALERTS,
    DRIFT,
    HISTOGRAMS,
    METRICS,
    RECOMMENDATIONS,
    REGISTRY,
    REGISTRY_EVENTS,
)

T = TypeVar("T", bound=msgspec.Struct)
RUN_FILE = "run.json"
LOG_FILE = "log.json"


class ReadError(DriftlineError):
    """An output folder or one of its lines cannot be read; the message says which and what to do."""


class _KeyFields(msgspec.Struct):
    """The fields that every result has: enough to pass over a line without decoding it whole."""

    model_name: str
    model_version: str | None = None
    segment: str = ""
    lane: str = ""
    window: str = ""
    final: bool | None = None


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which records a caller wants; None takes all."""

    model_name: str | None = None
    model_version: str | None = None
    segment: str | None = None
    lane: str | None = None
    window: str | None = None
    final: bool | None = None

    def takes(self, head: _KeyFields) -> bool:
        """Whether a record with these fields is wanted."""
        return (
            (self.model_name is None or head.model_name == self.model_name)
            and (self.model_version is None or head.model_version == self.model_version)
            and (self.segment is None or head.segment == self.segment)
            and (self.lane is None or head.lane == self.lane)
            and (self.window is None or head.window == self.window)
            and (self.final is None or head.final == self.final)
        )


EVERYTHING = Selection()


class Output:
    """One output folder.

    Parameters
    ----------
    folder
        What `driftline replay`, `driftline demo` or `driftline export` wrote.

    Raises
    ------
    ReadError
        If there is no such folder, or it is not the output of a run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not folder.is_dir():
            raise ReadError(
                f"there is no output folder {folder}; make one with `driftline replay LOG --out {folder}`, or name one with --out"
            )
        if not any((folder / name).is_file() for name in (RUN_FILE, LOG_FILE)):
            raise ReadError(
                f"{folder} is not the output of a run (no {RUN_FILE}, no {LOG_FILE}); "
                "name the folder that `driftline replay` or `driftline export` wrote with --out"
            )

    @property
    def exported(self) -> bool:
        """Whether the folder was exported from a broker instead of written by a run."""
        return (self.folder / LOG_FILE).is_file()

    def run(self) -> dict[str, Any]:
        """What the run wrote about itself: its input, configuration and versions."""
        try:
            return msgspec.json.decode((self.folder / RUN_FILE).read_bytes(), type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise ReadError(f"{self.folder / RUN_FILE} is damaged: {error}") from error

    def metrics(self, selection: Selection = EVERYTHING) -> Iterator[WindowFigures]:
        """Figures, in the order in which they were announced."""
        return self._rows(METRICS, WindowFigures, selection)

    def histograms(self, selection: Selection = EVERYTHING) -> Iterator[Histogram]:
        """Score histograms behind figures, in the order in which they were announced."""
        return self._rows(HISTOGRAMS, Histogram, selection)

    def alerts(self, selection: Selection = EVERYTHING) -> Iterator[Alert]:
        """Changes of alerts, in their order."""
        return self._rows(ALERTS, Alert, selection)

    def drift(self, selection: Selection = EVERYTHING) -> Iterator[Drift]:
        """Drift results, in their order."""
        return self._rows(DRIFT, Drift, selection)

    def recommendations(self, selection: Selection = EVERYTHING) -> Iterator[Recommendation]:
        """Recommendations and what became of them, in their order."""
        return self._rows(RECOMMENDATIONS, Recommendation, selection)

    def registry(self, selection: Selection = EVERYTHING) -> Iterator[RegistryEntry]:
        """States of model versions, in their order; the last one of a key is in force."""
        return self._rows(REGISTRY, RegistryEntry, selection)

    def registry_events(self, selection: Selection = EVERYTHING) -> Iterator[RegistryEvent]:
        """What happened in the registry, in its order."""
        return self._rows(REGISTRY_EVENTS, RegistryEvent, selection)

    def dead_letters(self) -> dict[str, int]:
        """Number of refused lines by input topic, for topics that have any."""
        counts = {}
        for path in sorted(self.folder.glob("*.dlq.jsonl")):
            with path.open("rb") as file:
                count = sum(1 for _ in file)
            if count:
                counts[path.name.removesuffix(".dlq.jsonl")] = count
        return counts

    def _rows(self, topic: str, type_: type[T], selection: Selection) -> Iterator[T]:
        path = self.folder / f"{topic}.jsonl"
        if not path.exists():
            return
        decode = decoder(type_).decode
        head = msgspec.json.Decoder(_KeyFields)
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    return
                try:
                    if selection is EVERYTHING or selection.takes(head.decode(line)):
                        yield decode(line)
                except msgspec.DecodeError as error:
                    raise ReadError(
                        f"{path}:{number}: not a record of {topic}: {error}; the file was changed after the run"
                    ) from error


def latest(
    records: Iterable[T], group: Callable[[T], Any], order: Callable[[T], Any] = lambda _: 0
) -> list[T]:
    """The greatest record of each group, in ascending order of the groups; among equals the one
    that came last.

    Parameters
    ----------
    group
        What records have in common that replace each other; sortable.
    order
        By what one record is later than another; without it the later line is.
    """
    kept: dict[Any, tuple[Any, T]] = {}
    for record in records:
        name, place = group(record), order(record)
        if name not in kept or place >= kept[name][0]:
            kept[name] = (place, record)
    return [kept[name][1] for name in sorted(kept)]
