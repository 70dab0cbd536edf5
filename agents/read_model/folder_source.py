"""What is new in an output or export folder goes into an index.

A file is read from the byte at which the last call ended. The bytes before it are remembered as a
hash: after a resumed run, which cuts its files to the last commit, or in another folder of the same
name they differ, and the index is made again.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from driftline.agents.output_folder import check_folder
from driftline.agents.read_model.index import clear
from driftline.agents.read_model.intake import INDEXED, Changed, Intake

_TRANSACTION_BYTES: Final = 8 << 20
_WITNESS_BYTES: Final = 4096


class FolderSource:
    """An output folder as the source of an index.

    Parameters
    ----------
    folder
        What `driftline replay` or `driftline export` wrote with --out.

    Raises
    ------
    ReadError
        If it is something else.
    """

    def __init__(self, folder: Path, intake: Intake) -> None:
        check_folder(folder)
        self.folder = folder
        self._intake = intake

    def sync(self) -> Iterator[set[Changed]]:
        """Add what is new, one transaction after the other; each says what it changed.

        A last line without a line feed is still being written; it is left for the next call.

        Raises
        ------
        ReadError
            If the folder is gone.
        """
        check_folder(self.folder)
        self._check()
        for topic in INDEXED:
            while (changed := self._add_part(topic)) is not None:
                yield changed

    def _check(self) -> None:
        """Empty the index if it is about other bytes."""
        with self._intake.transaction() as connection:
            for topic, position, witness in connection.execute(
                "SELECT topic, position, witness FROM positions"
            ).fetchall():
                path = self.folder / f"{topic}.jsonl"
                if not path.exists() or _witness(path, position) != witness:
                    clear(connection)
                    return

    def _add_part(self, topic: str) -> set[Changed] | None:
        """Add the next part of a file; None at its end."""
        path = self.folder / f"{topic}.jsonl"
        if not path.exists():
            return None
        with self._intake.transaction() as connection, path.open("rb") as file:
            file.seek(_position(connection, topic))
            lines = _whole_lines(file)
            if not lines:
                return None
            changed = self._intake.add(connection, topic, [line.rstrip(b"\n") for line in lines])
            position = _position(connection, topic) + sum(map(len, lines))
            connection.execute(
                "REPLACE INTO positions VALUES (?, 0, ?, ?)",
                (topic, position, _witness(path, position)),
            )
        return changed


def _position(connection: sqlite3.Connection, topic: str) -> int:
    row = connection.execute("SELECT position FROM positions WHERE topic = ?", (topic,)).fetchone()
    return row[0] if row else 0


def _whole_lines(file: BinaryIO) -> list[bytes]:
    lines = file.readlines(_TRANSACTION_BYTES)
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()
    return lines


def _witness(path: Path, position: int) -> bytes:
    """A hash of the last bytes before a position; of fewer where the file ends before it."""
    with path.open("rb") as file:
        file.seek(max(0, position - _WITNESS_BYTES))
        before = file.read(min(position, _WITNESS_BYTES))
    return hashlib.blake2b(before, digest_size=16).digest()
