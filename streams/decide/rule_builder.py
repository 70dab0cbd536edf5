"""Rules of a model from the tables of its configuration, and the default rules.

The default rules need no knowledge of the model: silence of predictions and of labels, errors,
latency, missing labels, drift, and the version's own baseline. Users set thresholds on metrics.
Workers and jobs, which stand in the place of a model, have default rules of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from driftline.schemas.reports import SUBJECTS, Subject
from driftline.schemas.settings import ModelConfig
from driftline.streams.catalogue import plugins
from driftline.streams.decide.rule import InvalidRule, Rule
from driftline.streams.decide.rules.coverage import CoverageRule
from driftline.streams.decide.rules.data_quality import DataQualityRule
from driftline.streams.decide.rules.drift import DriftRule
from driftline.streams.decide.rules.error_rate import ErrorRateRule
from driftline.streams.decide.rules.failed_job import FailedJobRule
from driftline.streams.decide.rules.latency import LatencyRule
from driftline.streams.decide.rules.no_data import NoDataRule
from driftline.streams.decide.rules.no_labels import NoLabelsRule
from driftline.streams.decide.rules.performance_drop import PerformanceDropRule
from driftline.streams.decide.rules.system import SystemRule
from driftline.streams.toml_tables import convert_table

DEFAULT_RULES: tuple[Rule, ...] = (
    NoDataRule(),
    NoLabelsRule(),
    ErrorRateRule(),
    LatencyRule(),
    CoverageRule(),
    PerformanceDropRule(),
    DataQualityRule(),
    DriftRule(),
)
"""Of every model."""
OWN_DEFAULT_RULES: Final[Mapping[Subject, tuple[Rule, ...]]] = {
    "model": DEFAULT_RULES,
    # High levels only: what leads to a loss if nobody looks.
    "workers": (
        SystemRule(name="disk", metric="disk", warning=0.90, critical=0.95),
        SystemRule(name="memory", metric="memory", critical=0.95),
    ),
    "jobs": (FailedJobRule(),),
}
_INHERITED: Final = "defaults.rules"
"""Of rules written there, models, workers and jobs have those that are about them; those that
read alerts are for models.
"""
_READERS: Final[Mapping[str, Subject]] = {"workers": "workers", "jobs": "jobs"}
"""By what a rule reads, what it is about if that is no model; those that read alerts may be about
any.
"""


@lru_cache(maxsize=1)
def rule_plugins() -> dict[str, type[Rule]]:
    """All rule types by name."""
    return plugins(Rule, ("driftline.streams.decide.rules",))


def build_rules(config: ModelConfig, where: str | None = None) -> tuple[Rule, ...]:
    """The rules of a model: its own, then the default rules whose names it does not use.

    Parameters
    ----------
    config
        The model's settings.
    where
        Path of the list of rules in the file, such as "models.churn.rules"; by default the one in
        the settings.

    Raises
    ------
    ValueError
        If a rule has an unknown type, an unknown or missing key or a wrong value, if it is about
        something else, if two rules have the same name, or if one names others that it cannot read;
        the message begins with the path.

    Examples
    --------
    >>> names = [rule.name for rule in build_rules(ModelConfig())]
    >>> names[:4]
    ['no_data', 'no_labels', 'error_rate', 'latency']
    >>> names[4:]
    ['coverage', 'performance_drop', 'data_quality', 'drift']
    >>> wrong = ModelConfig(rules=({"type": "treshold"},))
    >>> build_rules(wrong, "models.churn.rules")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: models.churn.rules[0].type: "treshold" is not a type of rule; known are ...
    """
    where = where or config.rules_path
    rules: dict[str, Rule] = {}
    for number, table in enumerate(config.rules):
        place = f"{where}[{number}]"
        kind = rule_plugins().get(table.get("type", ""))
        if kind is None:
            known = ", ".join(sorted(rule_plugins()))
            raise ValueError(
                f'{place}.type: "{table.get("type", "")}" is not a type of rule; known are {known}'
            )
        about, is_inherited = _READERS.get(kind.reads, "model"), where == _INHERITED
        if about != config.subject and (is_inherited or kind.reads != "alerts"):
            if is_inherited:
                continue
            raise ValueError(f"{place}.type: {_misplaced(kind, about)}")
        rule: Rule = convert_table(table, kind, place)
        try:
            rule = rule.bound(config)
        except InvalidRule as error:
            raise ValueError(f"{place}.{error.field}: {error}") from error
        if rule.name in rules:
            raise ValueError(
                f'{place}.name: "{rule.name}" is another rule\'s name; every alert of a model '
                "needs a name of its own"
            )
        rules[rule.name] = rule
    own = list(rules.values())
    if config.default_rules:
        for default in OWN_DEFAULT_RULES[config.subject]:
            rule = default.bound(config)
            rules.setdefault(rule.name, rule)
    for number, rule in enumerate(own):
        try:
            rule.check_beside(rules)
        except InvalidRule as error:
            raise ValueError(f"{where}[{number}].{error.field}: {error}") from error
    return tuple(rules.values())


def _misplaced(kind: type[Rule], about: Subject) -> str:
    name = next((name for name, subject in SUBJECTS.items() if subject == about), None)
    if name is None:
        return f'"{kind.__struct_config__.tag}" is a type of rules on models'
    return f'"{kind.__struct_config__.tag}" judges {about}; write it under [[models.{name}.rules]]'
