"""Rejected rows of an output folder, by topic and reason; each line is read once."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec

from driftline.agents.uncounted_rows import Uncounted, UncountedTotals


class _Letter(msgspec.Struct):
    """The fields of a dead letter that are counted."""

    dlq_topic: str
    dlq_reason: str
    dlq_error: str = ""


_decode = msgspec.json.Decoder(_Letter).decode


class FolderLetters:
    """The dead letters of a folder.

    Parameters
    ----------
    folder
        The output folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._guard = threading.Lock()
        self._positions: dict[Path, int] = {}
        self._totals = UncountedTotals({})

    def listed(self) -> list[Uncounted]:
        """Rejected rows so far, most rows first."""
        with self._guard:
            paths = sorted(self._folder.glob("*.dlq.jsonl"))
            if any(self._is_cut(path) for path in (*self._positions, *paths)):
                self._positions.clear()
                self._totals = UncountedTotals({})
            for path in paths:
                self._read(path)
            return self._totals.listed()

    def _is_cut(self, path: Path) -> bool:
        """Whether a file was cut or deleted: another run writes it."""
        known = self._positions.get(path, 0)
        return known > 0 and (not path.exists() or path.stat().st_size < known)

    def _read(self, path: Path) -> None:
        with path.open("rb") as file:
            file.seek(self._positions.get(path, 0))
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._positions[path] = self._positions.get(path, 0) + len(line)
                letter = _decode(line)
                self._totals.add(
                    [
                        Uncounted(
                            topic=letter.dlq_topic,
                            reason=letter.dlq_reason,
                            rows=1,
                            example=letter.dlq_error,
                        )
                    ]
                )
