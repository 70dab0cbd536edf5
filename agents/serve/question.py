"""The parameters of an address become a question, or a message that says what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, Final, TypeVar, get_type_hints
from urllib.parse import parse_qsl

import msgspec
from msgspec import NODEFAULT
from msgspec.inspect import (
    BoolType,
    CustomType,
    IntType,
    LiteralType,
    StrType,
    Type,
    UnionType,
    VarTupleType,
    type_info,
)

from driftline.agents.serve.route import Edge, Moment, Query, Unanswerable, shown

Q = TypeVar("Q", bound=Query)
MOST_PARAMETERS: Final = 100


def read_question(kind: type[Q], query_string: bytes) -> Q:
    """The question of an address.

    Parameters
    ----------
    query_string
        What stands behind the question mark.

    Raises
    ------
    Unanswerable
        If a parameter is unknown, missing, there twice, or has another form.

    Examples
    --------
    >>> from driftline.agents.serve.route import PageQuery
    >>> read_question(PageQuery, b"limit=5&after=x%2Fy").after
    'x/y'
    """
    given = _given(query_string)
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    for name in given:
        if name not in fields:
            near = get_close_matches(name, fields, n=1)
            raise Unanswerable(
                parameter=shown(name),
                needed=f"a parameter of this route: {', '.join(fields)}",
                got=shown(name),
                remedy=f"write {near[0]}" if near else "leave it out",
            )
    hints = get_type_hints(kind, include_extras=True)
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in given:
            values[name] = _value(name, hints[name], given[name])
        elif field.default is NODEFAULT and field.default_factory is NODEFAULT:
            raise Unanswerable(
                parameter=name, needed=needed_text(hints[name]), remedy=f"add {name}=..."
            )
    return kind(**values)


def _given(query_string: bytes) -> dict[str, list[str]]:
    try:
        pairs = parse_qsl(
            query_string.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MOST_PARAMETERS,
        )
    except (UnicodeDecodeError, ValueError) as error:
        raise Unanswerable(
            needed=f"at most {MOST_PARAMETERS} parameters, percent-encoded UTF-8",
            got=shown(str(error)),
            remedy="encode each name and value",
        ) from error
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        given.setdefault(name, []).append(value)
    return given


def _value(name: str, hint: Any, texts: list[str]) -> Any:
    info = type_info(hint)
    is_list = isinstance(info, VarTupleType)
    if not is_list and len(texts) > 1:
        raise Unanswerable(
            parameter=name,
            needed="the parameter once",
            got=shown(" and ".join(texts)),
            remedy="leave all but one of them out",
        )
    try:
        # A surrogate or a null character is in no name, and some libraries end at it.
        for text in texts:
            text.encode()
            if "\0" in text:
                raise ValueError("a null character")
        value = texts if is_list else texts[0]
        return msgspec.convert(value, hint, strict=False, dec_hook=_custom)
    except (msgspec.ValidationError, ValueError) as error:
        raise Unanswerable(
            parameter=name,
            needed=needed_text(hint),
            got=shown(" and ".join(texts)),
            remedy="correct it, or leave it out",
        ) from error


def _custom(kind: type, value: Any) -> Any:
    if kind in (Moment, Edge) and isinstance(value, str):
        return kind.of(value)
    raise NotImplementedError(f"{kind.__name__} is no type of a parameter")


def needed_text(hint: Any) -> str:
    """What a parameter of a type needs, in words.

    Examples
    --------
    >>> needed_text(bool), needed_text(Moment | None)
    ('true or false', 'a time such as 2026-11-21T10:00:00Z')
    """
    return " or ".join(_needed(info) for info in _parts(type_info(hint)))


def _parts(info: Type) -> Iterator[Type]:
    parts = info.types if isinstance(info, UnionType) else (info,)
    return (part for part in parts if not isinstance(part, msgspec.inspect.NoneType))


def _needed(info: Type) -> str:
    if isinstance(info, LiteralType):
        return "one of " + ", ".join(map(str, info.values))
    if isinstance(info, IntType):
        return f"a whole number from {info.ge} to {info.le:,}"
    if isinstance(info, BoolType):
        return "true or false"
    if isinstance(info, CustomType) and issubclass(info.cls, Moment | Edge):
        return info.cls.needed
    if isinstance(info, StrType):
        return "a text that is not empty" if info.min_length else "a text"
    if isinstance(info, VarTupleType):
        return f"{_needed(info.item_type)}, once or more often"
    raise NotImplementedError(f"{info} is no type of a parameter")
