"""The files that a run writes: one `<topic>.jsonl` per output topic, appended step by step.

The commit of a step includes the length of every file. Lines are passed to the operating system
before the commit; lines that a killed run wrote after its last commit are cut off when it resumes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from driftline.agents.recorded.lines import LogError
from driftline.schemas.results import encode


class OutputFiles:
    """Append-only files in one folder.

    Parameters
    ----------
    folder
        The output folder of the run.
    lengths
        Committed length in bytes of each topic's file; longer files are cut, files without a
        committed length are removed.
    others
        Topics whose files somebody else writes; they are left alone.

    Raises
    ------
    LogError
        If a file is shorter than its committed length.
    """

    def __init__(
        self, folder: Path, lengths: Mapping[str, int], others: Collection[str] = ()
    ) -> None:
        self._folder = folder
        self._lengths = dict(lengths)
        self._files: dict[str, IO[bytes]] = {}
        for path in sorted(folder.glob("*.jsonl")):
            if path.stem not in self._lengths and path.stem not in others:
                path.unlink()
        for topic, length in self._lengths.items():
            path = self._path(topic)
            size = path.stat().st_size if path.exists() else 0
            if size < length:
                raise LogError(
                    f"{path}: has {size} bytes, but the run committed {length}; the file was "
                    f"changed: delete {folder} and start again"
                )
            if path.exists():
                with path.open("r+b") as file:
                    file.truncate(length)

    def write(self, topic: str, values: Iterable[Any]) -> None:
        """Append values to a topic's file, one JSON line each."""
        lines = [encode(value) for value in values]
        if not lines:
            return
        lines.append(b"")
        content = b"\n".join(lines)
        if topic not in self._files:
            self._files[topic] = self._path(topic).open("ab")
        with _naming(self._path(topic)):
            self._files[topic].write(content)
        self._lengths[topic] = self._lengths.get(topic, 0) + len(content)

    def create(self, topics: Iterable[str]) -> None:
        """Create empty files, so that a topic without records differs from an unknown topic."""
        for topic in topics:
            self._path(topic).touch()
            self._lengths.setdefault(topic, 0)

    def flush(self) -> dict[str, int]:
        """Pass all lines to the operating system and return the length of every file."""
        for topic, file in self._files.items():
            with _naming(self._path(topic)):
                file.flush()
        return dict(self._lengths)

    def close(self) -> None:
        """Close the files."""
        for topic, file in self._files.items():
            with _naming(self._path(topic)):
                file.close()
        self._files.clear()

    def _path(self, topic: str) -> Path:
        return self._folder / f"{topic}.jsonl"


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Add the file to an error: that of a failed write has no name."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
