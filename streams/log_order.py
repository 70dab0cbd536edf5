"""The order of a log: how records of several topics or partitions become one sequence.

A record's key is the running maximum of event time in its own source, without the rows that turn
out to be misdated (`watermark.py`). Sources are merged by that key, earlier sources first where
keys are equal. So no source is reordered, a record that is out of order keeps its place behind the
ones before it, and a truth comes neither long before nor long after its prediction.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS
from driftline.streams.columns import GroundTruthColumns, PredictionColumns
from driftline.streams.watermark import Passage, Watermark, WatermarkWalk

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


def rank_rows(
    predictions: PredictionColumns | None,
    truths: GroundTruthColumns | None,
    passages: Mapping[str, Passage],
) -> None:
    """Set `rank` of the rows of one partition, predictions first where keys are equal.

    Parameters
    ----------
    passages
        The watermark over the rows of each topic that has any.
    """
    topics = [
        (
            columns,
            np.maximum.accumulate(
                passages[topic].order_times(columns.timestamp_ms, columns.offset)
            ),
        )
        for topic, columns in ((PREDICTIONS, predictions), (GROUND_TRUTH, truths))
        if columns is not None and topic in passages
    ]
    ranks = merged_ranks([keys for _, keys in topics])
    for (columns, _), rank in zip(topics, ranks, strict=True):
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
    walk, key_ms = WatermarkWalk(Watermark()), 0
    # Items from the first one that is ahead on, until it is known which of them are misdated.
    waiting: list[tuple[int, int, _Item]] = []

    def keyed(misdated: Collection[int]) -> Iterator[tuple[int, _Item]]:
        nonlocal key_ms
        for number, time_ms, item in waiting:
            if number not in misdated:
                key_ms = max(key_ms, time_ms)
            yield key_ms, item
        waiting.clear()

    for number, (time_ms, item) in enumerate(source):
        if time_ms:
            # Every item counts as one of its own: a repeated id makes no difference to the order.
            walk.row(time_ms, 0, b"%d" % number, number)
        waiting.append((number, time_ms, item))
        if not walk.ahead:
            yield from keyed({wrong.row.offset for wrong in walk.misdated})
            walk.misdated.clear()
    last = walk.frozen()
    at_end = () if last.follows else last.ahead
    yield from keyed({row.offset for row in (*(w.row for w in walk.misdated), *at_end)})


def _key(keyed: tuple[int, object]) -> int:
    return keyed[0]
