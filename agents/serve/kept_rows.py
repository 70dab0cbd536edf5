"""The rows of the overview, each kept until something of its model version changes.

A row reads a hundred records or more; with hundreds of versions it is computed only where the
follower has reported new records.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import msgspec

from driftline.agents.read_model.intake import Changed
from driftline.agents.serve.answers.overview import OverviewRow
from driftline.agents.serve.episodes import Episodes
from driftline.agents.serve.follower import EVERYTHING
from driftline.streams.lanes import NO_MODEL

Version = tuple[str, str]


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of the newest whole window of at most a day of a version.

    Attributes
    ----------
    window
        Its name; None without data.
    end_ms
        Its end; 0 without data.
    predictions, truths
        In that window.
    final_predictions, never_labelled
        Of the newest final window.
    """

    window: str | None = None
    end_ms: int = 0
    predictions: int = 0
    truths: int = 0
    final_predictions: int = 0
    never_labelled: int = 0


class KeptRow(msgspec.Struct, frozen=True, kw_only=True):
    """What the overview needs of one version."""

    row: OverviewRow
    counted: Counted
    episodes: Episodes


@dataclass
class OverviewRows:
    """The rows that are up to date; used by several threads."""

    _rows: dict[Version, KeptRow] = field(default_factory=dict)
    _forgotten: dict[Version, int] = field(default_factory=dict)
    _all_forgotten: int = 0
    _epoch: int = 0
    _guard: threading.Lock = field(default_factory=threading.Lock)
    computing: threading.Lock = field(default_factory=threading.Lock)
    """Held while rows are computed, so that many viewers cost as much as one."""

    @property
    def epoch(self) -> int:
        """A number that is read before the state of the index is, and given to `keep`."""
        with self._guard:
            return self._epoch

    def forget(self, changed: set[Changed]) -> None:
        """Forget the rows of what changed."""
        with self._guard:
            self._epoch += 1
            for each in changed:
                if each == EVERYTHING or each.model_name == NO_MODEL:
                    self._all_forgotten = self._epoch
                    self._rows.clear()
                elif each.model_version:
                    self._forget((each.model_name, each.model_version))
                else:
                    for version in [name for name in self._rows if name[0] == each.model_name]:
                        self._forget(version)
                    self._forgotten[each.model_name, ""] = self._epoch

    def _forget(self, version: Version) -> None:
        self._rows.pop(version, None)
        self._forgotten[version] = self._epoch

    def get(self, version: Version) -> KeptRow | None:
        """The row of a version; None if it has to be computed."""
        with self._guard:
            return self._rows.get(version)

    def keep(self, version: Version, row: KeptRow, epoch: int) -> None:
        """Keep a row, unless the version has changed since `epoch`."""
        with self._guard:
            forgotten = max(
                self._all_forgotten,
                self._forgotten.get(version, 0),
                self._forgotten.get((version[0], ""), 0),
            )
            if forgotten <= epoch:
                self._rows[version] = row
