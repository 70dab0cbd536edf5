"""Names of the columns of a table: unique, whatever the header says.

A column without a heading is called by its place, "#1". Of two columns with one heading, which is
refused unless the caller says which one is meant, the first is "age#1" and the second "age#2".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final

from driftline.agents.recorded.tables.table_error import TableError

_UNNAMED: Final = re.compile(r"Unnamed: [0-9]+")  # what pandas makes of a column without a heading


def is_nameless(heading: str) -> bool:
    """Whether a heading is none."""
    return not heading or _UNNAMED.fullmatch(heading) is not None


def unique_names(
    headings: Sequence[str], *, mentioned: Collection[str], dropped: Collection[str], table: str
) -> tuple[list[str], set[int]]:
    """A name for each column, and the indexes of the columns that are left out by request.

    Parameters
    ----------
    headings
        D headings.
    mentioned
        Names that the caller maps to a field.
    dropped
        Names that the caller leaves out; a heading leaves out all columns that have it.
    table
        Name of the table, for messages.

    Raises
    ------
    LogError
        If columns that are not left out have one heading, and the caller has not said which one is
        meant; or if no column has a name of `dropped`.
    """
    names = [heading or f"#{place}" for place, heading in enumerate(headings, 1)]
    counts = Counter(headings)
    seen: Counter[str] = Counter()
    for index, heading in enumerate(headings):
        if heading and counts[heading] > 1:
            seen[heading] += 1
            names[index] = f"{heading}#{seen[heading]}"
    left_out = {
        index
        for index, name in enumerate(names)
        if name in dropped or (headings[index] in dropped and headings[index])
    }
    known = {*names, *headings}
    for name in dropped:
        if name not in known:
            raise TableError(
                f"{table}: has no column {name!r} to leave out; it has {listed(names)}"
            )
    for heading, count in counts.items():
        if heading and count > 1:
            _resolve(heading, headings, names, mentioned, left_out, table)
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise TableError(f"{table}: two columns are called {twice!r}; rename one in the header")
    return names, left_out


def _resolve(
    heading: str,
    headings: Sequence[str],
    names: list[str],
    mentioned: Collection[str],
    left_out: Collection[int],
    table: str,
) -> None:
    """Call the one column of a heading that is neither left out nor mentioned by the heading."""
    same = [index for index, each in enumerate(headings) if each == heading]
    open_ = [index for index in same if index not in left_out and names[index] not in mentioned]
    if len(open_) > 1:
        number = "two" if len(same) == 2 else str(len(same))
        places = " and ".join(str(index + 1) for index in same)
        last = names[same[-1]]
        raise TableError(
            f"{table}: {number} columns are called {heading!r} (columns {places}, called "
            f"{listed([names[index] for index in same])} here); leave one out with "
            f"--drop '{last}' (in Python drop=[{last!r}]), or rename it in the header"
        )
    for index in open_:
        names[index] = heading


def listed(names: Sequence[str], most: int = 40) -> str:
    """Names for a message, not too many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
