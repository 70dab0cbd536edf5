"""The reference of the API in `docs/api.md`: routes, parameters and answers, from their types.

python -m driftline.agents.serve.reference docs/api.md
"""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from driftline.agents.serve.answers.answer import Problem
from driftline.agents.serve.field_texts import field_texts, summary
from driftline.agents.serve.question import needed_text
from driftline.agents.serve.route import Query, Route
from driftline.agents.serve.route_table import ROUTES
from driftline.schemas.times import EpochMs

MARK: Final = "## Routes\n"
_CHOICE: Final = re.compile("one of ([a-z, ]+)")
_PLAIN: Final[dict[Any, str]] = {
    EpochMs: "time",
    str: "text",
    int: "integer",
    float: "number",
    bool: "boolean",
    Any: "any",
    type(None): "null",
}


def reference() -> str:
    """The part of the document that follows from the types."""
    rows = [f"| `/api{route.path}` | {_first(route.description)} |" for route in ROUTES]
    table = ["| address | answers |", "|---|---|", *rows]
    routes = [line for route in ROUTES for line in _route(route)]
    found: list[type[Struct]] = [kind for route in ROUTES for kind in _structs(route.answer)]
    used: list[type[Struct]] = list(dict.fromkeys(found))
    used.append(Problem)
    answers = [line for kind in used for line in _type(kind)]
    parts = [MARK, *table, "", *routes, "## Types\n", *answers]
    return "\n".join(parts).rstrip() + "\n"


def rewritten(document: str) -> str:
    """A document with the reference in place of what stands from its heading on."""
    return document.partition(MARK)[0] + reference()


def _route(route: Route) -> Iterator[str]:
    yield f"### `/api{route.path}`\n"
    yield f"{_paragraphs(route.description)}\n"
    yield f"Answers `{route.answer.__name__}`.\n"
    yield from ("| parameter | needs | default | |", "|---|---|---|---|")
    hints, texts = get_type_hints(route.query, include_extras=True), field_texts(route.query)
    own = [f for f in msgspec.structs.fields(route.query) if f.name not in Query.__struct_fields__]
    common = list(msgspec.structs.fields(Query))
    for field in [*own, *common]:
        default = "**needed**" if field.required else _default(field.default)
        needs = _CHOICE.sub(_in_code, needed_text(hints[field.name]))
        yield f"| `{field.name}` | {needs} | {default} | {texts.get(field.name, '')} |"
    yield ""


def _in_code(choice: re.Match[str]) -> str:
    return "one of " + ", ".join(f"`{each}`" for each in choice[1].split(", "))


def _default(value: object) -> str:
    if value in (None, ()):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _type(kind: type[Struct]) -> Iterator[str]:
    yield f"### `{kind.__name__}`\n"
    yield f"{summary(kind)}\n"
    yield from ("| field | type | |", "|---|---|---|")
    hints, texts = get_type_hints(kind), field_texts(kind)
    for field in msgspec.structs.fields(kind):
        text = texts.get(field.name, "")
        yield f"| `{field.encode_name}` | {_name(hints[field.name])} | {text} |"
    yield ""


def _name(hint: Any) -> str:
    """A type in words; own types are headings of the reference."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if isinstance(hint, type) and issubclass(hint, Struct):
        return f"`{hint.__name__}`"
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (types.UnionType, Union):
        return " or ".join(map(_name, arguments))
    if origin is list:
        return f"list of {_name(arguments[0])}"
    if origin is tuple:
        return f"[{', '.join(map(_name, arguments))}]"
    if origin is dict:
        return f"object of {_name(arguments[1])}"
    return str(getattr(hint, "__name__", hint))


def _structs(hint: Any) -> Iterator[type[Struct]]:
    """The structs in a type, outer ones first."""
    if isinstance(hint, type) and issubclass(hint, Struct):
        yield hint
        for inner in get_type_hints(hint).values():
            if inner is not hint:
                yield from _structs(inner)
    for argument in get_args(hint):
        yield from _structs(argument)


def _first(text: str) -> str:
    return " ".join(text.split(".")[0].split())


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(rewritten(target.read_text(encoding="utf-8")), encoding="utf-8")
