"""Catalogue of plug-ins: a new metric or drift test is one file in the folder of its kind.

A plug-in is a frozen msgspec struct with a tag, derived from the base class of its kind. The
catalogue walks the package of the kind and every package or module that the configuration names,
and finds each plug-in by its tag.
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
    """All metrics with default parameters, by name.

    Parameters
    ----------
    extra_packages
        Import names of packages or modules with further metrics.

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
    """All drift tests with default parameters, by name.

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
    """Class of every plug-in of one kind, by tag.

    Parameters
    ----------
    kind
        The base class; derived classes without a tag are shared bases, not plug-ins.
    packages
        Import names of modules, or of packages with all their modules.

    Raises
    ------
    ValueError
        If two plug-ins have the same tag, or a package cannot be imported.

    Examples
    --------
    >>> plugins(Metric, ["driftline.streams.metrics"])["f1"].__name__
    'F1'
    """
    by_tag: dict[str, type[Plugin]] = {}
    for package in packages:
        for module in _modules(package):
            for value in vars(module).values():
                # Only where it is defined, not where it is imported.
                if not (
                    isinstance(value, type)
                    and issubclass(value, kind)
                    and value.__module__ == module.__name__
                ):
                    continue
                tag = value.__struct_config__.tag
                if not isinstance(tag, str):
                    continue
                other = by_tag.setdefault(tag, value)
                if other is not value:
                    raise ValueError(
                        f'plug-ins: the name "{tag}" is taken by'
                        f" {other.__module__}.{other.__qualname__}; give"
                        f" {value.__module__}.{value.__qualname__} another tag"
                    )
    return by_tag


def _modules(package: str) -> Iterator[ModuleType]:
    """The package itself and its modules, by name."""
    try:
        root = importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ValueError(
            f'plug-ins: cannot import "{package}" ({error}); install it, or put its folder on'
            " PYTHONPATH"
        ) from error
    yield root
    for entry in pkgutil.walk_packages(getattr(root, "__path__", []), prefix=f"{package}."):
        yield importlib.import_module(entry.name)
