"""Named values of rows (features or segments) as arrays over all rows instead of one mapping per
row.

They are built while the rows are in the processor's cache. Each later pass over a million small
objects would cost more than the work on them.

A name that most rows lack has no column of its own: a few rows with thousands of names each would
take gigabytes. Its values are listed one by one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.streams.hashing import mixed, text_hashes
from driftline.streams.members import members

Codes = NDArray[np.int32]
Indexes = NDArray[np.int64]

NO_WORD: Final = -1
NAN: Final = float("nan")

_BOOLEANS: Final = ("false", "true")
_NUMBERS: Final = frozenset({float, int})
_TEXTS: Final = frozenset({str, bool})
_PLAIN_TEXTS: Final = frozenset({str, type(None)})

FEW: Final = 16
"""A name has a column of its own if one row in so many has a value."""


class FewRows(msgspec.Struct, frozen=True, gc=False):
    """Values of the names that few of the rows have, V of them, by row.

    Attributes
    ----------
    names
        The names.
    row, name
        Shape (V,): the row of each value, ascending, and the number of its name.
    number, text
        Shape (V,): the number, NaN for a text; the text as a number in the words of the rows,
        NO_WORD for a number.
    """

    names: list[str]
    row: Indexes
    name: Indexes
    number: NDArray[np.float64]
    text: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.row)

    def take(self, at: Indexes, rows: int) -> FewRows:
        """The values of the rows at the indexes `at`, shape (M,), of all `rows`."""
        if not len(self):
            return self
        lengths = np.bincount(self.row, minlength=rows)
        inside = members(lengths, at)
        return FewRows(
            self.names,
            np.repeat(np.arange(len(at)), lengths[at]),
            self.name[inside],
            self.number[inside],
            self.text[inside],
        )


NO_VALUES: Final = FewRows(
    [], np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int32)
)


class Named(msgspec.Struct, gc=False):
    """Numbers and texts of N rows by name. A name with both kinds of values is in both parts.

    Attributes
    ----------
    numeric, numbers
        F names, and their numbers, shape (F, N); NaN where a row has none.
    textual, words, texts
        G names, and the texts of each row as numbers in `words`, shape (G, N); NO_WORD where a row
        has none. Booleans are "true" and "false".
    few
        The values of names that few rows have. A name may be here for some rows, and have a column
        with the values of others.
    """

    numeric: list[str]
    numbers: NDArray[np.float64]
    textual: list[str]
    words: list[str]
    texts: Codes
    few: FewRows = NO_VALUES

    @classmethod
    def of(cls, rows: Sequence[dict[str, Any] | None]) -> Self:
        """Columns of mappings; None counts as an empty mapping.

        Examples
        --------
        >>> named = Named.of([{"age": 41, "plan": "pro"}, None, {"age": 52.5, "plan": "free"}])
        >>> named.numeric, named.numbers.tolist(), named.textual, named.texts.tolist(), named.words
        (['age'], [[41.0, nan, 52.5]], ['plan'], [[0, -1, 1]], ['pro', 'free'])
        """
        numbers: dict[str, NDArray[np.float64]] = {}
        texts: dict[str, Codes] = {}
        words = _Words()
        columns, listed = _by_name(rows)
        for name, values in columns.items():
            kinds = frozenset(map(type, values))
            if kinds <= _NUMBERS:
                numbers[name] = np.fromiter(values, np.float64, len(rows))
            elif kinds & _NUMBERS:
                numbers[name] = np.fromiter(
                    [value if type(value) in _NUMBERS else NAN for value in values],
                    np.float64,
                    len(rows),
                )
            if kinds & _TEXTS:
                if not kinds <= _PLAIN_TEXTS:
                    values = [
                        _BOOLEANS[value]
                        if type(value) is bool
                        else value
                        if type(value) is str
                        else None
                        for value in values
                    ]
                texts[name] = np.fromiter(map(words.__getitem__, values), np.int32, len(rows))
        size = len(rows)
        few = _few_rows(rows, listed, words) if listed else NO_VALUES
        return cls(
            list(numbers),
            np.array(list(numbers.values()), np.float64).reshape(len(numbers), size),
            list(texts),
            [word for word in words if word is not None],
            np.array(list(texts.values()), np.int32).reshape(len(texts), size),
            few,
        )

    def __len__(self) -> int:
        rows: int = self.numbers.shape[1]
        return rows

    def texts_of(self, name: str) -> Codes | None:
        """The texts of a name, shape (N,), as numbers in `words`; None if no row has one."""
        column = self.texts[self.textual.index(name)] if name in self.textual else None
        if name in self.few.names:
            listed = (self.few.name == self.few.names.index(name)) & (self.few.text != NO_WORD)
            column = np.full(len(self), NO_WORD, np.int32) if column is None else column.copy()
            column[self.few.row[listed]] = self.few.text[listed]
        return column

    def take(self, at: Indexes | slice) -> Self:
        """The rows at the indexes `at`, shape (M,), in that order, or in a slice."""
        few = self.few
        if len(few):
            few = few.take(np.arange(len(self))[at], len(self))
        if isinstance(at, slice):
            return type(self)(
                self.numeric, self.numbers[:, at], self.textual, self.words, self.texts[:, at], few
            )
        # An index in brackets takes twice as long, and leaves the columns of a row side by side.
        return type(self)(
            self.numeric,
            self.numbers.take(at, axis=1),
            self.textual,
            self.words,
            self.texts.take(at, axis=1),
            few,
        )

    def hashes(self) -> NDArray[np.uint64]:
        """64-bit hash of the values of each row, shape (N,), independent of the order of names and
        of the other rows.

        Examples
        --------
        >>> rows = [{"age": 41, "p": "pro"}, {"p": "pro", "age": 41.0, "x": None}, {"age": 41}]
        >>> one, two, three = Named.of(rows).hashes()
        >>> bool(one == two), bool(one == three)
        (True, False)
        """
        # A sum does not depend on the order of its terms, and a missing value adds 0.
        if not self.numeric and not self.textual and not len(self.few):
            return np.zeros(len(self), np.uint64)
        numbers = mixed([self.numbers, text_hashes(self.numeric)[:, None]])
        numbers[np.isnan(self.numbers)] = 0
        word_hashes = np.append(text_hashes(self.words), np.uint64(0))  # NO_WORD is the last one
        words = word_hashes[self.texts]
        texts = mixed([words, text_hashes(self.textual)[:, None]])
        texts[self.texts == NO_WORD] = 0
        total: NDArray[np.uint64] = numbers.sum(axis=0) + texts.sum(axis=0)
        if len(few := self.few):
            names = text_hashes(few.names)[few.name]
            is_text = few.text != NO_WORD
            values = mixed([few.number, names])
            values[is_text] = mixed([word_hashes[few.text[is_text]], names[is_text]])
            np.add.at(total, few.row, values)
        return total

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Rows of several parts, at least one, that follow each other."""
        codes = _Words()
        texts = []
        few = []
        rows = sum(map(len, parts))
        columns = _names_with_columns(parts, rows)
        for begin, part in zip(_begins(parts), parts, strict=True):
            recoded = np.fromiter(
                (codes[word] for word in (*part.words, None)), np.int32, len(part.words) + 1
            )
            texts.append(recoded[part.texts])
            few += _listed(part, texts[-1], recoded, columns, begin)
        numeric, numbers = _stacked(
            [part.numeric for part in parts], [part.numbers for part in parts], NAN, columns
        )
        textual, together = _stacked([part.textual for part in parts], texts, NO_WORD, columns)
        return cls(
            numeric,
            numbers,
            textual,
            [word for word in codes if word is not None],
            together,
            _joined(few),
        )


