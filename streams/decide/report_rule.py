"""Base of the alert rules that read what reports about itself (`schemas/reports.py`)."""

from __future__ import annotations

from typing import Self

import msgspec

from driftline.schemas.reports import DIMENSIONS
from driftline.schemas.settings import ModelConfig
from driftline.streams.decide.rule import InvalidRule, Rule
from driftline.streams.lanes import ALL


class ReportRule(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """A rule that judges single reports, of each reporter by itself; `for` is a duration."""

    for_: int | str = msgspec.field(default="0s", name="for")

    def bound(self, config: ModelConfig) -> Self:
        """As `Rule.bound`; `segment` names a reporter, or each of them."""
        if self.segment == ALL:
            name = DIMENSIONS[config.subject]
            raise InvalidRule(
                "segment", f'"all" judges nothing: a report is of one {name}; "{name}=*" is each'
            )
        if isinstance(self.for_, int):
            raise InvalidRule(
                "for",
                f"{self.for_}: a rule of type {self.kind} reads no windows; needed is a duration "
                'such as "5m"',
            )
        return super().bound(config)

    def may_share_cause(self, other: Rule) -> bool:
        """Each is told by itself: what two reporters are short of has two causes."""
        return False
