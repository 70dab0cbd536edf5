"""Lines of a file in bounded memory, each with the byte at which it ends.

Reading can start at the end of any line, as a resumed run does. Decoding lines is `topic_log.py`.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Final, Self

from msgspec import Struct

from driftline.schemas.errors import DriftlineError

CHUNK_BYTES: Final = 1 << 18
# A file without line feeds is not a log; without this bound such a file would fill the memory.
MAX_LINE_BYTES: Final = 64 << 20


class LogError(DriftlineError):
    """An input cannot be read; the message says which one, what is wrong, and what to do."""


class Lines(Struct, frozen=True, gc=False):
    """Consecutive lines without their line feeds.

    Attributes
    ----------
    values
        The bytes of N lines.
    begin, end
        Position in the file of the first line's start, and of the end of the last line with its
        line feed.
    is_terminated
        Whether the last line has a line feed.
    """

    values: list[bytes]
    begin: int
    end: int
    is_terminated: bool = True

    @property
    def size_bytes(self) -> int:
        """Bytes of all lines, with line feeds."""
        return self.end - self.begin

    def end_of(self, lines: int) -> int:
        """Position in the file after the first `lines` lines."""
        if lines > len(self.values) // 2:
            rest = self.values[lines:]
            feeds = len(rest) - (not self.is_terminated) if rest else 0
            return self.end - sum(map(len, rest)) - feeds
        return self.begin + sum(map(len, self.values[:lines])) + lines


class LineFile:
    """The lines of a file from a position on.

    Parameters
    ----------
    path
        The file. A last line without a line feed is a line; a byte order mark or a carriage return
        is part of its line.
    byte
        Position to start at: 0, or the end of a line.
    chunk_bytes
        Bytes per read; affects memory only.

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
        self._ahead: bytes | None = None
        self.ended = False
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise LogError(f"{path}: cannot be opened ({error.strerror})") from error
        size = self._file.seek(0, 2)
        if size < byte:
            self._file.close()
            raise LogError(
                f"{path}: has {size} bytes, but {byte} were read before; "
                "the file was replaced or cut since this run began"
            )
        self._file.seek(byte)

    def read(self) -> Lines | None:
        """The next lines, at least one; None at the end of the file.

        Raises
        ------
        LogError
            If a line is longer than MAX_LINE_BYTES.
        """
        while not self.ended:
            chunk = self._file.read(self._chunk_bytes) if self._ahead is None else self._ahead
            # Read ahead by one chunk: the last lines are known as such when they are given.
            self._ahead = self._file.read(self._chunk_bytes) if chunk else b""
            before = len(self._rest)
            values = (self._rest + chunk).split(b"\n")
            self._rest = values.pop()
            if len(self._rest) > MAX_LINE_BYTES:
                raise LogError(
                    f"{self.path}: the line after byte {self._byte} is longer than "
                    f"{MAX_LINE_BYTES >> 20} MiB; a log has one value per line"
                )
            is_terminated = True
            if not self._ahead:
                self.ended = True
                self._file.close()
                if self._rest:
                    values.append(self._rest)
                    self._rest, is_terminated = b"", False
            begin = self._byte
            self._byte += before + len(chunk) - len(self._rest)
            if values:
                return Lines(values, begin, self._byte, is_terminated)
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
