"""What a route of the API is: its address, its question, its answer, and how that is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from driftline.schemas.errors import DriftlineError
from driftline.schemas.times import format_duration, format_time, parse_duration, parse_time

if TYPE_CHECKING:
    from driftline.agents.serve.answers.answer import Answer
    from driftline.agents.serve.view import View

Table = tuple[Sequence[str], Sequence[Sequence[object]]]
"""Names of the columns, and rows."""
Name = Annotated[str, Meta(min_length=1)]
_SHOWN: Final = 200
Limit = Annotated[int, Meta(ge=1, le=10_000)]


class Unanswerable(DriftlineError):
    """A question that has no answer.

    Parameters
    ----------
    needed, got, remedy
        What was needed, what came, and what to do.
    parameter
        The parameter that is wrong, if one is.
    status
        The HTTP status: 400 for a wrong question, 404 for something that is not there.
    """

    def __init__(
        self,
        *,
        needed: str,
        remedy: str,
        got: str | None = None,
        parameter: str | None = None,
        status: int = 400,
    ) -> None:
        super().__init__(f"{parameter or 'the question'}: needed {needed}, got {got}; {remedy}")
        self.needed, self.got, self.remedy = needed, got, remedy
        self.parameter, self.status = parameter, status


def shown(text: str) -> str:
    """A text of a question as a message repeats it: not endless."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text):,} characters)"


class Moment(int):
    """A time in ms since the epoch; RFC 3339 in a question."""

    needed = "a time such as 2026-11-21T10:00:00Z"

    @classmethod
    def of(cls, text: str) -> Moment:
        """The time of a text.

        Raises
        ------
        ValueError
            If it is none.
        """
        return cls(parse_time(text))


class Edge:
    """Begin or end of a span: a time, or a duration back from the newest data.

    Parameters
    ----------
    at_ms
        The time; None for a duration.
    back_ms
        The duration.
    """

    needed = f"{Moment.needed}, or a duration such as 7d back from the newest data"

    def __init__(self, *, at_ms: int | None = None, back_ms: int = 0) -> None:
        self.at_ms, self.back_ms = at_ms, back_ms

    def __repr__(self) -> str:
        return format_duration(self.back_ms) if self.at_ms is None else format_time(self.at_ms)

    @classmethod
    def of(cls, text: str) -> Edge:
        """The edge of a text.

        Raises
        ------
        ValueError
            If it is neither.

        Examples
        --------
        >>> Edge.of("7d").back_ms, Edge.of("1970-01-01T00:00:01Z").at_ms
        (604800000, 1000)
        """
        if "T" in text.upper() or "-" in text:
            return cls(at_ms=parse_time(text))
        return cls(back_ms=parse_duration(text))

    def before(self, newest_ms: int) -> int:
        """The time in ms, if the newest data end at `newest_ms`."""
        return self.at_ms if self.at_ms is not None else newest_ms - self.back_ms


class Query(Struct, kw_only=True, frozen=True):
    """Parameters of all routes.

    Attributes
    ----------
    format
        `csv` answers with a table instead of JSON; the header `Accept: text/csv` does so too.
    """

    format: Literal["json", "csv"] | None = None


class AtQuery(Query, kw_only=True, frozen=True):
    """Parameters of routes that can look back.

    Attributes
    ----------
    at
        Shows only what was known at this time.
    """

    at: Moment | None = None


class PageQuery(AtQuery, kw_only=True, frozen=True):
    """Parameters of routes with long lists.

    Attributes
    ----------
    limit
        Number of entries of one answer, at most.
    after
        `page.next` of the answer before.
    """

    limit: Limit = 1_000
    after: Name | None = None


@dataclass(frozen=True, kw_only=True)
class Route:
    """One address of the API.

    Attributes
    ----------
    path
        Below `/api`.
    query, answer
        Types of its parameters and of its answer.
    read
        Gives the answer to a question. Its docstring describes the route.
    table
        The table of an answer.
    is_timeless
        Whether the answer depends on the results alone, so that it has an ETag.
    """

    path: str
    query: type[Query]
    answer: type[Answer]
    read: Callable[[View, Any], Answer]
    table: Callable[[Any], Table]
    is_timeless: bool = True

    @property
    def description(self) -> str:
        """What the route answers."""
        return (self.read.__doc__ or "").strip()
