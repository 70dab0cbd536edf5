"""A part of a longer list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from driftline.agents.serve.answers.answer import Page
from driftline.agents.serve.route import Unanswerable

T = TypeVar("T")


class Paged(Protocol):
    """A question with `limit` and `after`."""

    @property
    def limit(self) -> int:
        """Number of entries of one answer, at most."""

    @property
    def after(self) -> str | None:
        """Name of the last entry of the answer before."""


def one_page(entries: Sequence[T], query: Paged, name: Callable[[T], str]) -> tuple[list[T], Page]:
    """The entries after that of `query.after`, and where they end.

    Parameters
    ----------
    name
        Gives the name of an entry, which no other entry has: the value of `after`.

    Raises
    ------
    Unanswerable
        If there is no entry with this name.

    Examples
    --------
    >>> from driftline.agents.serve.route import PageQuery
    >>> found, page = one_page("abcd", PageQuery(limit=2, after="a"), str)
    >>> found, page.n, page.next
    (['b', 'c'], 4, 'c')
    """
    first = 0
    if query.after is not None:
        places = [place for place, entry in enumerate(entries) if name(entry) == query.after]
        if not places:
            raise Unanswerable(
                parameter="after",
                needed="page.next of an answer to the same question",
                got=query.after[:200],
                remedy="leave it out to begin anew",
            )
        first = places[0] + 1
    found = list(entries[first : first + query.limit])
    is_end = first + len(found) >= len(entries)
    return found, Page(n=len(entries), next=None if is_end or not found else name(found[-1]))
