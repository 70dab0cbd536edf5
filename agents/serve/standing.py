"""What is in force of one model version: its registry entry, its alert rules and their windows."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from driftline.agents.model_status import windows_read
from driftline.agents.serve.in_force import entries_at, rule_windows_at, rules_at
from driftline.agents.serve.route import Moment
from driftline.agents.serve.view import View
from driftline.schemas.results import NO_MATURITY, RegistryEntry
from driftline.streams.baseline import Baseline
from driftline.streams.decide.rule import MetricRule, Rule
from driftline.streams.decide.rule_levels import rules_in_force


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What is in force of a version.

    Attributes
    ----------
    entry
        None if it is not registered.
    rules
        With the levels that commands have set.
    windows
        By name of a rule, the window that it reads now.
    """

    entry: RegistryEntry | None
    rules: tuple[Rule, ...]
    windows: dict[str, str]

    def baseline(self, maturity: str | None) -> Baseline | None:
        """The baseline of a rung; None without one."""
        if self.entry is None:
            return None
        plain = self.entry.baselines.get(maturity or NO_MATURITY)
        return None if plain is None else msgspec.convert(plain, Baseline)

    def rules_on(self, lane: str, window: str, segment: str) -> list[MetricRule]:
        """The rules that read a window of a lane and segment."""
        return [
            rule
            for rule in self.rules
            if isinstance(rule, MetricRule)
            and rule.lane() == lane
            and rule.applies_to(segment)
            and window == (rule.window or self.windows.get(rule.name))
        ]


def standing(view: View, model_name: str, model_version: str, at: Moment | None) -> Standing:
    """What is in force of a version, now or at an earlier time."""
    entries = entries_at(view.reads, at, model_name=model_name, model_version=model_version)
    records = rule_windows_at(view.reads, at, model_name=model_name, model_version=model_version)
    levels = rules_at(view.reads, at, model_name=model_name).get(model_name)
    rules, _ = rules_in_force(
        view.config.for_model(model_name), {} if levels is None else levels.rules
    )
    return Standing(
        entry=entries[0] if entries else None,
        rules=rules,
        windows=windows_read(records, (model_name, model_version)),
    )
