"""Finds plug-ins: one file in the folder of its kind is all that a new metric or drift test needs.

A plug-in is a frozen msgspec struct with a tag, below the base class of its kind. The catalogue
walks the package of the kind, and any package or module that the configuration names, and knows
each plug-in by its tag.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import TypeVar

import msgspec

from driftline.streams.drift.comparison import DriftTest
from driftline.streams.metrics.metric import Metric

Plugin = TypeVar("Plugin", bound=msgspec.Struct)


def metric_plugins(extra_packages: Sequence[str] = ()) -> tuple[Metric, ...]:
    """Every metric with its default parameters, in the order of their names.

    Parameters
    ----------
    extra_packages
        Import names of packages or modules with metrics of your own.

    Examples
    --------
    >>> [metric.name for metric in metric_plugins()][:3]
    ['accuracy', 'balanced_accuracy', 'brier']
    """
    return tuple(
        plugin()
        for _, plugin in sorted(
            plugins(Metric, ("driftline.streams.metrics", *extra_packages)).items()
        )
    )


def drift_plugins(extra_packages: Sequence[str] = ()) -> tuple[DriftTest, ...]:
    """Every drift test with its default parameters, in the order of their names.

    Examples
    --------
    >>> {"ks", "psi"} <= {test.name for test in drift_plugins()}
    True
    """
    return tuple(
        plugin()
        for _, plugin in sorted(
            plugins(DriftTest, ("driftline.streams.drift", *extra_packages)).items()
        )
    )


def plugins(kind: type[Plugin], packages: Sequence[str]) -> dict[str, type[Plugin]]:
    """Class by tag of every plug-in of one kind.

    Parameters
    ----------
    kind
        The base class; classes below it without a tag are shared ground, not plug-ins.
    packages
        Import names; of a package all modules below it are walked.

    Raises
    ------
    ValueError
        If two plug-ins have the same tag, or a package cannot be imported.

    Examples
    --------
    >>> plugins(Metric, ["driftline.streams.metrics"])["f1"].__name__
    'F1'
    """
    found: dict[str, type[Plugin]] = {}
    for package in packages:
        for module in _modules(package):
            for value in vars(module).values():
                # Only where it is defined: importing a plug-in into another module does not make it
                # two.
                if not (
                    isinstance(value, type)
                    and issubclass(value, kind)
                    and value.__module__ == module.__name__
                ):
                    continue
                tag = value.__struct_config__.tag
                if not isinstance(tag, str):
                    continue
                other = found.setdefault(tag, value)
                if other is not value:
                    raise ValueError(
                        f'plug-ins: the name "{tag}" is taken by {other.__module__}.{other.__qualname__}; '
                        f"give {value.__module__}.{value.__qualname__} another tag"
                    )
    return found


def _modules(package: str) -> Iterator[ModuleType]:
    """The package itself and every module below it, in the order of their names."""
    try:
        root = importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ValueError(
            f'plug-ins: cannot import "{package}" ({error}); is it installed, or its folder on PYTHONPATH?'
        ) from error
    yield root
    for entry in pkgutil.walk_packages(getattr(root, "__path__", []), prefix=f"{package}."):
        yield importlib.import_module(entry.name)
