"""Many feature summaries at once: merging them by group, and writing them down together.

What a summary is, and merging a few of them, is `streams.features` and `streams.bins`; here thousands of small ones are merged
with one sort, which gives the same result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.bins import EMPTY, MAX_BINS, NumericSummary, merge
from streams.features import FeatureSummary
from streams.texts import StringSummary, merge_texts

FORMAT: Final = 2

Summaries = Mapping[tuple[int, str], FeatureSummary]
"""By series number and name of the feature."""

Rows = Sequence[tuple[int, str, FeatureSummary]]
"""Series number, name of the feature, and what it gained, in any order; a feature may come again."""


def merged(parts: Sequence[Summaries]) -> Summaries:
    """The summaries of all rows of all parts; associative and commutative.

    Examples
    --------
    >>> part = {(0, "age"): FeatureSummary(NumericSummary.of(np.array([41.0])))}
    >>> merged([part, part])[0, "age"].numbers.counts.tolist()
    [2]
    """
    if len(parts) == 1:
        return parts[0]
    return summed([(number, feature, summary) for part in parts for (number, feature), summary in part.items()])


def summed(rows: Rows) -> Summaries:
    """The summaries that rows come to, by ascending key."""
    groups: dict[tuple[int, str], list[FeatureSummary]] = {}
    for number, feature, summary in rows:
        groups.setdefault((number, feature), []).append(summary)
    keys = sorted(groups)
    return dict(zip(keys, merged_groups([groups[key] for key in keys]), strict=True))


def fewer(parts: Sequence[Rows]) -> Rows:
    """The same summaries in as few rows as they take."""
    merged_rows = summed([row for rows in parts for row in rows])
    return [(number, feature, summary) for (number, feature), summary in merged_rows.items()]


def merged_groups(groups: Sequence[Sequence[FeatureSummary]]) -> list[FeatureSummary]:
    """One summary for each group, of which none is empty."""
    several = [group for group in groups if len(group) > 1]
    numbers = iter(merge_groups([[summary.numbers for summary in group] for group in several]))
    found = []
    for group in groups:
        if len(group) == 1:
            found.append(group[0])
            continue
        texts = [summary.texts for summary in group if summary.texts.total]
        found.append(FeatureSummary(next(numbers), merge_texts(texts) if texts else _NO_TEXTS, sum(summary.missing for summary in group)))
    return found


def merge_groups(groups: Sequence[Sequence[NumericSummary]]) -> list[NumericSummary]:
    """What `streams.bins.merge` gives for each group, with one sort for all of them.

    Examples
    --------
    >>> one, two = NumericSummary.of(np.array([1.0])), NumericSummary.of(np.array([1.0, 2.0]))
    >>> [summary.counts.tolist() for summary in merge_groups([[one, two], [two]])]
    [[2, 1], [1, 1]]
    """
    filled = [(number, summary) for number, group in enumerate(groups) for summary in group if len(summary.keys)]
    if not filled:
        return [EMPTY] * len(groups)
    shifts = np.zeros(len(groups), np.int64)
    own_shifts, owners = np.array([summary.shift for _, summary in filled]), np.array([number for number, _ in filled])
    np.maximum.at(shifts, owners, own_shifts)
    lengths = np.array([len(summary.keys) for _, summary in filled])
    keys = np.concatenate([summary.keys for _, summary in filled]) >> np.repeat(shifts[owners] - own_shifts, lengths)
    counts = np.concatenate([summary.counts for _, summary in filled])
    group = np.repeat(owners, lengths)
    order = np.argsort(keys)
    by_key = group[order]
    # A stable sort of 16-bit integers is a radix sort.
    order = order[np.argsort(by_key.astype(np.uint16) if len(groups) <= 1 << 16 else by_key, kind="stable")]
    keys, counts, group = keys[order], counts[order], group[order]
    starts = np.flatnonzero(np.concatenate((_TRUE, (keys[1:] != keys[:-1]) | (group[1:] != group[:-1]))))
    keys, counts, group = keys[starts], np.add.reduceat(counts, starts), group[starts]
    edges = np.searchsorted(group, np.arange(len(groups) + 1)).tolist()
    found = []
    for number, (begin, end, shift) in enumerate(zip(edges[:-1], edges[1:], shifts.tolist(), strict=True)):
        if end - begin > MAX_BINS:
            # Too many bins: the shift has to grow, which is done one group at a time.
            found.append(merge(groups[number]))
        else:
            found.append(NumericSummary(shift, keys[begin:end].copy(), counts[begin:end].copy()) if end > begin else EMPTY)
    return found


def encoded(rows: Rows) -> bytes:
    """Heads, then the bins of all summaries one after another."""
    heads = []
    for number, feature, summary in rows:
        texts = summary.texts
        words = (texts.level, texts.total, texts.values) if texts.total else None
        heads.append((number, feature, summary.missing, summary.numbers.shift, len(summary.numbers.keys), words))
    numbers = [summary.numbers for _, _, summary in rows]
    keys = np.concatenate([part.keys for part in numbers]) if numbers else _NONE
    counts = np.concatenate([part.counts for part in numbers]) if numbers else _NONE
    largest = int(counts.max()) if len(counts) else 0
    width = next(width for width in (1, 2, 4, 8) if largest < 1 << 8 * width)
    return _encode(_Wire(FORMAT, heads, keys.astype("<i8", copy=False).tobytes(), width, counts.astype(f"<u{width}").tobytes()))


def decoded(data: bytes) -> Rows:
    """The inverse of `encoded`.

    Raises
    ------
    ValueError
        If another format version wrote it.
    """
    wire = _decode(data)
    if wire.format != FORMAT:
        raise ValueError(f"measure: feature summaries of format {wire.format}, needed {FORMAT}; replay the log into a new folder")
    keys, counts = np.frombuffer(wire.keys, "<i8"), np.frombuffer(wire.counts, f"<u{wire.width}").astype(np.int64)
    rows = []
    begin = 0
    for number, feature, missing, shift, bins, words in wire.heads:
        end = begin + bins
        numbers = NumericSummary(shift, keys[begin:end], counts[begin:end]) if bins else EMPTY
        texts = StringSummary(words[0], words[2], words[1]) if words is not None else _NO_TEXTS
        rows.append((number, feature, FeatureSummary(numbers, texts, missing)))
        begin = end
    return rows


def size(rows: Rows) -> int:
    """Bins and texts in all summaries, and one for each."""
    return sum([1 + len(summary.numbers.keys) + len(summary.texts.values) for _, _, summary in rows])


class _Wire(msgspec.Struct, array_like=True, frozen=True):
    format: int
    heads: Sequence[tuple[int, str, int, int, int, tuple[int, int, Mapping[str, int]] | None]]
    keys: bytes
    width: int
    counts: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Wire).decode
_NONE: Final = np.zeros(0, np.int64)
_NO_TEXTS: Final = FeatureSummary().texts
_TRUE: Final[NDArray[np.bool_]] = np.ones(1, np.bool_)
