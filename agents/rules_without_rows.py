"""Rules that cannot judge a model version, because no window usually holds enough rows."""

from __future__ import annotations

from collections.abc import Iterable

from driftline.schemas.results import RuleWindows


def rules_without_rows(records: Iterable[RuleWindows]) -> dict[tuple[str, str], dict[str, str]]:
    """By model and version, the reason by name of the rule, from the newest record of each."""
    newest = {
        (record.model_name, record.model_version): record
        for record in records
        if record.segment == "all"
    }
    return {
        version: reasons
        for version, record in newest.items()
        if (
            reasons := {
                name: each.reason for name, each in record.rules.items() if each.reason is not None
            }
        )
    }
