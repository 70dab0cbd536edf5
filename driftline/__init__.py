"""Driftline: how machine-learning models are doing while their ground truth is still arriving.

`driftline.replay` runs recorded predictions and ground truth through the pipeline, `driftline.open`
reads what a run wrote, `driftline.check` says before a run what it will understand. The first two
return `driftline.Results`, whose tables come as Arrow, pandas or plain dictionaries.
`driftline.serving` tells a service what is in force. Names are imported when they are first used,
so importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from driftline.agents.api import check, replay
    from driftline.agents.inprocess.run_identity import RunRefused
    from driftline.agents.inprocess.run_summary import Progress, ReplaySummary
    from driftline.agents.output_folder import ReadError
    from driftline.agents.recorded.lines import LogError
    from driftline.agents.results import MissingExtra, Results, Table, open
    from driftline.agents.serving.serving import Serving, serving
    from driftline.agents.state.errors import StateError
    from driftline.schemas.config import ConfigError
    from driftline.schemas.errors import DriftlineError
    from driftline.schemas.input_check import InputCheck

__all__ = [
    "ConfigError",
    "DriftlineError",
    "InputCheck",
    "LogError",
    "MissingExtra",
    "Progress",
    "ReadError",
    "ReplaySummary",
    "Results",
    "RunRefused",
    "Serving",
    "StateError",
    "Table",
    "check",
    "open",
    "replay",
    "serving",
]

_MODULES = {
    "ConfigError": "schemas.config",
    "DriftlineError": "schemas.errors",
    "InputCheck": "schemas.input_check",
    "LogError": "agents.recorded.lines",
    "MissingExtra": "agents.results",
    "Progress": "agents.inprocess.run_summary",
    "ReadError": "agents.output_folder",
    "ReplaySummary": "agents.inprocess.run_summary",
    "Results": "agents.results",
    "RunRefused": "agents.inprocess.run_identity",
    "Serving": "agents.serving.serving",
    "StateError": "agents.state.errors",
    "Table": "agents.results",
    "check": "agents.api",
    "open": "agents.results",
    "replay": "agents.api",
    "serving": "agents.serving.serving",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
