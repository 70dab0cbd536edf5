"""Named values of rows (features or segments) as arrays over all rows instead of one mapping per
row.

They are built while the rows are in the processor's cache. Each later pass over a million small
objects would cost more than the work on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.streams.hashing import mixed, text_hashes

Codes = NDArray[np.int32]

NO_WORD: Final = -1
NAN: Final = float("nan")

_BOOLEANS: Final = ("false", "true")
_NUMBERS: Final = frozenset({float, int})
_TEXTS: Final = frozenset({str, bool})
_PLAIN_TEXTS: Final = frozenset({str, type(None)})


class Named(msgspec.Struct, gc=False):
    """Numbers and texts of N rows by name. A name with both kinds of values is in both parts.

    Attributes
    ----------
    numeric, numbers
        F names, and their numbers, shape (F, N); NaN where a row has none.
    textual, words, texts
        G names, and the texts of each row as numbers in `words`, shape (G, N); NO_WORD where a row
        has none. Booleans are "true" and "false".
    """

    numeric: list[str]
    numbers: NDArray[np.float64]
    textual: list[str]
    words: list[str]
    texts: Codes

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
        for name, values in _by_name(rows).items():
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
        return cls(
            list(numbers),
            np.array(list(numbers.values()), np.float64).reshape(len(numbers), size),
            list(texts),
            [word for word in words if word is not None],
            np.array(list(texts.values()), np.int32).reshape(len(texts), size),
        )

    def __len__(self) -> int:
        rows: int = self.numbers.shape[1]
        return rows

    def take(self, at: NDArray[np.int64] | slice) -> Self:
        """The rows at the indexes `at`, shape (M,), in that order, or in a slice."""
        if isinstance(at, slice):
            return type(self)(
                self.numeric, self.numbers[:, at], self.textual, self.words, self.texts[:, at]
            )
        # An index in brackets takes twice as long, and leaves the columns of a row side by side.
        return type(self)(
            self.numeric,
            self.numbers.take(at, axis=1),
            self.textual,
            self.words,
            self.texts.take(at, axis=1),
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
        if not self.numeric and not self.textual:
            return np.zeros(len(self), np.uint64)
        numbers = mixed([self.numbers, text_hashes(self.numeric)[:, None]])
        numbers[np.isnan(self.numbers)] = 0
        words = np.append(text_hashes(self.words), np.uint64(0))[
            self.texts
        ]  # NO_WORD is the last one
        texts = mixed([words, text_hashes(self.textual)[:, None]])
        texts[self.texts == NO_WORD] = 0
        total: NDArray[np.uint64] = numbers.sum(axis=0) + texts.sum(axis=0)
        return total

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Rows of several parts, at least one, that follow each other."""
        codes = _Words()
        texts = []
        for part in parts:
            recoded = np.fromiter(
                (codes[word] for word in (*part.words, None)), np.int32, len(part.words) + 1
            )
            texts.append(recoded[part.texts])
        numeric, numbers = _stacked(
            [part.numeric for part in parts], [part.numbers for part in parts], NAN
        )
        textual, together = _stacked([part.textual for part in parts], texts, NO_WORD)
        return cls(
            numeric, numbers, textual, [word for word in codes if word is not None], together
        )


class _Words(dict[str | None, int]):
    """Numbers words from 0 in order of appearance."""

    def __init__(self) -> None:
        super().__init__({None: NO_WORD})

    def __missing__(self, word: str | None) -> int:
        self[word] = number = len(self) - 1
        return number


def _by_name(rows: Sequence[dict[str, Any] | None]) -> dict[str, Sequence[Any]]:
    """One column per name from one mapping per row; None where a row lacks the name."""
    if not any(rows):
        return {}
    # Usually every row has names; mypy cannot conclude that from `all`.
    mappings: Sequence[dict[str, Any]] = rows if all(rows) else [row or {} for row in rows]  # type: ignore[assignment]
    names = list(mappings[0])
    if frozenset(map(len, mappings)) == {len(names)}:
        try:
            # Usually all rows have the same names: one name at a time takes two thirds of the time
            # of comparing and transposing.
            return {name: list(map(itemgetter(name), mappings)) for name in names}
        except KeyError:
            return _by_any_name(mappings)  # the same number of names, but not the same
    return _by_any_name(mappings)


def _by_any_name(mappings: Sequence[dict[str, Any]]) -> dict[str, Sequence[Any]]:
    return {
        name: [row.get(name) for row in mappings]
        for name in dict.fromkeys(chain.from_iterable(mappings))
    }


def _stacked(
    names: Sequence[list[str]], parts: Sequence[NDArray[Any]], missing: float
) -> tuple[list[str], NDArray[Any]]:
    """All names, and the values of all parts side by side, one row per name."""
    if all(of_part == names[0] for of_part in names[1:]):
        return names[0], np.concatenate(parts, axis=1)
    place = {name: number for number, name in enumerate(dict.fromkeys(chain.from_iterable(names)))}
    together = np.full((len(place), sum(part.shape[1] for part in parts)), missing, parts[0].dtype)
    begin = 0
    for of_part, part in zip(names, parts, strict=True):
        together[[place[name] for name in of_part], begin : begin + part.shape[1]] = part
        begin += part.shape[1]
    return list(place), together
