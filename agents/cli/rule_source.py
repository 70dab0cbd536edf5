"""Which alert rules are in force: by a configuration, by the results of a run, or on a broker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import driftline
from driftline.agents.cli.broker_options import open_connection
from driftline.agents.cli.inputs import read_config, report_read_errors
from driftline.agents.cli.output import WrongInput

if TYPE_CHECKING:
    from driftline.schemas.results import RegistryEvent, RuleLevel
    from driftline.schemas.settings import Config, ModelConfig
    from driftline.streams.registry.model_state import RegisteredModel


@dataclass(frozen=True)
class RuleSource:
    """Rules and what commands have set of them.

    Attributes
    ----------
    place
        Where they were read, for messages.
    config
        The configuration in force.
    models
        The registry, by model; empty without results.
    events
        What the registry has answered.
    """

    place: str
    config: Config
    models: Mapping[str, RegisteredModel] = field(default_factory=dict)
    events: Sequence[RegistryEvent] = ()

    def settings(self, model_name: str) -> ModelConfig:
        """The settings of a model; "*" for every one that the configuration does not name."""
        return self.config.defaults if model_name == "*" else self.config.for_rules(model_name)

    def levels(self, model_name: str) -> dict[str, RuleLevel]:
        """By name of the rule, what commands have set."""
        model = self.models.get(model_name)
        return {} if model is None else model.rules().rules


def rules_of_folder(out: Path) -> RuleSource:
    """The rules of a run by its output folder.

    Raises
    ------
    WrongInput
        If it is no output folder, or cannot be read.
    """
    with report_read_errors():
        results = driftline.open(out)
        if results.is_export:
            raise WrongInput(f"{out} is an export of a broker; ask the broker (--broker)")
        return _source(str(out), results.run()["settings"], results.registry_events.structs())


@contextmanager
def rules_of_broker(broker: str | None, config: Path | None) -> Iterator[RuleSource]:
    """The rules of the workers on a broker, by the settings that they recorded.

    Raises
    ------
    WrongInput
        If no worker has recorded any, or the broker does not answer.
    """
    with open_connection(read_config(config), broker) as connection:
        from driftline.agents.kafka.tools.commands import read_registry_events
        from driftline.agents.kafka.tools.settings_in_force import settings_in_force

        recorded = settings_in_force(connection)
        if recorded is None:
            raise WrongInput(f"{connection.servers}: no worker has recorded its settings yet")
        yield _source(connection.servers, recorded, read_registry_events(connection))


def _source(place: str, settings: Mapping[str, Any], events: Iterable[RegistryEvent]) -> RuleSource:
    from driftline.agents.configuration import checked_config
    from driftline.schemas.config import parse_config
    from driftline.schemas.setting_changes import settings_toml
    from driftline.streams.registry.history import replay

    events = list(events)
    try:
        models = replay(events)
        # A rule may need a library that is installed where the workers run, and not here.
        config = checked_config(parse_config(settings_toml(settings)))
    except ValueError as error:
        raise WrongInput(f"{place}: {error}") from error
    return RuleSource(place, config, models, events)
