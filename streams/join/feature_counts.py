"""Summaries of the features of a batch by series and pane, all features with one sort."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from driftline.schemas.settings import Config
from driftline.streams.join.batch_rows import Predictions
from driftline.streams.join.code_book import CodeBook
from driftline.streams.join.increments import SEGMENT_BITS, series_keys
from driftline.streams.named_columns import NO_WORD, Named
from driftline.streams.summaries.feature_table import EMPTY, FeatureTable
from driftline.streams.summaries.numeric_bins import BinColumns, Ints
from driftline.streams.summaries.text_summary import TextColumns, names_of


def summarize_features(
    rows: Predictions, features: Named, book: CodeBook, config: Config
) -> tuple[FeatureTable, Ints]:
    """Summaries ordered by target partition, with the series key as number of the series, and the
    pane number of each, shape (R,).

    `features` has the columns of the whole batch; `rows.at` is the index of each row in it.
    """
    if not features.numeric and not features.textual:
        return EMPTY, EMPTY.series
    row, series = _series_of(rows, book, config)
    at, pane = rows.at[row], rows.timestamp_ms // config.pane_ms
    # A group is a series and pane that has rows; a cell is one feature of a group.
    first_pane, pane_span = int(pane.min()), int(pane.max() - pane.min()) + 1
    groups, group = np.unique(
        _by_target(series, book) * pane_span + (pane[row] - first_pane), return_inverse=True
    )
    series_of_group = np.empty_like(groups)
    series_of_group[group] = series
    names = list(dict.fromkeys((*features.numeric, *features.textual)))
    cells = len(names) * len(groups)

    def cell_of(features: Sequence[str]) -> Ints:
        feature = np.array([names.index(name) for name in features], np.int64)
        cell: Ints = feature[:, None] + group * len(names)
        return cell.ravel()

    numbers = BinColumns.of(
        features.numbers.take(at, axis=1).ravel(), cell_of(features.numeric), cells
    )
    words, code_of = _numbered(features.words)
    code, cell = code_of[features.texts.take(at, axis=1).ravel()], cell_of(features.textual)
    has_text = np.flatnonzero(code >= 0)
    total = np.bincount(cell[has_text], minlength=cells)
    texts = TextColumns.summed(
        cell[has_text], code[has_text], None, np.zeros(cells, np.int64), words
    )
    # Stage 2 derives how many rows lack a feature from the rows of the pane: a batch does not know
    # all features.
    filled = np.flatnonzero((numbers.lengths > 0) | (total > 0))
    owner = filled // len(names)
    summaries = FeatureTable(
        names=names,
        words=words,
        series=series_of_group[owner],
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
    return summaries, groups[owner] % pane_span + first_pane


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
