"""Responses of a model: which action an alert of a rule leads to by itself.

Nothing is configured by default, and a response is a dry run until it says otherwise. When one is
taken is decided in `responses.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Annotated, Any

import msgspec

from driftline.schemas.actions import REGISTRY_ACTIONS, ActionName
from driftline.schemas.notification_settings import SEVERITIES, Severity
from driftline.schemas.results import Alert
from driftline.schemas.settings import ModelConfig
from driftline.schemas.times import parse_duration
from driftline.streams.lanes import ALL
from driftline.streams.toml_tables import convert_table

Value = str | bool | int | float


class Response(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One action bound to alerts.

    Parameters
    ----------
    rule
        Name of the rule, or a pattern: * stands for any characters, ? for one.
    action
        What to do.
    name
        Unique in a model; the rule and the action by default.
    severity
        Least severity of the alert.
    segment
        Segment of the alert, or a pattern.
    dry_run
        Record what would be done, and do nothing.
    cool_down
        Time after the response was taken in which it is not taken again.
    most_a_day
        How often it is taken on a day (UTC) of event time.
    hold_off
        Time after a person took a change of the registry back in which it is not made again.
    params
        Handed to the serving side.
    """

    rule: str
    action: ActionName
    name: str = ""
    severity: Severity = "critical"
    segment: str = ALL
    dry_run: bool = True
    cool_down: str = "1d"
    most_a_day: Annotated[int, msgspec.Meta(ge=1)] = 1
    hold_off: str = "7d"
    params: dict[str, Value] = {}

    @property
    def cool_down_ms(self) -> int:
        """`cool_down` in milliseconds."""
        return parse_duration(self.cool_down)

    @property
    def hold_off_ms(self) -> int:
        """`hold_off` in milliseconds."""
        return parse_duration(self.hold_off)

    @property
    def changes_registry(self) -> bool:
        """Whether the action is a change of the registry."""
        return self.action in REGISTRY_ACTIONS

    def answers(self, alert: Alert) -> bool:
        """Whether an alert is of a kind that leads to the action."""
        return (
            SEVERITIES.index(alert.severity) >= SEVERITIES.index(self.severity)
            and fnmatchcase(alert.rule, self.rule)
            and fnmatchcase(alert.segment, self.segment)
        )


def build_responses(config: ModelConfig, where: str | None = None) -> tuple[Response, ...]:
    """The responses of a model, in the order of the configuration.

    Parameters
    ----------
    config
        The model's settings.
    where
        Path of the list in the file; by default the one in the settings.

    Raises
    ------
    ValueError
        If a table has an unknown or missing key or a wrong value, or if two have the same name; the
        message begins with the path.

    Examples
    --------
    >>> config = ModelConfig(responses=({"rule": "performance_drop", "action": "escalate"},))
    >>> (response,) = build_responses(config)
    >>> response.name, response.severity, response.dry_run
    ('performance_drop/escalate', 'critical', True)
    >>> table = {"rule": "drift", "action": "escalate", "hold_off": "long"}
    >>> wrong = ModelConfig(responses=(table,))
    >>> build_responses(wrong, "models.churn.responses")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: models.churn.responses[0].hold_off: ...
    """
    where = where or config.responses_path
    responses: dict[str, Response] = {}
    for number, table in enumerate(config.responses):
        place = f"{where}[{number}]"
        response = _built(table, place, config)
        if response.name in responses:
            raise ValueError(
                f'{place}.name: "{response.name}" is another response\'s name; give this one a '
                "name of its own"
            )
        responses[response.name] = response
    return tuple(responses.values())


def require_rules(
    responses: Iterable[Response],
    config: ModelConfig,
    rules: Iterable[str],
    created: Iterable[str] = (),
) -> None:
    """Raise unless every response answers a rule of the model.

    Parameters
    ----------
    rules, created
        Names of the rules of the configuration, and of those that commands may create.

    Raises
    ------
    ValueError
        If one answers none; the message begins with its path.
    """
    known = list(rules)
    possible = [*known, *created]
    for number, response in enumerate(responses):
        if not any(fnmatchcase(rule, response.rule) for rule in possible):
            raise ValueError(
                f'{config.responses_path}[{number}].rule: "{response.rule}" is no rule of the '
                f"model; it has {', '.join(known) or 'none'}"
            )


def _built(table: dict[str, Any], place: str, config: ModelConfig) -> Response:
    response: Response = convert_table(table, Response, place)
    if not response.rule:
        raise ValueError(f"{place}.rule: must not be empty")
    for key in ("cool_down", "hold_off"):
        try:
            parse_duration(getattr(response, key))
        except ValueError as error:
            raise ValueError(f"{place}.{key}: {error}") from error
    dimension, equals, _ = response.segment.partition("=")
    if not any(fnmatchcase(name, dimension) for name in (config.segments if equals else (ALL,))):
        known = ", ".join(f'"{name}=..."' for name in config.segments) or "none"
        raise ValueError(
            f'{place}.segment: "{response.segment}" is neither "all" nor of a dimension that is '
            f"kept (segments: {known})"
        )
    if response.params and response.changes_registry:
        raise ValueError(
            f'{place}.params: "{response.action}" takes none; they are for the serving side'
        )
    return msgspec.structs.replace(
        response, name=response.name or f"{response.rule}/{response.action}"
    )
