"""What predictions add to the summaries of their features, by series and pane: all features of a
batch with one sort.
"""

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


def summarised(
    rows: Predictions, features: Named, texts: CodeBook, config: Config
) -> tuple[FeatureTable, Ints]:
    """The summaries by home, with the series key as number of the series, and the number of the
    pane of each, shape (R,).

    `features` are those of all rows that the driver gave; `rows.at` says which one is a row's.
    """
    if not features.numeric and not features.textual:
        return EMPTY, EMPTY.series
    row, series = _series_of(rows, texts, config)
    at, pane = rows.at[row], rows.timestamp_ms // config.pane_ms
    # A group is a series and pane that has rows; a cell is one feature of a group.
    first_pane, pane_span = int(pane.min()), int(pane.max() - pane.min()) + 1
    groups, group = np.unique(
        _by_home(series, texts) * pane_span + (pane[row] - first_pane), return_inverse=True
    )
    series_of_group = np.empty_like(groups)
    series_of_group[group] = series
    names = list(dict.fromkeys((*features.numeric, *features.textual)))
    cells = len(names) * len(groups)

    def cell_of(some: Sequence[str]) -> Ints:
        cell: Ints = np.array([names.index(name) for name in some], np.int64)[
            :, None
        ] + group * len(names)
        return cell.ravel()

    numbers = BinColumns.of(
        features.numbers.take(at, axis=1).ravel(), cell_of(features.numeric), cells
    )
    words, code_of = _kept(features.words)
    code, cell = code_of[features.texts.take(at, axis=1).ravel()], cell_of(features.textual)
    there = np.flatnonzero(code >= 0)
    total = np.bincount(cell[there], minlength=cells)
    said = TextColumns.summed(cell[there], code[there], None, np.zeros(cells, np.int64), words)
    # How many rows lack a feature follows in stage 2 from the rows of the pane: a batch cannot know
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
        level=said.levels[filled],
        total=total[filled],
        texts=said.lengths[filled],
        keys=numbers.keys,
        counts=numbers.counts,
        text=said.texts,
        text_counts=said.counts,
    )
    return summaries, groups[owner] % pane_span + first_pane


def _series_of(rows: Predictions, texts: CodeBook, config: Config) -> tuple[Ints, Ints]:
    """Row index and series key for "all" and for the dimensions in which the model's features are
    counted.
    """
    row, keys = [np.arange(len(rows))], [series_keys(rows.name, np.zeros_like(rows.name))]
    for d in range(len(config.segments)):
        at = (texts.has_features[rows.name, d] & (rows.segments[:, d] > 0)).nonzero()[0]
        row.append(at)
        keys.append(series_keys(rows.name[at], rows.segments[at, d]))
    return np.concatenate(row), np.concatenate(keys)


def _by_home(series: Ints, texts: CodeBook) -> Ints:
    """Numbers in the order of homes.

    The series key itself follows from codes, which stay: a new name can move the places of others.
    """
    name = series >> SEGMENT_BITS
    by_home: Ints = series + (texts.place[name] - name << SEGMENT_BITS)
    return by_home


def _kept(words: list[str]) -> tuple[list[str], Ints]:
    """What words are kept as, and the number of that by number of the word; at the end what stands
    for no word.
    """
    names = names_of(words)
    number = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return list(number), np.array([*(number[name] for name in names), NO_WORD], np.int64)
