"""The read model: an index that follows its source, and answers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from driftline.agents.output_folder import check_folder
from driftline.agents.read_model.drift_reads import DriftReads
from driftline.agents.read_model.figure_reads import FigureReads
from driftline.agents.read_model.folder_source import FolderSource
from driftline.agents.read_model.index import Index, UnusableIndex, generation, positions, state
from driftline.agents.read_model.intake import Changed, Intake
from driftline.agents.read_model.packed import Samples
from driftline.agents.read_model.record_reads import RecordReads
from driftline.agents.read_model.retention import Limits

if TYPE_CHECKING:
    from driftline.agents.kafka.broker.connection import Connection

INDEX_FILE: Final = "read-model.sqlite"
"""Name of the index of an output folder, in that folder."""


class Source(Protocol):
    """Where results come from."""

    def sync(self) -> Iterator[set[Changed]]:
        """Add what is new to the index, one transaction after the other."""


class Reads(NamedTuple):
    """Answers that all see the same state of the index.

    Attributes
    ----------
    figures, drift
        Figures with histograms, and drift results.
    records
        All other topics.
    unreadable
        By topic, the number of values that are no record of it, and an example.
    positions
        How far each partition of a topic was read: bytes of a file, or the next offset.
    state
        A text that changes with every record that is added: equal states give equal answers.
    """

    figures: FigureReads
    drift: DriftReads
    records: RecordReads
    unreadable: dict[str, tuple[int, str]]
    positions: list[tuple[str, int, int]]
    state: str


class ReadModel:
    """Results of one source.

    Parameters
    ----------
    place
        Where they are from, for messages.
    """

    def __init__(self, place: str, index: Index, source: Source) -> None:
        self.place = place
        self._index = index
        self._source = source
        self._samples = ("", Samples())

    def refresh(self) -> set[Changed]:
        """Take over what is new in the source, and say of what."""
        return set().union(*self._source.sync())

    def follow(self) -> Iterator[set[Changed]]:
        """As `refresh`, but one transaction after the other, for a source with much that is new."""
        return self._source.sync()

    @contextmanager
    def reading(self) -> Iterator[Reads]:
        """Answers from one state of the index; threads read side by side."""
        with self._index.reading() as connection:
            # One value, so that a thread never gets the samples of another generation.
            known, samples = self._samples
            if (now := generation(connection)) != known:
                samples = Samples()
                self._samples = now, samples
            yield Reads(
                FigureReads(connection, samples),
                DriftReads(connection, samples),
                RecordReads(connection),
                {
                    topic: (count, example)
                    for topic, count, example in connection.execute("SELECT * FROM unreadable")
                },
                positions(connection),
                state(connection),
            )

    def changed_by_others(self) -> bool:
        """Whether another thread or process has added to the index since the last call of this
        thread.
        """
        return self._index.changed_by_others()

    def reserve(self, readers: int) -> None:
        """Let so many readers side by side read on where the index is moved or deleted.

        Raises
        ------
        UnusableIndex
            If the index is gone already.
        """
        self._index.reserve(readers)

    @property
    def index_path(self) -> Path:
        """The file of the index."""
        return self._index.path

    def close(self) -> None:
        """Close the index."""
        self._index.close()


def open_folder(
    folder: Path,
    *,
    index: Path | None = None,
    limits: Limits | None = None,
    is_refreshed: bool = True,
) -> ReadModel:
    """The read model of an output or export folder, as of now.

    Parameters
    ----------
    is_refreshed
        Whether what is new is taken over at once.
    index
        File of the index; by default one in the folder, or, where that may not be written, in the
        user's cache.

    Raises
    ------
    ReadError
        If the folder is something else.
    UnusableIndex
        If the index cannot be written.
    """
    check_folder(folder)
    if index is None:
        index = folder / INDEX_FILE
        if not os.access(folder, os.W_OK):
            index = _cached(f"{folder.resolve()}")
    opened = Index(index)
    model = ReadModel(f"{folder}", opened, FolderSource(folder, Intake(opened, limits or Limits())))
    if is_refreshed:
        model.refresh()
    return model


def open_broker(
    connection: Connection,
    *,
    index: Path | None = None,
    limits: Limits | None = None,
    is_refreshed: bool = True,
) -> ReadModel:
    """The read model of the output topics of a broker, as of now.

    Parameters
    ----------
    is_refreshed
        Whether what is new is taken over at once.
    index
        File of the index; by default one in the user's cache for each cluster and program.

    Raises
    ------
    BrokerError
        If the broker cannot be reached.
    KafkaException
        If it does not answer, or the login may not read a topic.
    UnusableIndex
        If the index cannot be written.
    """
    from driftline.agents.read_model.broker_source import BrokerSource

    if index is None:
        cluster = connection.reach().cluster_id
        index = _cached(f"{cluster}\n{connection.name(connection.settings.app)}")
    opened = Index(index)
    model = ReadModel(
        connection.servers, opened, BrokerSource(connection, Intake(opened, limits or Limits()))
    )
    if is_refreshed:
        model.refresh()
    return model


def _cached(name: str) -> Path:
    """A file of the user's cache folder.

    Raises
    ------
    UnusableIndex
        If the folder is not there and cannot be made.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "driftline"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableIndex(
            f"there is no place for the index: {error}; set XDG_CACHE_HOME to a folder that may be "
            "written"
        ) from error
    return cache / f"{hashlib.blake2b(name.encode(), digest_size=8).hexdigest()}-{INDEX_FILE}"
