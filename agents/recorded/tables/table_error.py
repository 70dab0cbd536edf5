"""The error of a table that cannot be read, or not as asked."""

from __future__ import annotations

from driftline.agents.input_rules import with_rules
from driftline.agents.recorded.lines import LogError


class TableError(LogError):
    """What was needed, what came and what to do; it names the rules of tables."""

    def __init__(self, message: str) -> None:
        super().__init__(with_rules(message, "Tables"))
