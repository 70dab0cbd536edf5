"""What the docstring of a type says of its fields."""

from __future__ import annotations

import inspect
import re
from typing import Final

from msgspec import Struct

_FIELD: Final = re.compile(r"\w[\w, *]*")


def field_texts(kind: type[Struct]) -> dict[str, str]:
    """By name of a field, what the section "Attributes" of its type, or of one below it, says.

    Examples
    --------
    >>> from driftline.agents.serve.route import AtQuery
    >>> field_texts(AtQuery)["at"]
    'Shows only what was known at this time.'
    """
    texts: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if isinstance(each, type) and issubclass(each, Struct) and each is not Struct:
            texts |= _of_docstring(each.__dict__.get("__doc__") or "")
    return texts


def summary(kind: type[Struct]) -> str:
    """What a docstring says before its sections, in one paragraph."""
    text = inspect.cleandoc(kind.__doc__ or "")
    return " ".join(re.split(r"\n\w+\n-{4,}\n", text)[0].split())


def _of_docstring(docstring: str) -> dict[str, str]:
    _, _, section = inspect.cleandoc(docstring).partition("Attributes\n----------\n")
    texts: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        if _FIELD.fullmatch(line):
            names = [name.strip() for name in line.split(",")]
        elif line.strip():
            for name in names:
                texts[name] = f"{texts.get(name, '')} {line.strip()}".strip()
    return texts
