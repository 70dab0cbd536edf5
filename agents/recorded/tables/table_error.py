"""The error of a table that cannot be read, or not as asked."""

from __future__ import annotations

from driftline.agents.input_rules import see
from driftline.agents.recorded.lines import LogError


class TableError(LogError):
    """What was needed, what came and what to do, and in a second line where the rules are: many of
    these messages end with a command.
    """

    def __init__(self, message: str) -> None:
        super().__init__(f"{message}\n({see('Tables')})")
