"""Detectors of river, which is imported when the first one is created: it takes seconds and 100 MB.

river is optional (`pip install "driftline[river]"`).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from driftline.streams.decide.detectors.outcome_history import Detector


def is_installed() -> bool:
    """Whether detectors can be created; imports nothing."""
    return find_spec("river") is not None


def create(name: str, parameters: Mapping[str, Any]) -> Detector:
    """A new detector.

    Parameters
    ----------
    name
        Name of its class in `river.drift` or `river.drift.binary`.
    parameters
        Arguments by name.

    Raises
    ------
    ModuleNotFoundError
        If river is not installed.
    """
    from river import drift

    kind = getattr(drift, name, None) or getattr(drift.binary, name)
    detector: Detector = kind(**parameters)
    return detector
