"""Lines sorted by event time in bounded memory.

Runs of lines are sorted in memory, written to temporary files and merged. Equal times keep their
order, and equal lines are all kept. What is sorted, and why, is `table_to_log.py` for tables and
`row_order.py` for logs.
"""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final

RUN_BYTES: Final = 32 << 20
_TIME_BYTES: Final = 16
NUMBER_BYTES: Final = 12
_PREFIX: Final = b"%016d%012d"


class LinesByTime:
    """Collects lines and writes them in order of time.

    Parameters
    ----------
    folder
        Folder of the temporary files.
    run_bytes
        Bytes sorted in memory at a time.
    """

    def __init__(self, folder: Path, *, run_bytes: int = RUN_BYTES) -> None:
        self._folder = folder
        self._run_bytes = run_bytes
        self._opened = ExitStack()
        self._runs: list[IO[bytes]] = []
        self._lines: list[bytes] = []
        self._bytes = 0
        self._number = 0

    def add(self, time_ms: int, line: bytes) -> None:
        """Add a line without its line feed; a negative time counts as 0."""
        self._lines.append(_PREFIX % (max(time_ms, 0), self._number) + line + b"\n")
        self._number += 1
        self._bytes += len(line)
        if self._bytes >= self._run_bytes:
            self._spill()

    @property
    def buffered(self) -> int:
        """Number of lines in memory."""
        return len(self._lines)

    def write(self, path: Path, *, numbered: bool = False) -> None:
        """Write all lines to a file, in order, and discard them.

        Parameters
        ----------
        numbered
            Write the number of each line, from 0 in the order in which they were added, before it,
            in NUMBER_BYTES digits.
        """
        cut = _TIME_BYTES if numbered else _TIME_BYTES + NUMBER_BYTES
        self._lines.sort()
        with path.open("wb") as file:
            for line in self._merged():
                file.write(line[cut:])
        self.close()

    def close(self) -> None:
        """Remove the temporary files."""
        self._opened.close()
        self._runs, self._lines, self._bytes = [], [], 0

    def _merged(self) -> Iterator[bytes]:
        for run in self._runs:
            run.seek(0)
        return heapq.merge(*self._runs, self._lines)

    def _spill(self) -> None:
        self._lines.sort()
        run = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115  closed by `close`
        self._opened.callback(run.close)
        run.writelines(self._lines)
        self._runs.append(run)
        self._lines, self._bytes = [], 0
