"""A configuration checked as a whole: the file by `schemas`, its rules, tuners, policies and
responses by `streams`, its channels by `notify`.

`schemas` does not know the types of plug-ins, so their tables are built here once before a run
starts; an error in them names its key as for any other key of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

from driftline.schemas.config import ConfigError, build_config, load_config
from driftline.schemas.reports import SUBJECTS
from driftline.schemas.settings import Config
from driftline.streams.catalogue import metric_plugins
from driftline.streams.decide import build_rules
from driftline.streams.decide.rule_levels import created_names
from driftline.streams.decide.tuner import build_tuner
from driftline.streams.measure.stage import check_metrics
from driftline.streams.registry.policy import build_policy
from driftline.streams.registry.response import build_responses, require_rules

ConfigSource: TypeAlias = str | PathLike[str] | Mapping[str, Any] | Config | None
"""A configuration file, its tables as nested dictionaries, settings, or None for the defaults."""


def checked_config(source: ConfigSource) -> Config:
    """The settings of a configuration, with the parameters of its plug-ins checked.

    Raises
    ------
    ConfigError
        If the file cannot be read, or a key or value is invalid.
    """
    if isinstance(source, Config):
        config = source
    elif isinstance(source, Mapping):
        config = build_config(source)
    elif source is None or isinstance(source, str | PathLike):
        config = load_config(None if source is None else Path(source))
    else:
        raise ConfigError(
            None,
            "",
            f"is {type(source).__name__}; pass the path of a TOML file, "
            "its tables as a dictionary, or None for the defaults",
        )
    try:
        check_metrics(config, [metric.name for metric in metric_plugins()])
        models = [config.for_rules(name) for name in (*config.models, *SUBJECTS)]
        for model in (config.defaults, *models):
            for build in (build_tuner, build_policy):
                build(model)
            rules, responses = build_rules(model), build_responses(model)
            # Inherited responses may be for rules that other models have.
            if model is config.defaults or model.responses_path != config.defaults.responses_path:
                require_rules(responses, model, [rule.name for rule in rules], created_names())
    except ValueError as error:
        where, _, message = str(error).partition(": ")
        raise ConfigError(config.path, where, message) from error
    if config.notifications.channels:
        # Imported here: it brings what channels connect with.
        from driftline.agents.notify.channel_check import check_channels

        check_channels(config.notifications, config.path)
    return config
