"""What a route reads: answers of the read model, the settings in force, and the server itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from driftline.agents.settings_in_force import settings_in_force

if TYPE_CHECKING:
    from driftline.agents.read_model.read_model import Reads
    from driftline.agents.serve.dead_letters import FolderLetters
    from driftline.agents.serve.follower import Follower
    from driftline.agents.serve.kept_rows import OverviewRows
    from driftline.schemas.settings import Config
    from driftline.schemas.times import EpochMs


@dataclass(frozen=True, kw_only=True)
class Server:
    """What all questions share.

    Attributes
    ----------
    follower
        Follows the source.
    folder
        The output folder; None for a broker.
    rows
        Rows of the overview that are up to date.
    letters
        Its dead letters; None for a broker.
    started_at_ms
        By the clock.
    listeners
        Gives the number of open event streams.
    """

    follower: Follower
    folder: Path | None
    rows: OverviewRows
    letters: FolderLetters | None
    started_at_ms: EpochMs
    listeners: Callable[[], int]


@dataclass(frozen=True, kw_only=True)
class View:
    """One state of the results, for one question.

    Attributes
    ----------
    reads
        Answers of the read model.
    server
        What all questions share.
    epoch
        Of `OverviewRows`, read before the state of the results.
    """

    reads: Reads
    server: Server
    epoch: int

    @cached_property
    def config(self) -> Config:
        """The settings that the results were counted with."""
        return settings_in_force(
            self.reads, self.server.folder, self.server.follower.source().place
        )