class _Words(dict[str | None, int]):
    """Numbers words from 0 in order of appearance."""

    def __init__(self) -> None:
        super().__init__({None: NO_WORD})

    def __missing__(self, word: str | None) -> int:
        self[word] = number = len(self) - 1
        return number


def _by_name(
    rows: Sequence[dict[str, Any] | None],
) -> tuple[dict[str, Sequence[Any]], frozenset[str]]:
    """One column per name from one mapping per row, with None where a row lacks the name; and the
    names without a column, since few rows have them.
    """
    if not any(rows):
        return {}, frozenset()
    # Usually every row has names; mypy cannot conclude that from `all`.
    mappings: Sequence[dict[str, Any]] = rows if all(rows) else [row or {} for row in rows]  # type: ignore[assignment]
    names = list(mappings[0])
    if frozenset(map(len, mappings)) == {len(names)}:
        try:
            # Usually all rows have the same names: one name at a time takes two thirds of the time
            # of comparing and transposing.
            return {name: list(map(itemgetter(name), mappings)) for name in names}, frozenset()
        except KeyError:
            pass  # the same number of names, but not the same
    counts = Counter(chain.from_iterable(mappings))
    few = frozenset(name for name, count in counts.items() if count * FEW < len(mappings))
    columns: dict[str, Sequence[Any]] = {
        name: [row.get(name) for row in mappings] for name in counts if name not in few
    }
    return columns, few


