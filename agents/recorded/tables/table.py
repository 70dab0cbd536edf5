"""What a table is to the rest: columns of a kind, read in batches as often as needed.

`csv_table.py` and `arrow_table.py` are the two implementations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, Protocol

from msgspec import Struct

BATCH_ROWS: Final = 2_000
"""With 10,000, the events of a batch do not fit into the caches: a fifth slower."""

Kind = Literal["written", "text", "number", "boolean", "time", "empty"]
"""Kind of the values of a column.

"written" is text of which only the whole file tells whether it is numbers, as in CSV. The others
have a type of their own: "text" (str), "number" (int, float), "boolean" (bool), "time" (int,
milliseconds since the epoch), "empty" (no value at all). None is a missing value of any kind.
"""


class Column(Struct, frozen=True):
    """A column of a table.

    Attributes
    ----------
    name
        Its heading, without blanks around it; "" if it has none.
    kind
        Kind of its values.
    unusable
        Why it has no value that an event could hold; None if it has.
    """

    name: str
    kind: Kind
    unusable: str | None = None


class Table(Protocol):
    """A table that can be read more than once."""

    @property
    def name(self) -> str:
        """Name for messages."""

    @property
    def columns(self) -> Sequence[Column]:
        """D columns, in order; names need not be unique."""

    @property
    def read_as(self) -> str:
        """What is unusual about how the table is written, for people; "" if nothing is."""

    @property
    def blank_rows(self) -> int:
        """Rows without any value that the last complete pass left out."""

    def batches(self, indexes: Sequence[int]) -> Iterator[list[Sequence[Any]]]:
        """The values of some columns, in batches of at most BATCH_ROWS rows: one sequence of N
        values for each of `indexes`, all of one length.

        Raises
        ------
        LogError
            If a row or value cannot be read; names it.
        """
