"""Summaries of the features of a batch by series and pane, all features with one sort; those that
few rows have with another.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from driftline.schemas.settings import Config
from driftline.streams.join.batch_rows import Predictions
from driftline.streams.join.code_book import CodeBook
from driftline.streams.join.increments import SEGMENT_BITS, series_keys
from driftline.streams.named_columns import NO_WORD, Named
from driftline.streams.summaries.feature_limits import LEFT_OUT, NAMELESS, thinned
from driftline.streams.summaries.feature_table import EMPTY, FeatureTable, concatenate_tables
from driftline.streams.summaries.numeric_bins import BinColumns, Ints
from driftline.streams.summaries.text_summary import TextColumns, names_of


def summarize_features(
    rows: Predictions, features: Named, book: CodeBook, config: Config
) -> tuple[FeatureTable, Ints]:
    """Summaries ordered by target partition, with the series key as number of the series, and the
    pane number of each, shape (R,).

    `features` has the columns of the whole batch; `rows.at` is the index of each row in it.
    """
    if not features.numeric and not features.textual and not len(features.few):
        return EMPTY, EMPTY.series
    row, series = _series_of(rows, book, config)
    at, pane = rows.at[row], rows.timestamp_ms // config.pane_ms
    # A group is a series and pane that has rows.
    first_pane, pane_span = int(pane.min()), int(pane.max() - pane.min()) + 1
    groups, group = np.unique(
        _by_target(series, book) * pane_span + (pane[row] - first_pane), return_inverse=True
    )
    series_of_group = np.empty_like(groups)
    series_of_group[group] = series
    words, code_of = _numbered(features.words)
    summaries = _summaries_of_columns(features, at, group, len(groups), words, code_of)
    if len(features.few):
        of_few = _summaries_of_few(features, at, group, words, code_of)
        together = concatenate_tables([summaries, of_few])
        summaries = together.take(np.argsort(together.series, kind="stable"))
    if LEFT_OUT in summaries.names:
        named = [name or NAMELESS for name in summaries.names]
        summaries = msgspec.structs.replace(summaries, names=named)
    summaries = thinned(summaries)
    owner = summaries.series
    return (
        msgspec.structs.replace(summaries, series=series_of_group[owner]),
        groups[owner] % pane_span + first_pane,
    )


def _summaries_of_columns(
    features: Named, at: Ints, group: Ints, groups: int, words: list[str], code_of: Ints
) -> FeatureTable:
    """Summaries of the features that have columns, with the group as number of the series.

    Parameters
    ----------
    at, group
        Shape (N,): index into the batch, and the group in [0, groups), of each row and series.
    words, code_of
        As `_numbered` returns them.
    """
    names = list(dict.fromkeys((*features.numeric, *features.textual)))
    if not names:
        return EMPTY
    place = {name: number for number, name in enumerate(names)}
    # A cell is one feature of a group.
    cells = len(names) * groups

    def cell_of(features: Sequence[str]) -> Ints:
        feature = np.array([place[name] for name in features], np.int64)
        cell: Ints = feature[:, None] + group * len(names)
        return cell.ravel()

    numbers = BinColumns.of(
        features.numbers.take(at, axis=1).ravel(), cell_of(features.numeric), cells
    )
    code, cell = code_of[features.texts.take(at, axis=1).ravel()], cell_of(features.textual)
    has_text = np.flatnonzero(code >= 0)
    total = np.bincount(cell[has_text], minlength=cells)
    texts = TextColumns.summed(
        cell[has_text], code[has_text], None, np.zeros(cells, np.int64), words
    )
    # Stage 2 derives how many rows lack a feature from the rows of the pane: a batch does not know
    # all features.
    filled = np.flatnonzero((numbers.lengths > 0) | (total > 0))
    return FeatureTable(
        names=names,
        words=words,
        series=filled // len(names),
        feature=filled % len(names),
        shift=numbers.shifts[filled],
        bins=numbers.lengths[filled],
        level=texts.levels[filled],
        total=total[filled],
        texts=texts.lengths[filled],
        keys=numbers.keys,
        counts=numbers.counts,
        text=texts.texts,
        text_counts=texts.counts,
    )


def _summaries_of_few(
    features: Named, at: Ints, group: Ints, words: list[str], code_of: Ints
) -> FeatureTable:
    """Summaries of the features that few rows have; parameters as `_summaries_of_columns`."""
    few = features.few.take(at, len(features))
    width = len(few.names)
    cells, cell = np.unique(group[few.row] * width + few.name, return_inverse=True)
    numbers = BinColumns.of(few.number, cell, len(cells))
    code = code_of[few.text]
    has_text = np.flatnonzero(code >= 0)
    total = np.bincount(cell[has_text], minlength=len(cells))
    texts = TextColumns.summed(
        cell[has_text], code[has_text], None, np.zeros(len(cells), np.int64), words
    )
    return FeatureTable.of(few.names, words, cells // width, cells % width, numbers, texts, total)


def _series_of(rows: Predictions, book: CodeBook, config: Config) -> tuple[Ints, Ints]:
    """Row index and series key of each row, for "all" and for the dimensions by which its model's
    features are counted.
    """
    row, keys = [np.arange(len(rows))], [series_keys(rows.name, np.zeros_like(rows.name))]
    for d in range(len(config.segments)):
        at = (book.has_features[rows.name, d] & (rows.segments[:, d] > 0)).nonzero()[0]
        row.append(at)
        keys.append(series_keys(rows.name[at], rows.segments[at, d]))
    return np.concatenate(row), np.concatenate(keys)


def _by_target(series: Ints, book: CodeBook) -> Ints:
    """Numbers of the series in the order of target partitions.

    The series key itself follows from codes, which stay; a new name can move the places of others.
    """
    name = series >> SEGMENT_BITS
    by_target: Ints = series + (book.place[name] - name << SEGMENT_BITS)
    return by_target


def _numbered(words: list[str]) -> tuple[list[str], Ints]:
    """Distinct names under which words are counted, and the number of the name by number of the
    word, with NO_WORD at the end.
    """
    names = names_of(words)
    number = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return list(number), np.array([*(number[name] for name in names), NO_WORD], np.int64)
