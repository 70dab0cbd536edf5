"""What all answers share: the names of times, the end of a page, and errors."""

from __future__ import annotations

from msgspec import Struct

from driftline.schemas.times import EpochMs


def _written(name: str) -> str:
    """The name of a field in JSON: a time is RFC 3339 text there, without a unit."""
    return name.removesuffix("_ms")


class Answer(Struct, kw_only=True, rename=_written):
    """A part of an answer. A field `*_ms` is RFC 3339 text in UTC in JSON, under its name without
    the unit; all fields are always there.
    """


class Page(Answer):
    """The place of an answer in a longer list.

    Attributes
    ----------
    n
        Number of all entries that the question selects.
    next
        Value of `after` that gives the next part; null at the end.
    """

    n: int
    next: str | None


class Problem(Answer):
    """Why a question has no answer.

    Attributes
    ----------
    status
        The HTTP status.
    parameter
        The parameter that is wrong; null if none is.
    needed
        What was needed.
    got
        What came; null if nothing did.
    remedy
        What to do.
    """

    status: int
    parameter: str | None
    needed: str
    got: str | None
    remedy: str


class Span(Answer):
    """A span of event time, the end excluded."""

    start_ms: EpochMs
    end_ms: EpochMs
