"""Rules of a model by what they read, so that a record without a rule costs almost nothing."""

from __future__ import annotations

from collections.abc import Mapping

from driftline.schemas.results import RuleLevel
from driftline.schemas.settings import ModelConfig
from driftline.schemas.times import DAY_MS
from driftline.streams.decide.outcome_rule import OutcomeRule
from driftline.streams.decide.report_rule import ReportRule
from driftline.streams.decide.rule import (
    MetricRule,
    Rule,
    largest_window,
    smallest_window,
    window_of_hours,
)
from driftline.streams.decide.rule_levels import rules_in_force
from driftline.streams.decide.rules.composite import inner_first
from driftline.streams.decide.tuner.settings import TunerSettings, build_tuner


class RuleIndex:
    """Rules and tuner of a model.

    Parameters
    ----------
    config
        Settings of the model; its rules and its tuner are validated here.
    levels
        What commands have set of rules, by name of the rule.
    """

    def __init__(self, config: ModelConfig, levels: Mapping[str, RuleLevel] | None = None) -> None:
        self.config = config
        rules, _ = rules_in_force(config, levels or {})
        self.rules: dict[str, Rule] = {rule.name: rule for rule in rules}
        self.tuner: TunerSettings = build_tuner(config)
        self.composites = inner_first(self.rules)
        """Rules that read alerts, each after those of them that it names."""
        self.report_rules = [rule for rule in self.rules.values() if isinstance(rule, ReportRule)]
        self.tuning_rules = [rule for rule in self.rules.values() if rule.reads == "tuning"]
        self.outcome_rules = [rule for rule in self.rules.values() if isinstance(rule, OutcomeRule)]
        self.metric_rules: dict[tuple[str, str], list[MetricRule]] = {}
        self.drift_rules = [rule for rule in self.rules.values() if rule.reads == "drift"]
        for rule in self.rules.values():
            if isinstance(rule, MetricRule):
                for window in rule.windows(config):
                    self.metric_rules.setdefault((rule.lane(), window), []).append(rule)
        self.daily_rules = [
            rule for rule in self.rules.values() if isinstance(rule, MetricRule) and rule.daily()
        ]
        self.label_rules = [rule for rule in self.rules.values() if rule.reads_labels]
        self.hour_rules = [rule for rule in self.rules.values() if rule.reads_hours]
        self.hours = window_of_hours(config)
        """The window by which traffic is counted for these."""
        self.pulse = smallest_window(config)
        """The smallest window, which shows first whether a version has traffic."""
        self.broadest = largest_window(config)
        """The largest window, whose delays are most certain."""
        self.step_ms = {window.name: window.step_ms for window in config.windows}
        self.rungs = {rung.name: number for number, rung in enumerate(config.maturity)}
        self.day = next(
            (
                window.name
                for window in config.windows
                if window.size_ms == window.step_ms == DAY_MS
            ),
            None,
        )
        """Name of the tumbling window of one day, if it is configured."""
