"""Lines of a file in bounded memory, each with the byte at which it ends.

Reading can start at any byte where a line ends, which is how a resumed run goes on. What a line
means is `logs.py`.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Final, Self

from msgspec import Struct

from driftline.schemas.errors import DriftlineError

CHUNK_BYTES: Final = 1 << 18
# A file without line ends is no log; without a bound one such file would take all memory.
MAX_LINE_BYTES: Final = 64 << 20


class LogError(DriftlineError):
    """A recorded log cannot be read; the message says which file, what is wrong, and what to do."""


class Lines(Struct, frozen=True, gc=False):
    """Consecutive lines without their line feeds.

    Attributes
    ----------
    values
        The bytes of each line, N of them.
    begin, end
        The byte of the file at which the first one begins, and the one after the last, its line
        feed included.
    """

    values: list[bytes]
    begin: int
    end: int

    @property
    def size_bytes(self) -> int:
        """Bytes of all of them."""
        return self.end - self.begin

    def end_of(self, lines: int) -> int:
        """The byte of the file after the first `lines` of them, line feed included."""
        if lines > len(self.values) // 2:
            rest = self.values[lines:]
            return self.end - sum(map(len, rest)) - len(rest)
        return self.begin + sum(map(len, self.values[:lines])) + lines


class LineFile:
    """The lines of one file from a byte on.

    Parameters
    ----------
    path
        The file. A last line without a line feed counts as a line; a byte order mark or a carriage
        return belong to their line.
    byte
        Where to start: 0, or the end of a line.
    chunk_bytes
        How much to read at a time. It decides memory and nothing else.

    Raises
    ------
    LogError
        If the file cannot be opened or ends before `byte`.
    """

    def __init__(self, path: Path, *, byte: int = 0, chunk_bytes: int = CHUNK_BYTES) -> None:
        self.path = path
        self._byte = byte
        self._chunk_bytes = chunk_bytes
        self._rest = b""
        self.ended = False
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise LogError(f"{path}: cannot be opened ({error.strerror})") from error
        size = self._file.seek(0, 2)
        if size < byte:
            self._file.close()
            raise LogError(
                f"{path}: has {size} bytes, but {byte} were read before; it was replaced or cut since this run began"
            )
        self._file.seek(byte)

    def read(self) -> Lines | None:
        """Return the next lines, at least one, or None at the end of the file.

        Raises
        ------
        LogError
            If a line is longer than MAX_LINE_BYTES.
        """
        while not self.ended:
            chunk = self._file.read(self._chunk_bytes)
            if not chunk:
                self.ended = True
                self._file.close()
                if not self._rest:
                    return None
                last, self._rest = self._rest, b""
                begin = self._byte
                self._byte += len(last)
                return Lines([last], begin, self._byte)
            before = len(self._rest)
            values = (self._rest + chunk).split(b"\n")
            self._rest = values.pop()
            if len(self._rest) > MAX_LINE_BYTES:
                raise LogError(
                    f"{self.path}: the line after byte {self._byte} is longer than {MAX_LINE_BYTES >> 20} MiB; one value a line is needed"
                )
            begin = self._byte
            self._byte += before + len(chunk) - len(self._rest)
            if values:
                return Lines(values, begin, self._byte)
        return None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
