"""What predictions add to the summaries of their features, by series and pane: all features of a batch with one sort."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

import numpy as np

from schemas.settings import Config
from streams.bins import BinColumns, Floats, Ints
from streams.columns import NAN, by_name
from streams.feature_table import EMPTY, FeatureTable
from streams.score.arrivals import Predictions, Texts
from streams.score.increments import series_keys
from streams.texts import TextColumns, names_of

_BOOLEANS: Final = ("false", "true")
_TEXT: Final = frozenset({str, type(None)})


def summarised(
    rows: Predictions, features: Sequence[dict[str, Any] | None], texts: Texts, config: Config
) -> tuple[FeatureTable, Ints]:
    """The summaries, with the series key as number of the series, and the number of the pane of each, shape (R,).

    `features` are those of all rows that the driver gave; `rows.at` says which one is a row's.
    """
    columns = by_name(list(map(features.__getitem__, rows.at.tolist())))
    if not columns:
        return EMPTY, EMPTY.series
    row, series = _series_of(rows, texts, config)
    pane = rows.timestamp_ms // config.pane_ms
    # A group is a series and pane that has rows; a cell is one feature of a group.
    first_pane, pane_span = int(pane.min()), int(pane.max() - pane.min()) + 1
    groups, group = np.unique(series * pane_span + (pane[row] - first_pane), return_inverse=True)
    cells = len(columns) * len(groups)
    split = [_split(values) for values in columns.values()]
    at, values = _numeric([numbers for numbers, _ in split], len(rows))
    numbers = BinColumns.of(values[:, row].ravel(), (at[:, None] * len(groups) + group).ravel(), cells)
    at, codes, words = _textual([words for _, words in split], len(rows))
    codes, cell = codes[:, row].ravel(), (at[:, None] * len(groups) + group).ravel()
    there = codes >= 0
    total = np.bincount(cell[there], minlength=cells)
    said = TextColumns.summed(cell[there], codes[there], None, np.zeros(cells, np.int64), words)
    # How many rows lack a feature follows in stage 2 from the rows of the pane: a batch cannot know all features.
    filled = np.flatnonzero((numbers.lengths > 0) | (total > 0))
    owner = groups[filled % len(groups)]
    summaries = FeatureTable(
        names=list(columns),
        words=words,
        series=owner // pane_span,
        feature=filled // len(groups),
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
    return summaries, owner % pane_span + first_pane


def _series_of(rows: Predictions, texts: Texts, config: Config) -> tuple[Ints, Ints]:
    """Row index and series key for "all" and for the dimensions in which the model's features are counted."""
    row, keys = [np.arange(len(rows))], [series_keys(rows.name, np.zeros_like(rows.name))]
    for d, dimension in enumerate(config.segments):
        wanted = np.array([dimension in config.for_model(model).feature_segments for model, _ in texts.names], np.bool_)
        at = np.flatnonzero(wanted[rows.name] & (rows.segments[:, d] > 0))
        row.append(at)
        keys.append(series_keys(rows.name[at], rows.segments[at, d]))
    return np.concatenate(row), np.concatenate(keys)


def _split(values: Sequence[Any]) -> tuple[Floats | None, list[str | None] | None]:
    """Numbers, NaN where there is none, and texts (booleans among them), None where there is none; each None if there are none at all."""
    kinds = frozenset(map(type, values))
    if kinds <= _TEXT:
        return None, list(values)
    texts = None
    if str in kinds or bool in kinds:
        texts = [value if isinstance(value, str) else _BOOLEANS[value] if isinstance(value, bool) else None for value in values]
        values = [None if isinstance(value, str | bool) else value for value in values]
    numbers = None
    if float in kinds or int in kinds:
        numbers = np.array([NAN if value is None else value for value in values] if None in values else values, np.float64)
    return numbers, texts


def _numeric(features: Sequence[Floats | None], n: int) -> tuple[Ints, Floats]:
    """Which features have numbers, shape (F,), and the values, shape (F, N)."""
    at = [place for place, values in enumerate(features) if values is not None]
    return np.array(at, np.int64), np.array([features[place] for place in at], np.float64).reshape(len(at), n)


def _textual(features: Sequence[list[str | None] | None], n: int) -> tuple[Ints, Ints, list[str]]:
    """Which features have texts, shape (F,), the number of each text, shape (F, N), -1 where there is none, and the text by number."""
    at = [place for place, texts in enumerate(features) if texts is not None]
    together = list(chain.from_iterable(texts for texts in features if texts is not None))
    distinct = dict.fromkeys(together)
    distinct.pop(None, None)
    names = names_of(text for text in distinct if text is not None)
    words = {name: number for number, name in enumerate(dict.fromkeys(names))}
    number: dict[str | None, int] = {text: words[name] for text, name in zip(distinct, names, strict=True)}
    number[None] = -1
    codes = np.fromiter(map(number.__getitem__, together), np.int64, len(together))
    return np.array(at, np.int64), codes.reshape(len(at), n), list(words)
