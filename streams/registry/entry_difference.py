"""Which fields differ between two versions in the registry, or in one version at two times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from driftline.schemas.results import ModelLabels, ModelRules, RegistryEntry, to_plain

_OF_THE_RECORD: Final = ("model_name", "model_version", "revision")


class FieldDifference(msgspec.Struct, kw_only=True):
    """A field with its values on both sides; null is a field without a value.

    Attributes
    ----------
    field
        Its path, such as "configuration.window".
    """

    field: str
    a: Any
    b: Any


def entry_differences(a: RegistryEntry, b: RegistryEntry) -> list[FieldDifference]:
    """The fields of two entries that differ, by path; a baseline is one field. Names of the version
    and its revision are left out.

    Examples
    --------
    >>> a = RegistryEntry(
    ...     model_name="m", model_version="1", stage="staging", revision=1,
    ...     configuration={"depth": 3, "seed": 1},
    ... )
    >>> b = RegistryEntry(
    ...     model_name="m", model_version="2", stage="production", revision=2,
    ...     configuration={"depth": 4, "seed": 1},
    ... )
    >>> [(each.field, each.a, each.b) for each in entry_differences(a, b)]
    [('configuration.depth', 3, 4), ('stage', 'staging', 'production')]
    """
    return _differences(_fields(to_plain(a)), _fields(to_plain(b)))


def model_differences(
    a: tuple[ModelLabels | None, ModelRules | None], b: tuple[ModelLabels | None, ModelRules | None]
) -> list[FieldDifference]:
    """The labels of a model, and the levels of rules that commands have set, that differ."""
    return _differences(_model_fields(*a), _model_fields(*b))


def _model_fields(labels: ModelLabels | None, rules: ModelRules | None) -> dict[str, Any]:
    levels = {} if rules is None else rules.rules
    fields = {} if labels is None else to_plain(labels)
    return _fields(fields | {"rules": {name: level.values for name, level in levels.items()}})


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[FieldDifference]:
    return [
        FieldDifference(field=name, a=a.get(name), b=b.get(name))
        for name in sorted({*a, *b})
        if a.get(name) != b.get(name)
    ]


def _fields(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {
        path: value
        for name, whole in plain.items()
        if name not in _OF_THE_RECORD
        for path, value in _parts(name, whole, depth=1 if name == "baselines" else None)
    }


def _parts(path: str, value: Any, depth: int | None) -> Iterator[tuple[str, Any]]:
    """The values below a path, down to a depth."""
    if not isinstance(value, Mapping) or depth == 0:
        yield path, value
        return
    for name, part in value.items():
        yield from _parts(f"{path}.{name}", part, None if depth is None else depth - 1)
