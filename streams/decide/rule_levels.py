"""Levels of alert rules that commands have set, over the rules of the configuration.

What a command sets is kept as values of the rule's table, by key, and is checked as the table is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from driftline.schemas.results import RuleLevel
from driftline.schemas.settings import ModelConfig
from driftline.streams.decide.level_change import LevelChange
from driftline.streams.decide.metric_info import known_metrics
from driftline.streams.decide.rule import InvalidRule, Rule
from driftline.streams.decide.rule_builder import build_rules, rule_plugins
from driftline.streams.decide.rules.threshold import ThresholdRule
from driftline.streams.toml_tables import convert_table

__all__ = ["LevelChange", "changed_level", "created_names", "rules_in_force", "values_without"]

_WHERE = "params"
_LOW, _HIGH = "_low", "_high"


def rules_in_force(
    config: ModelConfig, levels: Mapping[str, RuleLevel]
) -> tuple[tuple[Rule, ...], dict[str, str]]:
    """The rules of a model with the levels that commands have set.

    Parameters
    ----------
    levels
        By name of the rule.

    Returns
    -------
    tuple
        The rules, created ones last; and by name why a level has no effect: since it was set, the
        configuration has changed so that it does not fit any more. Its rule is as the configuration
        has it.
    """
    rules = {rule.name: rule for rule in build_rules(config)}
    without_effect: dict[str, str] = {}
    for name, level in levels.items():
        try:
            rules[name] = _with_values(rules.get(name), name, level.values, config)
        except ValueError as error:
            without_effect[name] = str(error)
    return tuple(rules.values()), without_effect


def changed_level(
    config: ModelConfig, levels: Mapping[str, RuleLevel], change: LevelChange
) -> tuple[str, dict[str, Any] | None]:
    """The rule that a command is about, and all values that commands have set of it then; None if
    it takes them back.

    Raises
    ------
    ValueError
        If there is no such rule or metric, several rules fit, or a value makes no sense.

    Examples
    --------
    >>> changed_level(ModelConfig(), {}, LevelChange(rule="f1", below=0.8))
    ('f1_low', {'type': 'threshold', 'metric': 'f1', 'below': 0.8})
    >>> changed_level(ModelConfig(), {}, LevelChange(rule="error_rate", above=0.03))
    ('error_rate', {'warning': 0.03})
    """
    if change.reset:
        if change.sets:
            raise ValueError(f"{_WHERE}.reset: takes everything back; leave the other ones out")
        return _set_rule(config, levels, change.rule), None
    if not change.sets:
        raise ValueError(
            "there is nothing to set; name below, above, clear, severity, window or for"
        )
    in_force, without_effect = rules_in_force(config, levels)
    rules = {rule.name: rule for rule in in_force}
    name = _chosen(rules, change)
    if name in without_effect:
        raise ValueError(f"{name}: {without_effect[name]}; reset it first")
    rule = rules.get(name)
    values: dict[str, Any] = {}
    if rule is None:
        rule = ThresholdRule(name=name, metric=change.rule)
        values = {"type": rule.kind, "metric": change.rule}
    elif name in levels:
        values = dict(levels[name].values)
    try:
        values |= rule.level_values(change)
    except InvalidRule as error:
        raise ValueError(f"{_WHERE}.{error.field}: {error}") from error
    for key, value in (("window", change.window), ("for", change.for_)):
        if value is not None:
            values[key] = value
    configured = {rule.name: rule for rule in build_rules(config)}
    _with_values(configured.get(name), name, values, config)
    return name, values


def created_names() -> tuple[str, ...]:
    """Names that commands may give to the rules that they create.

    Examples
    --------
    >>> {"accuracy_low", "accuracy_high"} <= set(created_names())
    True
    """
    return tuple(metric + side for metric in sorted(known_metrics()) for side in (_LOW, _HIGH))


def values_without(config: ModelConfig, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a rule's keys as the configuration has them; empty for a rule that it lacks."""
    rule = {rule.name: rule for rule in build_rules(config)}.get(name)
    if rule is None:
        return {}
    table = msgspec.to_builtins(rule)
    return {key: table.get(key) for key in values}


def _with_values(
    rule: Rule | None, name: str, values: Mapping[str, Any], config: ModelConfig
) -> Rule:
    """A rule with other values in its table.

    Raises
    ------
    ValueError
        If the values make no rule.
    """
    table = {"name": name} if rule is None else msgspec.to_builtins(rule)
    kind = values.get("type", table.get("type"))
    if kind is None:
        raise ValueError(f"the configuration has no rule {name}")
    if rule is not None and kind != rule.kind:
        raise ValueError(f"the configuration has a rule {name} of another type, {rule.kind}")
    wanted = {key: value for key, value in {**table, **values}.items() if value is not None}
    changed: Rule = convert_table(wanted, rule_plugins()[kind], _WHERE)
    try:
        return changed.bound(config)
    except InvalidRule as error:
        raise ValueError(f"{_WHERE}.{error.field}: {error}") from error


def _set_rule(config: ModelConfig, levels: Mapping[str, RuleLevel], rule_or_metric: str) -> str:
    """Name of the rule of which a command has set a level."""
    if rule_or_metric in levels:
        return rule_or_metric
    rules, _ = rules_in_force(config, levels)
    of_metric = [
        rule.name
        for rule in rules
        if isinstance(rule, ThresholdRule) and rule.metric == rule_or_metric and rule.name in levels
    ]
    if len(of_metric) == 1:
        return of_metric[0]
    known = _listed(levels) or "none"
    raise ValueError(
        f'{_WHERE}.rule: no command has set a level of "{rule_or_metric}"; commands have set: '
        f"{known}"
    )


def _chosen(rules: Mapping[str, Rule], change: LevelChange) -> str:
    """Name of the rule that a command is about, which may be one to create."""
    if change.rule in rules:
        return change.rule
    if change.rule not in known_metrics():
        raise ValueError(
            f'{_WHERE}.rule: "{change.rule}" is neither a rule ({_listed(rules)}) nor a metric '
            f"({_listed(known_metrics())})"
        )
    of_metric = [
        rule
        for rule in rules.values()
        if isinstance(rule, ThresholdRule)
        and rule.metric == change.rule
        and (change.below is None or rule.below is not None)
        and (change.above is None or rule.above is not None)
    ]
    if len(of_metric) == 1:
        return of_metric[0].name
    if of_metric:
        raise ValueError(
            f"{_WHERE}.rule: {len(of_metric)} rules are about {change.rule}: "
            f"{_listed(rule.name for rule in of_metric)}; name one of them"
        )
    if (change.below is None) == (change.above is None):
        raise ValueError(
            f"{_WHERE}.below: no rule is about {change.rule} yet; a new one needs exactly one of "
            "below and above"
        )
    name = change.rule + (_LOW if change.above is None else _HIGH)
    if name in rules:
        raise ValueError(f"{_WHERE}.rule: the rule {name} is about something else; name a rule")
    return name


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
