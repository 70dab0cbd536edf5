"""A configuration checked as a whole: the file by `schemas`, its rules, tuners and policies by
`streams`.

`schemas` cannot know the types of plug-ins, so their tables are built here once before a run
starts, and what is wrong with them is said as for any other key of the file.
"""

from __future__ import annotations

from pathlib import Path

from driftline.schemas.config import ConfigError, load_config
from driftline.schemas.settings import Config
from driftline.streams.catalogue import metric_plugins
from driftline.streams.decide import build_rules
from driftline.streams.decide.tuner import build_tuner
from driftline.streams.measure.stage import check_metrics
from driftline.streams.registry.policy import build_policy


def checked_config(path: Path | None) -> Config:
    """The settings in a file, or the defaults without one.

    Raises
    ------
    ConfigError
        If the file cannot be read, or says something that is not understood.
    """
    config = load_config(path)
    try:
        check_metrics(config, [metric.name for metric in metric_plugins()])
        for model in (config.defaults, *config.models.values()):
            for build in (build_rules, build_tuner, build_policy):
                build(model)
    except ValueError as error:
        where, _, message = str(error).partition(": ")
        raise ConfigError(config.path, where, message) from error
    return config
