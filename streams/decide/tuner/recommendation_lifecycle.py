"""Recommendations of thresholds from the first to the last word: open, applied, superseded or
expired, and what came of them.

Once a week the days of the last four weeks are looked at together: the best threshold of their fit
half is recommended if it gains enough on their hold-out half, with an interval that knows how much
days differ. A single week follows its own weather: on the flights of the demo, nine thresholds
tuned on single weeks promised 3 to 19 % and gained nothing in the weeks after (measured). While a
recommendation is open, another is made only if it is clearly better than the open one. The four
weeks after the recommendation's own, once they are final, tell what both thresholds did there, on
all rows: none of them had a part in the choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import xxhash

from driftline.schemas.results import Expected, Histogram, Recommendation, key_of
from driftline.schemas.settings import ModelConfig
from driftline.schemas.times import EpochMs, format_time
from driftline.streams.decide.stored_state import Memories
from driftline.streams.decide.tuner.best_threshold import best_edge, cells_by_edge, edge_of
from driftline.streams.decide.tuner.gain import METHOD, Gain, gain_of, six_cells
from driftline.streams.decide.tuner.histogram_spans import Block, Scores, fill, scores_of
from driftline.streams.decide.tuner.settings import Tuner
from driftline.streams.decide.wording import (
    figure,
    headline,
    interval,
    metric_name,
    moment,
    share,
    span,
    subject,
)
from driftline.streams.lanes import ALL

SAME = 0.01
"""Thresholds closer than this are one recommendation."""
LEAST_BLOCKS = 5
"""With fewer days nobody knows how much days differ."""


class Made(msgspec.Struct, frozen=True):
    """A recommendation that was made.

    Parameters
    ----------
    said
        The record.
    from_edge, to_edge
        The thresholds, as edges of bins.
    end_ms, expires_ms
        End of the span that it is from, and when it lapses.
    after
        The six cells of each final window after its own span, so far.
    """

    said: Recommendation
    from_edge: int
    to_edge: int
    end_ms: int
    expires_ms: int
    after: tuple[tuple[int, ...], ...] = ()

    @property
    def threshold(self) -> float:
        """The recommended one."""
        return float(self.said.params["threshold"])

    def gain(self, six: Any, tuner: Tuner) -> Gain | None:
        """What its threshold gains on rows in six cells."""
        return gain_of(
            np.array(six, dtype=np.int64).reshape(-1, 6),
            tuner.objective,
            rises=self.to_edge > self.from_edge,
            metric=self.said.expected.metric,
        )


class RolledBack(msgspec.Struct, frozen=True):
    """A recommended threshold that was in force and was replaced by hand.

    Parameters
    ----------
    threshold
        The recommended one.
    until_ms
        Event time before which it is not recommended again.
    """

    threshold: float
    until_ms: int

    def bars(self, edge: int, bins: int, at_ms: int) -> bool:
        """Whether an edge is this threshold, at a time at which it is not recommended again."""
        return at_ms < self.until_ms and abs(edge - self.threshold * bins) < SAME * bins


class TunerMemory(msgspec.Struct, omit_defaults=True):
    """What the tuner remembers of one version.

    Parameters
    ----------
    ends_ms
        Ends of the windows that are kept as `Block`.
    open
        The recommendation that still stands.
    waiting
        Those whose outcome is not known yet, oldest first.
    applied
        The recommendation whose threshold is in force.
    rolled_back
        The last threshold that was taken back.
    """

    ends_ms: list[int] = []
    open: Made | None = None
    waiting: list[Made] = []
    applied: Made | None = None
    rolled_back: RolledBack | None = None


class Tuning:
    """The tuner on one version during one batch.

    Parameters
    ----------
    in_force
        The version's threshold. Events that bring their own threshold were decided by that one
        instead.
    """

    def __init__(
        self,
        memories: Memories,
        model: str,
        version: str,
        tuner: Tuner,
        config: ModelConfig,
        in_force: float,
    ) -> None:
        self._memories, self._names = memories, (model, version)
        self._tuner, self._in_force = tuner, in_force
        self._delays_ms = {rung.name: rung.ms for rung in config.maturity}
        self._memory = memories.recall(TunerMemory, model, version)

    def after(self, seen: Histogram, *, mature: bool) -> Iterator[Recommendation]:
        """What a histogram of the tuner's window leads to.

        Parameters
        ----------
        mature
            Whether this is the rung that thresholds are chosen at; a final histogram tells outcomes
            at any rung.
        """
        at_ms = seen.window_end_ms + self._delays_ms.get(seen.maturity or "", 0)
        block = Block()
        fill(block, seen, seen.window_start_ms, seen.window_end_ms)
        if seen.final:
            yield from self._outcomes(block, seen, at_ms)
        if mature:
            yield from self._lapsed(edge_of(self._in_force, seen.bins), at_ms)
            if self._kept(block):
                yield from self._recommended(seen, at_ms)

    def _kept(self, block: Block) -> bool:
        """Keep a window that follows the newest one, and forget those that leave the span; whether
        it is time to look at them all.
        """
        ends_ms = self._memory.ends_ms
        if ends_ms and block.start_ms < ends_ms[-1]:
            return False
        held = self._memories.recall(Block, *self._names, str(block.end_ms))
        held.start_ms, held.end_ms, held.fit, held.holdout = (
            block.start_ms,
            block.end_ms,
            block.fit,
            block.holdout,
        )
        before_ms = ends_ms[-1] if ends_ms else block.start_ms
        ends_ms.append(block.end_ms)
        while ends_ms[0] <= block.end_ms - self._tuner.span_ms:
            self._memories.forget(Block, *self._names, str(ends_ms.pop(0)))
        return (
            len(ends_ms) >= LEAST_BLOCKS
            and block.end_ms // self._tuner.every_ms > before_ms // self._tuner.every_ms
        )

    def _lapsed(self, current: int, at_ms: int) -> Iterator[Recommendation]:
        """The open recommendation closed, if it was carried out or its time is over."""
        made = self._memory.open
        if made is None:
            return
        status = (
            "applied"
            if current == made.to_edge
            else "expired"
            if at_ms >= made.expires_ms
            else None
        )
        if status is not None:
            self._memory.open = None
            yield msgspec.structs.replace(made.said, status=status, at_ms=EpochMs(at_ms))

    def _recommended(self, seen: Histogram, at_ms: int) -> Iterator[Recommendation]:
        memory, tuner = self._memory, self._tuner
        blocks = [
            self._memories.recall(Block, *self._names, str(end_ms)) for end_ms in memory.ends_ms
        ]
        scores, current = scores_of(blocks, seen.bins), edge_of(self._in_force, seen.bins)
        if int(scores.both.sum()) < tuner.min_labels:
            return
        negatives, positives = scores.fit.sum(axis=0)
        edge = best_edge(negatives, positives, tuner.objective, near=current)
        if edge is None or edge == current:
            return
        gain = self._gain(scores, current, edge)
        if gain is None or not self._worth_it(gain):
            return
        if memory.rolled_back is not None and memory.rolled_back.bars(edge, seen.bins, at_ms):
            return
        if memory.open is not None:
            if abs(edge - memory.open.to_edge) < SAME * seen.bins:
                return
            over_open = self._gain(scores, memory.open.to_edge, edge)
            if over_open is None or not self._worth_it(over_open):
                return
            yield msgspec.structs.replace(
                memory.open.said, status="superseded", at_ms=EpochMs(at_ms)
            )
        said = self._recommendation(
            seen, scores, gain, (blocks[0].start_ms, blocks[-1].end_ms), (current, edge), at_ms
        )
        memory.open = Made(said, current, edge, blocks[-1].end_ms, at_ms + tuner.expires_ms)
        memory.waiting.append(memory.open)
        memory.rolled_back = None
        yield said

    def _gain(self, scores: Scores, from_edge: int, to_edge: int) -> Gain | None:
        six = six_cells(scores.holdout[:, 0], scores.holdout[:, 1], from_edge, to_edge)
        return gain_of(six, self._tuner.objective, rises=to_edge > from_edge)

    def _worth_it(self, gain: Gain) -> bool:
        enough = gain.reaches_goal or gain.relative is None or gain.relative >= self._tuner.min_gain
        return gain.allowed and gain.low > 0 and enough and gain.blocks >= LEAST_BLOCKS

    def _recommendation(
        self,
        seen: Histogram,
        scores: Scores,
        gain: Gain,
        over: tuple[int, int],
        edges: tuple[int, int],
        at_ms: int,
    ) -> Recommendation:
        metric, name = gain.metric, self._tuner.objective.name
        earlier, later = (edge / seen.bins for edge in edges)
        identity = key_of((*self._names, name, seen.window, format_time(over[1]), str(edges[1])))
        fit = self._tuner.objective.judged_as(metric).value(*cells_by_edge(*scores.fit.sum(axis=0)))
        return Recommendation(
            recommendation_id=xxhash.xxh64_hexdigest(identity.encode()),
            model_name=seen.model_name,
            model_version=seen.model_version,
            action="set_threshold",
            params={"threshold": later},
            expected=Expected(
                metric=metric, from_=gain.earlier, to=gain.later, ci=(gain.low, gain.high)
            ),
            evidence={
                "relative_gain": gain.relative,
                "threshold_in_force": earlier,
                "window_start": format_time(over[0]),
                "window_end": format_time(over[1]),
                "window": seen.window,
                "windows": gain.blocks,
                "maturity": seen.maturity,
                "n_fit": int(scores.fit.sum()),
                "n_holdout": gain.n,
                "positives_holdout": gain.positives,
                "fit": {"from": float(fit[edges[0]]), "to": float(fit[edges[1]])},
                "cells": {"from": _cells(scores, edges[0]), "to": _cells(scores, edges[1])},
                "method": f"best {self._tuner.objective.metric} on the fit half, judged on the hold-out half: {METHOD}",
            },
            reason=f"{headline(metric)} of {subject(*self._names, ALL)} over {span(*over)} would have been {_change(gain)} with threshold "
            f"{figure(later)} instead of {figure(earlier)}, judged on {gain.n:,} outcomes that had no part in choosing it.",
            status="open",
            at_ms=EpochMs(at_ms),
            expires_at_ms=EpochMs(at_ms + self._tuner.expires_ms),
        )

    def _outcomes(self, block: Block, seen: Histogram, at_ms: int) -> Iterator[Recommendation]:
        """What both thresholds of each waiting recommendation did, once the span after its own is
        over.
        """
        if not self._memory.waiting:
            return
        still: list[Made] = []
        scores = scores_of([block], seen.bins).both
        for made in self._memory.waiting:
            if block.start_ms < made.end_ms:
                still.append(made)
                continue
            six = six_cells(scores[:, 0], scores[:, 1], made.from_edge, made.to_edge)
            made = msgspec.structs.replace(made, after=(*made.after, tuple(six[0].tolist())))
            gain = (
                made.gain(made.after, self._tuner)
                if block.end_ms >= made.end_ms + self._tuner.span_ms
                else None
            )
            if gain is None:
                still.append(made)
            else:
                yield self._outcome(made, gain, seen, at_ms)
        self._memory.waiting = still

    def _outcome(self, made: Made, gain: Gain, seen: Histogram, at_ms: int) -> Recommendation:
        end_ms, metric = seen.window_end_ms, metric_name(made.said.expected.metric)
        earlier, later = figure(made.from_edge / seen.bins), figure(made.to_edge / seen.bins)
        realised = {
            "metric": made.said.expected.metric,
            "from": gain.earlier,
            "to": gain.later,
            "ci": [gain.low, gain.high],
            "relative_gain": gain.relative,
            "n": gain.n,
            "positives": gain.positives,
            "window_start": format_time(made.end_ms),
            "window_end": format_time(end_ms),
            "window": seen.window,
            "windows": gain.blocks,
            "maturity": seen.maturity,
            "method": METHOD,
        }
        return msgspec.structs.replace(
            made.said,
            status="outcome",
            at_ms=EpochMs(at_ms),
            evidence={**made.said.evidence, "realised": realised},
            reason=f"In {span(made.end_ms, end_ms)}, the time after it, {metric} was {_change(gain)} with the recommended "
            f"threshold {later} instead of {earlier}, on {gain.n:,} outcomes.",
        )


def threshold_changed(
    memories: Memories,
    model: str,
    version: str,
    tuner: Tuner,
    *,
    threshold: float | None,
    now_ms: int,
) -> Iterator[Recommendation]:
    """Follow a change of the threshold in force, which may apply the open recommendation or take
    an applied one back.

    A threshold is set by hand, or by the policy from the open recommendation. So an applied one
    that gives way to any other was taken back by hand.
    """
    memory = memories.recall(TunerMemory, model, version)
    before = memory.applied
    applies_open = memory.open is not None and threshold == memory.open.threshold
    memory.applied = memory.open if applies_open else None
    if before is None or applies_open:
        return
    now_ms = max([now_ms, *memory.ends_ms[-1:]])
    if memory.open is not None and memory.open.to_edge == before.to_edge:
        memory.open = None
    memory.rolled_back = RolledBack(before.threshold, now_ms + tuner.after_rollback_ms)
    again = f"not recommended again before {moment(memory.rolled_back.until_ms)}"
    yield msgspec.structs.replace(
        before.said,
        status="rolled_back",
        at_ms=EpochMs(now_ms),
        reason=f"Threshold {figure(before.threshold)} was in force and was replaced by hand; {again}, "
        "unless the scores name another one first.",
    )


def forget(memories: Memories, model: str, version: str) -> None:
    """Drop all that the tuner remembers of a version."""
    for end_ms in memories.recall(TunerMemory, model, version).ends_ms:
        memories.forget(Block, model, version, str(end_ms))
    memories.forget(TunerMemory, model, version)


def _change(gain: Gain) -> str:
    """ "0.48 instead of 0.44 (9 % better, 95 % interval +6% to +12%)"."""
    text = f"{figure(gain.later)} instead of {figure(gain.earlier)}"
    if gain.relative is None:
        return f"{text} (gain{interval((gain.low, gain.high))})"
    low, high = gain.low / abs(gain.earlier), gain.high / abs(gain.earlier)
    return f"{text} ({share(gain.relative)} {'better' if gain.relative >= 0 else 'worse'}, 95 % interval {low:+.0%} to {high:+.0%})"


def _cells(scores: Scores, edge: int) -> dict[str, int]:
    by_edge = cells_by_edge(*scores.holdout.sum(axis=0))
    return {
        name: int(counts[edge])
        for name, counts in zip(("tn", "fp", "fn", "tp"), by_edge, strict=True)
    }
