"""From the tables of the configuration to rules, and the rules that every model has without being
asked.

The default rules follow what can be judged without knowing the model: silence, errors, latency,
missing labels, and the version's own baseline. Thresholds on a metric are the user's to set.
"""

from __future__ import annotations

from functools import lru_cache

from driftline.schemas.settings import ModelConfig
from driftline.streams.catalogue import plugins
from driftline.streams.decide.rule import Rule, WrongRule
from driftline.streams.decide.rules.coverage import Coverage
from driftline.streams.decide.rules.degradation import Degradation
from driftline.streams.decide.rules.drift import DriftRule
from driftline.streams.decide.rules.error_rate import ErrorRate
from driftline.streams.decide.rules.latency import Latency
from driftline.streams.decide.rules.no_data import NoData
from driftline.streams.toml_tables import convert_table

DEFAULT_RULES: tuple[Rule, ...] = (
    NoData(),
    ErrorRate(),
    Latency(),
    Coverage(),
    Degradation(),
    DriftRule(),
)


@lru_cache(maxsize=1)
def rule_plugins() -> dict[str, type[Rule]]:
    """Every rule type by its name."""
    return plugins(Rule, ("driftline.streams.decide.rules",))


def build_rules(config: ModelConfig, where: str | None = None) -> tuple[Rule, ...]:
    """The rules of a model: its own, then the default ones whose names it does not use.

    Parameters
    ----------
    config
        The model's settings.
    where
        Path of the list of rules in the file, such as "models.churn.rules"; by default where the
        settings say they stand.

    Raises
    ------
    ValueError
        If a rule is of no known type, has an unknown or missing field or a wrong value, or if two
        rules have one name; the text begins with the path.

    Examples
    --------
    >>> [rule.name for rule in build_rules(ModelConfig())]
    ['no_data', 'error_rate', 'latency', 'coverage', 'degradation', 'drift']
    >>> build_rules(ModelConfig(rules=({"type": "treshold"},)), "models.churn.rules")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: models.churn.rules[0].type: "treshold" is no type of rule; known are coverage, ...
    """
    where = where or config.rules_path
    rules: dict[str, Rule] = {}
    for number, table in enumerate(config.rules):
        place = f"{where}[{number}]"
        kind = rule_plugins().get(table.get("type", ""))
        if kind is None:
            known = ", ".join(sorted(rule_plugins()))
            raise ValueError(
                f'{place}.type: "{table.get("type", "")}" is no type of rule; known are {known}'
            )
        rule: Rule = convert_table(table, kind, place)
        try:
            rule = rule.bound(config)
        except WrongRule as error:
            raise ValueError(f"{place}.{error.field}: {error}") from error
        if rule.name in rules:
            raise ValueError(
                f'{place}.name: "{rule.name}" is another rule\'s name; every alert of a model needs a name of its own'
            )
        rules[rule.name] = rule
    if config.default_rules:
        for default in DEFAULT_RULES:
            rule = default.bound(config)
            rules.setdefault(rule.name, rule)
    return tuple(rules.values())
