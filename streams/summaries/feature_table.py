"""Many feature summaries as columns: the form in which stage 1 sends them and stage 2 adds them up
and stores them.

Thousands of small summaries cost a few array operations together instead of a few objects each. One
summary is `feature_summary.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain, pairwise
from typing import Any, Final, Self

import msgspec
import numpy as np

from driftline.streams.members import members
from driftline.streams.summaries.feature_summary import FeatureSummary
from driftline.streams.summaries.numeric_bins import BinColumns, Ints
from driftline.streams.summaries.text_summary import TextColumns

FORMAT: Final = 3

# Columns of rows, of bins and of texts, and the encoded types of the row columns. Counts take as
# few bytes as the largest of them needs.
ROW_COLUMNS: Final[tuple[tuple[str, np.dtype[Any]], ...]] = (
    ("series", np.dtype("<u4")),
    ("feature", np.dtype("<u4")),
    ("shift", np.dtype("<u1")),
    ("bins", np.dtype("<u2")),
    ("level", np.dtype("<u1")),
    ("total", np.dtype("<i8")),
    ("texts", np.dtype("<u2")),
)
BIN_COLUMNS: Final = ("keys", "counts")
TEXT_COLUMNS: Final = ("text", "text_counts")

Summaries = dict[tuple[int, str], FeatureSummary]
"""Summaries by number of the series and name of the feature."""


class FeatureTable(msgspec.Struct, gc=False):
    """R summaries, each of the numbers and texts of one feature of one series.

    A series and feature may have several rows. Missing values are not included: stage 2 derives
    them from the number of rows and the features of a version.

    Attributes
    ----------
    names, words
        Names of features and texts, by number.
    series, feature
        Shape (R,): number of the series, and of the feature in `names`.
    shift, bins
        Shape (R,): shift and number of bins of the numbers; 0 without numbers.
    level, total, texts
        Shape (R,): level of the texts, their number, and the number of distinct texts kept; 0
        without texts.
    keys, counts
        Shape (B,): the bins, row by row.
    text, text_counts
        Shape (T,): the kept texts, row by row, as numbers in `words`, and their counts.
    """

    names: list[str]
    words: list[str]
    series: Ints
    feature: Ints
    shift: Ints
    bins: Ints
    level: Ints
    total: Ints
    texts: Ints
    keys: Ints
    counts: Ints
    text: Ints
    text_counts: Ints

    def __len__(self) -> int:
        return len(self.series)

    @property
    def size(self) -> int:
        """Number of rows, bins and texts together."""
        return len(self.series) + len(self.keys) + len(self.text)

    def values(self) -> Ints:
        """Number of values of each row, shape (R,)."""
        numbers = np.concatenate((_ZERO, np.cumsum(self.counts)))
        ends = np.cumsum(self.bins)
        values: Ints = numbers[ends] - numbers[ends - self.bins] + self.total
        return values

    def take(self, at: Ints) -> Self:
        """The rows at the indexes `at`, shape (M,), in that order."""
        columns: dict[str, Any] = {name: getattr(self, name)[at] for name, _ in ROW_COLUMNS}
        for part, lengths in ((BIN_COLUMNS, self.bins), (TEXT_COLUMNS, self.texts)):
            inside = members(lengths, at)
            columns |= {name: getattr(self, name)[inside] for name in part}
        return type(self)(self.names, self.words, **columns)

    def with_features(self, names: Collection[str]) -> Self:
        """The rows of the features `names`."""
        wanted = frozenset(names)
        if wanted.issuperset(self.names):
            return self
        is_wanted = np.array([name in wanted for name in self.names], np.bool_)
        return self.take(np.flatnonzero(is_wanted[self.feature]))

    def split(self, edges: Sequence[int]) -> list[Self]:
        """The rows between each two successive `edges`, which ascend, without copying."""
        of_bins, of_texts = (
            np.concatenate((_ZERO, np.cumsum(lengths)))[list(edges)].tolist()
            for lengths in (self.bins, self.texts)
        )
        parts = []
        for rows, bins, texts in zip(
            pairwise(edges), pairwise(of_bins), pairwise(of_texts), strict=True
        ):
            columns: dict[str, Any] = {
                name: getattr(self, name)[slice(*rows)] for name, _ in ROW_COLUMNS
            }
            columns |= {name: getattr(self, name)[slice(*bins)] for name in BIN_COLUMNS}
            columns |= {name: getattr(self, name)[slice(*texts)] for name in TEXT_COLUMNS}
            parts.append(type(self)(self.names, self.words, **columns))
        return parts

    def bounded(self) -> Self:
        """The same rows, without unused names if there are more names than rows, and without unused
        words if there are more words than kept texts.
        """
        if len(self.names) > len(self.series):
            return self.trimmed()
        return self if len(self.words) <= len(self.text) else self._with_few_words()

    def trimmed(self) -> Self:
        """The same rows with only the names and words that they use."""
        few = self._with_few_words()
        few.names, few.feature = _used(self.names, self.feature)
        return few

    def _with_few_words(self) -> Self:
        words, text = _used(self.words, self.text)
        return msgspec.structs.replace(self, words=words, text=text)

    def summed(self) -> Self:
        """The same summaries with one row per series and feature, by series."""
        width = len(self.names)
        groups, group = np.unique(self.series * width + self.feature, return_inverse=True)
        if len(groups) == len(self):
            return self
        shifts, levels = np.zeros(len(groups), np.int64), np.zeros(len(groups), np.int64)
        np.maximum.at(shifts, group, self.shift)
        np.maximum.at(levels, group, self.level)
        keys = self.keys >> np.repeat(shifts[group] - self.shift, self.bins)
        numbers = BinColumns.summed(np.repeat(group, self.bins), keys, self.counts, shifts)
        texts = TextColumns.summed(
            np.repeat(group, self.texts), self.text, self.text_counts, levels, self.words
        )
        total = np.zeros(len(groups), np.int64)
        np.add.at(total, group, self.total)
        return type(self).of(
            self.names, self.words, groups // width, groups % width, numbers, texts, total
        )

    @classmethod
    def of(
        cls,
        names: list[str],
        words: list[str],
        series: Ints,
        feature: Ints,
        numbers: BinColumns,
        texts: TextColumns,
        total: Ints,
    ) -> Self:
        """The table of R groups, from the series, feature and number of texts of each, shape (R,),
        and their summaries.
        """
        return cls(
            names,
            words,
            series,
            feature,
            numbers.shifts,
            numbers.lengths,
            texts.levels,
            total,
            texts.lengths,
            numbers.keys,
            numbers.counts,
            texts.texts,
            texts.counts,
        )

    def summaries(self) -> Summaries:
        """Summaries of a table with one row per series and feature."""
        numbers = BinColumns(self.shift, self.bins, self.keys, self.counts).summaries()
        texts = TextColumns(self.level, self.texts, self.text, self.text_counts).summaries(
            self.words, self.total.tolist()
        )
        keys = zip(
            self.series.tolist(), map(self.names.__getitem__, self.feature.tolist()), strict=True
        )
        return {
            key: FeatureSummary(bins, words)
            for key, bins, words in zip(keys, numbers, texts, strict=True)
        }

    def encode(self) -> bytes:
        """Encode as MessagePack with a format version; columns are little-endian blocks."""
        rows = [getattr(self, name).astype(dtype).tobytes() for name, dtype in ROW_COLUMNS]
        keys, counts = self.keys.astype("<i8", copy=False).tobytes(), _packed(self.counts)
        text, text_counts = self.text.astype("<u4").tobytes(), _packed(self.text_counts)
        return _encoder.encode(
            _WireTable(FORMAT, self.names, self.words, rows, keys, counts, text, text_counts)
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Decode a table.

        Raises
        ------
        ValueError
            If it has another format version or is damaged.
        """
        wire = _decoder.decode(data)
        if wire.format != FORMAT:
            raise ValueError(
                f"feature table of format {wire.format}, this release reads format {FORMAT}; replay"
                " the log into a new folder"
            )
        keys, text = (
            np.frombuffer(wire.keys, "<i8"),
            np.frombuffer(wire.text, "<u4").astype(np.int64),
        )
        columns = {
            name: np.frombuffer(block, dtype).astype(np.int64)
            for (name, dtype), block in zip(ROW_COLUMNS, wire.rows, strict=True)
        }
        counts, text_counts = (
            _unpacked(wire.counts, len(keys)),
            _unpacked(wire.text_counts, len(text)),
        )
        table = cls(
            wire.names,
            wire.words,
            **columns,
            keys=keys,
            counts=counts,
            text=text,
            text_counts=text_counts,
        )
        table._check()
        return table

    def _check(self) -> None:
        """Raise ValueError if the columns do not fit each other."""
        rows, bins, texts = len(self), len(self.keys), len(self.text)
        equal_lengths = {len(getattr(self, name)) for name, _ in ROW_COLUMNS} == {rows}
        if not equal_lengths or int(self.bins.sum()) != bins or int(self.texts.sum()) != texts:
            raise ValueError(
                f"feature table is damaged: its {rows} rows do not fit its {bins} bins and {texts}"
                " texts"
            )
        if (rows and int(self.feature.max()) >= len(self.names)) or (
            texts and int(self.text.max()) >= len(self.words)
        ):
            raise ValueError("feature table is damaged: it has features or texts without a name")


