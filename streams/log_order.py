"""The order of a log: how records of several topics or partitions become one sequence.

A record's key is the running maximum of event time in its own source. Sources are merged by that
key, earlier sources first where keys are equal. So no source is reordered, a record that is out of
order keeps its place behind the ones before it, and a truth comes neither long before nor long
after its prediction.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from driftline.streams.columns import GroundTruthColumns, PredictionColumns

Ints = NDArray[np.int64]
_Item = TypeVar("_Item")


def merged_ranks(keys: Sequence[Ints]) -> list[Ints]:
    """Position of each item when sorted sequences are merged, earlier sequences first where keys
    are equal.

    Parameters
    ----------
    keys
        Several arrays, each in ascending order.

    Examples
    --------
    >>> [r.tolist() for r in merged_ranks([np.array([1, 5, 5]), np.array([0, 5])])]
    [[1, 2, 3], [0, 4]]
    """
    ranks = []
    for i, mine in enumerate(keys):
        rank = np.arange(len(mine))
        for j, other in enumerate(keys):
            if i != j:
                rank += np.searchsorted(other, mine, side="right" if j < i else "left")
        ranks.append(rank)
    return ranks


def rank_rows(predictions: PredictionColumns | None, truths: GroundTruthColumns | None) -> None:
    """Set `rank` of the rows of one partition, predictions first where keys are equal."""
    topics = [columns for columns in (predictions, truths) if columns is not None]
    ranks = merged_ranks([np.maximum.accumulate(columns.timestamp_ms) for columns in topics])
    for columns, rank in zip(topics, ranks, strict=True):
        columns.rank = rank


def merge_sources(sources: Iterable[Iterable[tuple[int, _Item]]]) -> Iterator[tuple[int, _Item]]:
    """Merge sources item by item.

    Parameters
    ----------
    sources
        Items with their event times in ms; 0 for an item without a valid one.

    Returns
    -------
    Iterator
        Items in the order of the log, each with its key in ms.

    Examples
    --------
    >>> list(merge_sources([[(5, "a"), (2, "b")], [(3, "c"), (0, "d"), (9, "e")]]))
    [(3, 'c'), (3, 'd'), (5, 'a'), (5, 'b'), (9, 'e')]
    """
    return heapq.merge(*map(_with_keys, sources), key=_key)


def _with_keys(source: Iterable[tuple[int, _Item]]) -> Iterator[tuple[int, _Item]]:
    key_ms = 0
    for time_ms, item in source:
        key_ms = max(key_ms, time_ms)
        yield key_ms, item


def _key(keyed: tuple[int, object]) -> int:
    return keyed[0]
