"""History of the outcomes of one series by day, in bounded space, and what follows from it.

                 before                        blocks
    |-------------------------------|---|---|---|---|-|-|-|-|-|    day in progress
     days that a change is measured  each border is a time at
     against; the baseline at least  which a change may have begun

A day without labels has no block. When a change is found, the blocks until it join `before`, and
those since it stay; when it is over, these are dropped. Everything is a function of the history and
the counts that are added, in the order of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import msgspec
import numpy as np

from driftline.schemas.times import DAY_MS
from driftline.streams.decide.detectors.change_evidence import (
    Counts,
    Dispersion,
    Fall,
    fall_of,
    log_evidence,
    log_sum,
    weights_of,
)
from driftline.streams.decide.detectors.dispersion import SPAN, dispersion, span_factors

BASELINE_DAYS = 30
MAX_STREAMS = 16
OTHERS = "(other)"
"""The stream of all classes beyond the first 15."""
_SINGLE = 2 * SPAN
"""Newest blocks that stay single days."""
_PER_SIZE = 8
"""Blocks of each greater size, which doubles: ten years have about 120 blocks."""


class Block(msgspec.Struct, frozen=True, array_like=True):
    """Counts of some days in a row.

    Parameters
    ----------
    start_ms
        Start of the first day.
    days
        Days with labels.
    n, right
        By stream: rows, and those with the right prediction.
    """

    start_ms: int
    days: int
    n: tuple[int, ...]
    right: tuple[int, ...]


class RateHistory(msgspec.Struct, frozen=True, omit_defaults=True):
    """The history of a series.

    Parameters
    ----------
    end_ms
        End of the newest counts.
    labels
        Class of each stream.
    before, blocks, today
        See the top of the file.
    fresh
        Number of newest blocks, single days, that no estimate of the dispersion has used.
    squares, freedom
        See `dispersion`.
    changed_ms
        When the change began that is open; None without one.
    threshold
        Decision threshold that the counts follow, as the registry has it.
    """

    end_ms: int = -1
    labels: tuple[str, ...] = ()
    before: Block | None = None
    blocks: tuple[Block, ...] = ()
    today: Block | None = None
    fresh: int = 0
    squares: tuple[float, ...] = ()
    freedom: float = 0.0
    changed_ms: int | None = None
    threshold: float | None = None


class Finding(msgspec.Struct, frozen=True):
    """What the history says about changes.

    Parameters
    ----------
    log_statistic
        Logarithm of the Shiryaev-Roberts statistic: the sum of the Bayes factors over all times.
    block
        Index of the block with which the change most probably began.
    changed_ms
        Start of that block.
    fall
        Its size, from `sized_ms` on.
    sized_ms
        The begin of the change, or a later time by which the loss is greater and the evidence alone
        reaches the limit: labels of predictions before a change come after it, and some changes
        come step by step.
    by
        The dispersion used.
    """

    log_statistic: float
    block: int
    changed_ms: int
    fall: Fall
    sized_ms: int
    by: Dispersion


def with_counts(
    history: RateHistory,
    start_ms: int,
    end_ms: int,
    counts: Sequence[tuple[str, int, int]],
    baseline_days: int = BASELINE_DAYS,
) -> tuple[RateHistory, bool]:
    """The history with the counts of one more window, and whether a day became complete by it.

    Parameters
    ----------
    start_ms, end_ms
        The window, of a day or a part of one, or longer; it ends after the newest counts.
    counts
        (class, rows, right predictions).
    baseline_days
        Days with labels that the baseline has at least.
    """
    closed = False
    if history.today is not None and start_ms // DAY_MS > history.today.start_ms // DAY_MS:
        history, closed = _with_day(history, baseline_days), True
    if any(n for _, n, _ in counts):
        history = _with_labels(history, [label for label, n, _ in counts if n])
        today = history.today or Block(start_ms, 1, *_zeros(history), *_zeros(history))
        history = msgspec.structs.replace(history, today=_plus(history, today, counts))
    if end_ms % DAY_MS == 0 and history.today is not None:
        history, closed = _with_day(history, baseline_days), True
    return msgspec.structs.replace(history, end_ms=end_ms), closed


def fall(history: RateHistory, log_limit: float) -> Finding | None:
    """A fall of the rates at any of the times in the history; None if the logarithm of the
    statistic is below the limit.
    """
    if history.before is None or not history.blocks:
        return None
    n0, right0, n1, right1 = _sides(*_row(history.before), *_table(history.blocks))
    by = _dispersion(history)
    logs = log_evidence(n0, right0, n1, right1, by)
    log_statistic = log_sum(logs)
    if log_statistic < log_limit:
        return None
    by_time = np.logaddexp.reduce(logs, axis=1)
    block = int(by_time.argmax())
    sure = {block, *np.flatnonzero(by_time[block:] >= log_limit) + block}
    falls = {
        each: fall_of(int(logs[each].argmax()), n0[each], right0[each], n1[each], right1[each], by)
        for each in sorted(sure)
    }
    sized = max(falls, key=lambda each: falls[each].loss)
    return Finding(
        log_statistic=log_statistic,
        block=block,
        changed_ms=history.blocks[block].start_ms,
        fall=falls[sized],
        sized_ms=history.blocks[sized].start_ms,
        by=by,
    )


def fall_since_change(history: RateHistory) -> Finding:
    """Size of the open change: all blocks since it against the time before it."""
    if history.before is None or not history.blocks:
        raise ValueError("performance_drop: an open change without days before or since")
    by = _dispersion(history)
    n_before, right_before = (each[None, :] for each in _row(history.before))
    n, right = (each.sum(axis=0, keepdims=True) for each in _table(history.blocks))
    logs = log_evidence(n_before, right_before, n, right, by)[0]
    return Finding(
        log_statistic=log_sum(logs),
        block=0,
        changed_ms=history.blocks[0].start_ms,
        fall=fall_of(int(logs.argmax()), n_before[0], right_before[0], n[0], right[0], by),
        sized_ms=history.blocks[0].start_ms,
        by=by,
    )


def recovery(history: RateHistory, stream: int, log_limit: float) -> Finding | None:
    """A rise of one stream after the open change, at the border of two blocks since it; None if the
    logarithm of the greatest Bayes factor is below the limit.

    The evidence is that of a fall of the share of wrong predictions, so the two are symmetrical.
    `log_statistic` is that of the greatest Bayes factor, `fall` what is left of the change.
    """
    if history.before is None or len(history.blocks) < 2:
        return None
    n, right = _table(history.blocks)
    by = _dispersion(history)
    logs = log_evidence(*_sides(n[0], n[0] - right[0], n[1:], n[1:] - right[1:]), by)[:, stream]
    first = int(logs.argmax()) + 1
    log_factor = float(logs[first - 1]) - log(weights_of(len(history.labels))[stream])
    if log_factor < log_limit:
        return None
    left = fall_of(
        stream, *_row(history.before), n[first:].sum(axis=0), right[first:].sum(axis=0), by
    )
    start_ms = history.blocks[first].start_ms
    return Finding(
        log_statistic=log_factor,
        block=first,
        changed_ms=start_ms,
        fall=left,
        sized_ms=start_ms,
        by=by,
    )


def with_change(history: RateHistory, found: Finding) -> RateHistory:
    """The history in which the found change is open."""
    if history.before is None:
        raise ValueError("performance_drop: a change without days before it")
    before = _sum((history.before, *history.blocks[: found.block]))
    blocks = history.blocks[found.block :]
    return msgspec.structs.replace(
        history,
        before=before,
        blocks=blocks,
        fresh=min(history.fresh, len(blocks)),
        changed_ms=found.changed_ms,
    )


def without_change(history: RateHistory, since: int = 0) -> RateHistory:
    """The history after the open change is over; blocks before index `since` are dropped."""
    blocks = history.blocks[since:]
    return msgspec.structs.replace(
        history, blocks=blocks, fresh=min(history.fresh, len(blocks)), changed_ms=None
    )


def accepted(history: RateHistory) -> RateHistory:
    """The history after the level since the open change was accepted: what lies before it is
    forgotten, and the days since are the begin of the baseline. The dispersion stays.
    """
    if history.changed_ms is None:
        return history
    return msgspec.structs.replace(history, before=None, changed_ms=None)


def _days(history: RateHistory) -> int:
    """Days with labels of a history without baseline."""
    return sum(block.days for block in history.blocks)


def rates(history: RateHistory, first: int) -> dict[str, tuple[int, int, int, int]]:
    """By class: rows and right predictions before the open change and since block `first`."""
    if history.before is None:
        return {}
    before, after = history.before, _sum(history.blocks[first:])
    return dict(
        zip(
            history.labels,
            zip(before.n, before.right, after.n, after.right, strict=True),
            strict=True,
        )
    )


def _sides(
    n_before: Counts, right_before: Counts, n: Counts, right: Counts
) -> tuple[Counts, Counts, Counts, Counts]:
    """Counts before and since each of T blocks, shape (T, C) each."""
    n_sum, right_sum = np.cumsum(n, axis=0), np.cumsum(right, axis=0)
    n_until, right_until = n_sum - n, right_sum - right
    return (
        n_before + n_until,
        right_before + right_until,
        n_sum[-1] - n_until,
        right_sum[-1] - right_until,
    )


def _dispersion(history: RateHistory) -> Dispersion:
    streams = len(history.labels)
    squares = history.squares or (0.0,) * (streams + 1)
    return dispersion(np.array(squares), history.freedom)


def _with_day(history: RateHistory, baseline_days: int) -> RateHistory:
    """The history after the end of the day in progress.

    A baseline shorter than a span has an estimate of the dispersion of its own: days of real models
    differ by far more than is assumed of a new one.
    """
    if history.today is None:
        return history
    history = msgspec.structs.replace(
        history, blocks=(*history.blocks, history.today), today=None, fresh=history.fresh + 1
    )
    is_baseline = history.before is None and _days(history) >= baseline_days
    if history.fresh == SPAN or (is_baseline and history.fresh):
        factors, freedom = span_factors(*_table(history.blocks[-history.fresh :]))
        squares = np.array(history.squares or (0.0,) * len(factors)) + freedom * factors
        history = msgspec.structs.replace(
            history,
            squares=tuple(squares.tolist()),
            freedom=history.freedom + freedom,
            fresh=0,
        )
    if is_baseline:
        return msgspec.structs.replace(history, before=_sum(history.blocks), blocks=())
    return msgspec.structs.replace(history, blocks=_merged(history.blocks))


def _merged(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """The blocks, oldest first, of which there are not too many of one size."""
    size, most = 1, _SINGLE
    while True:
        same = [i for i, block in enumerate(blocks) if block.days == size]
        if len(same) <= most:
            return blocks
        first = same[0]
        pair = _sum(blocks[first : first + 2])
        blocks = (*blocks[:first], pair, *blocks[first + 2 :])
        size, most = 2 * size, _PER_SIZE


def _with_labels(history: RateHistory, labels: Sequence[str]) -> RateHistory:
    """The history with a stream for each class; the 16th and further ones share the last stream."""
    new = [label for label in labels if label not in history.labels]
    if not new or len(history.labels) == MAX_STREAMS:
        return history
    names = (*history.labels, *new)
    if len(names) >= MAX_STREAMS:
        names = (*names[: MAX_STREAMS - 1], OTHERS)
    more = len(names) - len(history.labels)

    def wider(block: Block | None) -> Block | None:
        zeros = (0,) * more
        return block and Block(block.start_ms, block.days, block.n + zeros, block.right + zeros)

    # A new stream has the variance of independent rows so far.
    squares = (
        (*history.squares[:-1], *(history.freedom,) * more, history.squares[-1])
        if history.squares
        else ()
    )
    return msgspec.structs.replace(
        history,
        labels=names,
        before=wider(history.before),
        blocks=tuple(each for block in history.blocks if (each := wider(block))),
        today=wider(history.today),
        squares=squares,
    )


def _plus(history: RateHistory, today: Block, counts: Sequence[tuple[str, int, int]]) -> Block:
    n, right = list(today.n), list(today.right)
    for label, rows, hits in counts:
        if rows:
            stream = history.labels.index(label) if label in history.labels else MAX_STREAMS - 1
            n[stream] += rows
            right[stream] += hits
    return Block(today.start_ms, today.days, tuple(n), tuple(right))


def _zeros(history: RateHistory) -> tuple[tuple[int, ...]]:
    return ((0,) * len(history.labels),)


def _sum(blocks: Sequence[Block]) -> Block:
    return Block(
        blocks[0].start_ms,
        sum(block.days for block in blocks),
        tuple(map(sum, zip(*(block.n for block in blocks), strict=True))),
        tuple(map(sum, zip(*(block.right for block in blocks), strict=True))),
    )


def _row(block: Block) -> tuple[Counts, Counts]:
    return np.array(block.n, np.int64), np.array(block.right, np.int64)


def _table(blocks: Sequence[Block]) -> tuple[Counts, Counts]:
    return (
        np.array([block.n for block in blocks], np.int64),
        np.array([block.right for block in blocks], np.int64),
    )