def concatenate_tables(tables: Sequence[FeatureTable]) -> FeatureTable:
    """All rows of several tables."""
    if len(tables) < 2:
        return tables[0] if tables else EMPTY
    names, feature = _renumbered(
        [table.names for table in tables], [table.feature for table in tables]
    )
    words, text = _renumbered([table.words for table in tables], [table.text for table in tables])
    columns = {
        name: np.concatenate([getattr(table, name) for table in tables])
        for name in FeatureTable.__struct_fields__
        if name not in ("names", "words", "feature", "text")
    }
    return FeatureTable(names, words, **columns, feature=feature, text=text)


def _renumbered(names: Sequence[list[str]], numbers: Sequence[Ints]) -> tuple[list[str], Ints]:
    """All names, and numbers for them in place of the numbers for several lists of names."""
    if all(of_table == names[0] for of_table in names[1:]):
        return names[0], np.concatenate(numbers)
    place = {name: number for number, name in enumerate(dict.fromkeys(chain.from_iterable(names)))}
    parts = (
        np.array([place[name] for name in of_table], np.int64)[number] if len(number) else number
        for of_table, number in zip(names, numbers, strict=True)
    )
    return list(place), np.concatenate(list(parts))


def _used(names: list[str], numbers: Ints) -> tuple[list[str], Ints]:
    """The names whose number is in `numbers`, and the numbers for them."""
    used = np.bincount(numbers).nonzero()[0]
    if len(used) == len(names):
        return names, numbers
    return [names[number] for number in used.tolist()], used.searchsorted(numbers)


def _packed(counts: Ints) -> bytes:
    """Unsigned integers of 1, 2, 4 or 8 bytes, as few as the largest needs."""
    largest = int(counts.max()) if len(counts) else 0
    width = next(width for width in (1, 2, 4, 8) if largest < 1 << 8 * width)
    return counts.astype(f"<u{width}").tobytes()


def _unpacked(data: bytes, count: int) -> Ints:
    return np.frombuffer(data, f"<u{len(data) // count if count else 1}", count).astype(np.int64)


class _WireTable(msgspec.Struct, array_like=True, frozen=True, gc=False):
    format: int
    names: list[str]
    words: list[str]
    rows: list[bytes]
    keys: bytes
    counts: bytes
    text: bytes
    text_counts: bytes


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_WireTable)
_ZERO: Final = np.zeros(1, np.int64)
EMPTY: Final = FeatureTable([], [], *([_ZERO[:0]] * 11))
