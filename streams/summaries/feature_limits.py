"""Which features of a series are kept where there are too many.

While rows still come, the features of a series are thinned by the hash of their names (`thinned`):
what stays depends on the set of names alone, so it is the same for any batches and partitions. As
soon as a grain of time is complete, the features that most rows have stay (`settled`).

What is left out is counted in a summary of its own, under the name LEFT_OUT: its level is that of
the names, its total the number of values.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.schemas.labels import MAX_FEATURES
from driftline.streams.hashing import text_hashes
from driftline.streams.masks import any_true
from driftline.streams.summaries.feature_table import ROW_COLUMNS, FeatureTable
from driftline.streams.summaries.numeric_bins import Ints

LEFT_OUT: Final = ""
"""Name of the summary of what is left out; `NAMELESS` stands for a feature without a name."""
NAMELESS: Final = "(no name)"
MOST_FEATURES: Final = 32 * MAX_FEATURES
"""Most features of a series in a grain that is not complete: those of 32 predictions that have
nothing in common. To merge so many takes 0.1 s, and 5 MB of state.
"""
MOST_SETTLED: Final = MAX_FEATURES
"""Most features of a series in a complete grain. A prediction has at most so many, so none of a
model is left out whose predictions all have the same ones.
"""

_LEVELS: Final = 33  # number of zero bits at the start of 32 bits: 0 to 32


def thinned(table: FeatureTable, most: int = MOST_FEATURES) -> FeatureTable:
    """At most `most` features in each series: those whose hash begins with l zero bits, where l is
    the smallest level that leaves so many, and at least that of the series so far.

    Associative and commutative together with the sum of tables. A table that needs no thinning is
    returned as it is; otherwise rows are in the order of their series.
    """
    if len(table.names) <= most and LEFT_OUT not in table.names:
        return table
    groups, group = np.unique(table.series, return_inverse=True)
    is_feature, level, values = _left_out(table, group, len(groups))
    width = len(table.names)
    pairs = np.unique(group[is_feature] * width + table.feature[is_feature])
    if not any_true(level) and int(np.bincount(pairs // width, minlength=1).max()) <= most:
        return table
    bits = _zero_bits(table.names)
    by_bits = np.bincount(
        pairs // width * _LEVELS + bits[pairs % width], minlength=len(groups) * _LEVELS
    ).reshape(-1, _LEVELS)
    # Column l: number of names with fewer than l zero bits. All names with at least as many as the
    # level so far are here, whatever was left out before.
    below = np.cumsum(by_bits, axis=1) - by_bits
    fits = by_bits.sum(axis=1, keepdims=True) - below <= most
    few = np.where(fits.any(axis=1), np.argmax(fits, axis=1), _LEVELS)
    level = np.maximum(level, few)
    stays = is_feature & (bits[table.feature] >= level[group])
    return _without(table, groups, group, is_feature & ~stays, stays, level, values)


def settled(table: FeatureTable, most: int = MOST_SETTLED) -> FeatureTable:
    """One row per series and feature of complete grains. Where a series has more than `most`
    features, those with a single value leave, then those with the fewest values, ties by name.
    """
    table = table.summed()
    if len(table.names) <= most:
        return table
    groups, group = np.unique(table.series, return_inverse=True)
    is_feature, level, values = _left_out(table, group, len(groups))
    n, stays = table.values(), is_feature.copy()
    for crowded in np.flatnonzero(np.bincount(group[is_feature]) > most).tolist():
        rows = np.flatnonzero(is_feature & (group == crowded))
        stays[rows[n[rows] < 2]] = False
        stays[ranked(table, rows[n[rows] >= 2])[most:]] = False
    if bool(np.array_equal(stays, is_feature)):
        return table
    return _without(table, groups, group, is_feature & ~stays, stays, level, values)


def ranked(table: FeatureTable, rows: Ints) -> Ints:
    """The indexes `rows`, those with the most values first, ties by name."""
    names = np.array([table.names[feature] for feature in table.feature[rows].tolist()], object)
    by_name = rows[np.argsort(names, kind="stable")] if len(rows) else rows
    return by_name[np.argsort(-table.values()[by_name], kind="stable")]


def _left_out(
    table: FeatureTable, group: Ints, groups: int
) -> tuple[NDArray[np.bool_], Ints, Ints]:
    """Whether each row is a feature; level and number of values that are left out, by group."""
    level, values = np.zeros(groups, np.int64), np.zeros(groups, np.int64)
    if LEFT_OUT not in table.names:
        return np.ones(len(table), np.bool_), level, values
    is_feature = table.feature != table.names.index(LEFT_OUT)
    of_rest = ~is_feature
    np.maximum.at(level, group[of_rest], table.level[of_rest])
    np.add.at(values, group[of_rest], table.total[of_rest])
    return is_feature, level, values


def _without(
    table: FeatureTable,
    groups: Ints,
    group: Ints,
    leaves: NDArray[np.bool_],
    stays: NDArray[np.bool_],
    level: Ints,
    values: Ints,
) -> FeatureTable:
    """The table without the rows that leave, which are added to what the groups have left out."""
    values = values.copy()
    np.add.at(values, group[leaves], table.values()[leaves])
    kept = table.take(np.flatnonzero(stays)).trimmed()
    of_rest = np.flatnonzero((level > 0) | (values > 0))
    zeros = np.zeros(len(of_rest), np.int64)
    of_columns = {
        "series": groups[of_rest],
        "feature": zeros + len(kept.names),
        "level": level[of_rest],
        "total": values[of_rest],
    }
    columns = {
        name: np.concatenate((getattr(kept, name), of_columns.get(name, zeros)))
        for name, _ in ROW_COLUMNS
    }
    together = msgspec.structs.replace(kept, names=[*kept.names, LEFT_OUT], **columns)
    return together.take(np.argsort(together.series, kind="stable"))


def _zero_bits(names: list[str]) -> Ints:
    """Leading zero bits of the first 32 bits of the hash of each name, shape (F,)."""
    first = (text_hashes(names) >> np.uint64(32)).astype(np.float64)
    bits: Ints = 32 - np.frexp(first)[1].astype(np.int64)
    return bits