def _few_rows(
    rows: Sequence[dict[str, Any] | None], names: frozenset[str], words: _Words
) -> FewRows:
    """The values of some names."""
    found: list[str] = []
    values: list[Any] = []
    lengths = np.zeros(len(rows), np.int64)
    for row, mapping in enumerate(rows):
        if not mapping or names.isdisjoint(mapping):
            continue
        before = len(found)
        if names.issuperset(mapping) and None not in mapping.values():
            found += mapping
            values += mapping.values()
        else:
            some = [
                (name, value)
                for name, value in mapping.items()
                if name in names and value is not None
            ]
            found += [name for name, _ in some]
            values += [value for _, value in some]
        lengths[row] = len(found) - before
    number_of = {name: number for number, name in enumerate(dict.fromkeys(found))}
    if frozenset(map(type, values)) <= _NUMBERS:
        numbers, texts = np.array(values, np.float64), np.full(len(values), NO_WORD, np.int32)
    else:
        is_number = [type(value) in _NUMBERS for value in values]
        numbers = np.array(
            [value if numeric else NAN for value, numeric in zip(values, is_number, strict=True)],
            np.float64,
        )
        texts = np.array(
            [
                NO_WORD if numeric else words[_BOOLEANS[value] if type(value) is bool else value]
                for value, numeric in zip(values, is_number, strict=True)
            ],
            np.int32,
        )
    return FewRows(
        names=list(number_of),
        row=np.repeat(np.arange(len(rows)), lengths),
        name=np.fromiter(map(number_of.__getitem__, found), np.int64, len(found)),
        number=numbers,
        text=texts,
    )


def _begins(parts: Sequence[Named]) -> list[int]:
    """Index of the first row of each part among all rows."""
    ends = np.cumsum([len(part) for part in parts])
    return [0, *ends[:-1].tolist()]


def _names_with_columns(parts: Sequence[Named], rows: int) -> frozenset[str] | None:
    """The names that have columns when parts with `rows` rows in total are together; None for all
    that have one in a part.
    """
    first = parts[0]
    if all(part.numeric == first.numeric and part.textual == first.textual for part in parts):
        return None
    counts: Counter[str] = Counter()
    for part in parts:
        for name in dict.fromkeys((*part.numeric, *part.textual)):
            counts[name] += len(part)
    kept = frozenset(name for name, count in counts.items() if count * FEW >= rows)
    return None if len(kept) == len(counts) else kept


def _listed(
    part: Named, texts: Codes, recoded: Codes, columns: frozenset[str] | None, begin: int
) -> list[FewRows]:
    """The values of a part that are in no column, with `begin` as the number of its first row;
    `texts` are its columns, and `recoded` its words, as numbers for the words of all parts.
    """
    listed = []
    if len(few := part.few):
        listed.append(FewRows(few.names, few.row + begin, few.name, few.number, recoded[few.text]))
    if columns is None:
        return listed
    for names, values, is_text in (
        (part.numeric, part.numbers, False),
        (part.textual, texts, True),
    ):
        at = [number for number, name in enumerate(names) if name not in columns]
        of_names = values[at]
        name, row = (of_names != NO_WORD if is_text else ~np.isnan(of_names)).nonzero()
        found = of_names[name, row]
        listed.append(
            FewRows(
                [names[number] for number in at],
                row + begin,
                name,
                np.full(len(row), NAN) if is_text else found.astype(np.float64),
                found.astype(np.int32) if is_text else np.full(len(row), NO_WORD, np.int32),
            )
        )
    return listed


def _joined(parts: Sequence[FewRows]) -> FewRows:
    """All values, by row."""
    filled = [part for part in parts if len(part)]
    if not filled:
        return NO_VALUES
    place = {
        name: number
        for number, name in enumerate(
            dict.fromkeys(chain.from_iterable(part.names for part in filled))
        )
    }
    name = np.concatenate(
        [np.array([place[name] for name in part.names], np.int64)[part.name] for part in filled]
    )
    row, number, text = (
        np.concatenate([getattr(part, field) for part in filled])
        for field in ("row", "number", "text")
    )
    order = np.argsort(row, kind="stable")
    return FewRows(list(place), row[order], name[order], number[order], text[order])


def _stacked(
    names: Sequence[list[str]],
    parts: Sequence[NDArray[Any]],
    missing: float,
    columns: frozenset[str] | None,
) -> tuple[list[str], NDArray[Any]]:
    """The names that have columns, all for None, and the values of all parts side by side, one row
    per name.
    """
    if columns is None and all(of_part == names[0] for of_part in names[1:]):
        return names[0], np.concatenate(parts, axis=1)
    place = {
        name: number
        for number, name in enumerate(
            name
            for name in dict.fromkeys(chain.from_iterable(names))
            if columns is None or name in columns
        )
    }
    together = np.full((len(place), sum(part.shape[1] for part in parts)), missing, parts[0].dtype)
    begin = 0
    for of_part, part in zip(names, parts, strict=True):
        kept = [number for number, name in enumerate(of_part) if name in place]
        together[[place[of_part[number]] for number in kept], begin : begin + part.shape[1]] = part[
            kept
        ]
        begin += part.shape[1]
    return list(place), together
