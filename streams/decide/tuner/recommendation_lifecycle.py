"""Life cycle of recommended thresholds: open, then applied, superseded, expired or rolled back; and
their outcomes.

Once a week the days of the last four weeks are looked at together. The best threshold of their fit
half is recommended if it gains enough on their hold-out half, by an interval that includes the
variance between days. A single week is not enough: on the flights of the demo, nine thresholds
tuned on single weeks promised 3 to 19 % and gained nothing in the following weeks (measured). The
best threshold of each look is a little different: while a recommendation is open, or for a time
after its threshold was rolled back, another one is made only if it is clearly better. The four
weeks after the span of the recommendation, once they are final, give the outcome of both thresholds
on all rows, none of which had a part in the choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

import msgspec
import numpy as np
import xxhash

from driftline.schemas.results import Expected, Histogram, Recommendation, key_of, to_plain
from driftline.schemas.settings import ModelConfig
from driftline.schemas.times import EpochMs, format_time
from driftline.streams.decide.judgement import TunerEvaluation
from driftline.streams.decide.stored_state import StateCache
from driftline.streams.decide.tuner.best_threshold import (
    best_edge,
    cells_by_edge,
    resolution_error,
)
from driftline.streams.decide.tuner.gain import METHOD, Gain, gain_of, six_cells
from driftline.streams.decide.tuner.histogram_spans import ScoreBlock, Scores, fill, scores_of
from driftline.streams.decide.tuner.settings import TunerSettings
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
from driftline.streams.score_bins import EDGES, edge_of, edges_between

SAME = 0.01
"""Thresholds closer than this count as the same recommendation, if they are also closer than a
tenth of their distance from 0 or 1: 0.001 and 0.002 are not the same.
"""
MIN_BLOCKS = 5
"""Least number of days for an estimate of the variance between days."""


class IssuedRecommendation(msgspec.Struct, frozen=True):
    """A recommendation that was emitted.

    Parameters
    ----------
    record
        The record with the status "open".
    from_edge, to_edge
        Thresholds before and after, as edges of bins.
    end_ms, expires_ms
        End of the span that it is based on, and when it expires.
    after
        The six cells of each final window after the span, so far.
    """

    record: Recommendation
    from_edge: int
    to_edge: int
    end_ms: int
    expires_ms: int
    after: tuple[tuple[int, ...], ...] = ()

    @property
    def threshold(self) -> float:
        """The recommended threshold."""
        return float(self.record.params["threshold"])

    def outcome(self, tuner: TunerSettings) -> Gain | None:
        """The gain of its threshold on the windows after its span."""
        return gain_of(
            np.array(self.after, dtype=np.int64).reshape(-1, 6),
            tuner.objective,
            rises=self.to_edge > self.from_edge,
            metric=self.record.expected.metric,
        )


class RolledBack(msgspec.Struct, frozen=True):
    """A recommended threshold that was in force and was replaced by hand.

    Parameters
    ----------
    threshold
        The recommended threshold.
    until_ms
        Event time before which only a clearly better threshold is recommended.
    """

    threshold: float
    until_ms: int


class TunerState(msgspec.Struct, omit_defaults=True):
    """State of the tuner of one version.

    Parameters
    ----------
    ends_ms
        Ends of the windows that are stored as `ScoreBlock`.
    open
        The open recommendation.
    waiting
        Recommendations without an outcome yet, oldest first.
    applied
        The recommendation whose threshold is in force.
    rolled_back
        The last threshold that was rolled back.
    """

    ends_ms: list[int] = []
    open: IssuedRecommendation | None = None
    waiting: list[IssuedRecommendation] = []
    applied: IssuedRecommendation | None = None
    rolled_back: RolledBack | None = None


class VersionTuner:
    """The tuner of one version during one batch.

    Parameters
    ----------
    in_force
        Threshold of the version. Events that carry a threshold of their own were decided by that
        one instead.
    """

    def __init__(
        self,
        cache: StateCache,
        model: str,
        version: str,
        tuner: TunerSettings,
        config: ModelConfig,
        in_force: float,
    ) -> None:
        self._cache, self._names = cache, (model, version)
        self._tuner, self._in_force = tuner, in_force
        self._delays_ms = {rung.name: rung.ms for rung in config.maturity}
        self._state = cache.load(TunerState, model, version)
        self.evaluation: TunerEvaluation | None = None
        """What was found in this batch; None if it was not yet time to look."""

    def process(self, histogram: Histogram, *, is_mature: bool) -> Iterator[Recommendation]:
        """Take a histogram of the tuner's window; gives new recommendations and changed ones.

        Parameters
        ----------
        is_mature
            Whether the histogram is of the rung that thresholds are chosen at. Outcomes are read
            from final histograms of any rung.
        """
        at_ms = histogram.window_end_ms + self._delays_ms.get(histogram.maturity or "", 0)
        block = ScoreBlock()
        fill(block, histogram, histogram.window_start_ms, histogram.window_end_ms)
        if histogram.final:
            yield from self._outcomes(block, histogram, at_ms)
        if is_mature:
            yield from self._close_open(edge_of(self._in_force), at_ms)
            if self._add_block(block):
                yield from self._recommend(histogram, at_ms)

    def _add_block(self, block: ScoreBlock) -> bool:
        """Store a window that follows the newest one and delete those that leave the span; gives
        whether all of them are to be looked at now.
        """
        ends_ms = self._state.ends_ms
        if ends_ms and block.start_ms < ends_ms[-1]:
            return False
        stored = self._cache.load(ScoreBlock, *self._names, str(block.end_ms))
        stored.start_ms, stored.end_ms = block.start_ms, block.end_ms
        stored.fit, stored.holdout, stored.losses = block.fit, block.holdout, block.losses
        before_ms = ends_ms[-1] if ends_ms else block.start_ms
        ends_ms.append(block.end_ms)
        while ends_ms[0] <= block.end_ms - self._tuner.span_ms:
            self._cache.delete(ScoreBlock, *self._names, str(ends_ms.pop(0)))
        return (
            len(ends_ms) >= MIN_BLOCKS
            and block.end_ms // self._tuner.every_ms > before_ms // self._tuner.every_ms
        )

    def _close_open(self, current: int, at_ms: int) -> Iterator[Recommendation]:
        """Close the open recommendation if it was applied or has expired."""
        issued = self._state.open
        if issued is None:
            return
        if current == issued.to_edge:
            status = "applied"
        elif at_ms >= issued.expires_ms:
            status = "expired"
        else:
            return
        self._state.open = None
        yield msgspec.structs.replace(issued.record, status=status, at_ms=EpochMs(at_ms))

    def _recommend(self, histogram: Histogram, at_ms: int) -> Iterator[Recommendation]:
        state, tuner = self._state, self._tuner
        blocks = [
            self._cache.load(ScoreBlock, *self._names, str(end_ms)) for end_ms in state.ends_ms
        ]
        scores, current = scores_of(blocks), edge_of(self._in_force)
        is_enough = int(scores.both.sum()) >= tuner.min_labels
        edge = self._best_edge(scores, current) if is_enough else None
        to_edge = current if edge is None else edge
        gain = self._gain(scores, current, to_edge) if is_enough else None
        span_ms = (blocks[0].start_ms, blocks[-1].end_ms)
        # Losses of several inputs and times; neighbouring windows may name the same one.
        losses = list(dict.fromkeys(loss for block in blocks for loss in block.losses))
        self.evaluation = msgspec.structs.replace(
            self._evaluation(histogram, gain, span_ms, at_ms),
            n=int(scores.holdout.sum()),
            best=_threshold(to_edge) if to_edge != current else None,
            losses=losses,
        )
        if edge is None or edge == current:
            return
        if gain is None or not self._is_worth_it(gain):
            return
        earlier = [] if state.open is None else [state.open.threshold]
        if state.rolled_back is not None and at_ms < state.rolled_back.until_ms:
            earlier.append(state.rolled_back.threshold)
        if not all(self._is_clearly_better(scores, edge, threshold) for threshold in earlier):
            return
        if state.open is not None:
            yield msgspec.structs.replace(
                state.open.record, status="superseded", at_ms=EpochMs(at_ms)
            )
        record = self._record(histogram, scores, gain, span_ms, (current, edge), at_ms)
        if losses:
            record.evidence["losses"] = [to_plain(loss) for loss in losses]
        state.open = IssuedRecommendation(
            record, current, edge, span_ms[1], at_ms + tuner.expires_ms
        )
        state.waiting.append(state.open)
        state.rolled_back = None
        yield record

    def _best_edge(self, scores: Scores, current: int) -> int | None:
        tuner = self._tuner
        negatives, positives = scores.fit.sum(axis=0)
        lowest, highest = edges_between(tuner.lowest, tuner.highest)
        return best_edge(
            negatives, positives, tuner.objective, near=current, lowest=lowest, highest=highest
        )

    def _evaluation(
        self, histogram: Histogram, gain: Gain | None, span_ms: tuple[int, int], at_ms: int
    ) -> TunerEvaluation:
        """What was found in a span; a gain of None is too little to say."""
        objective = self._tuner.objective
        found = TunerEvaluation(
            model_name=histogram.model_name,
            model_version=histogram.model_version,
            segment=ALL,
            window_start_ms=span_ms[0],
            window_end_ms=span_ms[1],
            every_ms=self._tuner.every_ms,
            at_ms=at_ms,
            window=histogram.window,
            maturity=histogram.maturity,
            metric=objective.metric,
            higher_is_better=objective.higher_is_better,
            n=0,
            threshold=self._in_force,
        )
        if gain is None:
            return found
        relative = gain.relative or 0.0
        if gain.reaches_goal or (gain.relative is None and gain.gain > 0):
            relative = inf
        return msgspec.structs.replace(
            found,
            metric=gain.metric,
            higher_is_better=objective.judged_as(gain.metric).higher_is_better,
            value=gain.earlier,
            improvement=max(relative, 0.0) if gain.allowed else 0.0,
            is_sure=gain.allowed and gain.low > 0,
            misses_goal=gain.metric != objective.metric,
        )

    def _gain(self, scores: Scores, from_edge: int, to_edge: int) -> Gain | None:
        six = six_cells(scores.holdout[:, 0], scores.holdout[:, 1], from_edge, to_edge)
        return gain_of(six, self._tuner.objective, rises=to_edge > from_edge)

    def _is_clearly_better(self, scores: Scores, edge: int, threshold: float) -> bool:
        """Whether an edge is another threshold than an earlier recommendation, and worth a change
        from that one.
        """
        if _is_same(_threshold(edge), threshold):
            return False
        gain = self._gain(scores, edge_of(threshold), edge)
        return gain is not None and self._is_worth_it(gain)

    def _is_worth_it(self, gain: Gain) -> bool:
        is_enough = (
            gain.reaches_goal or gain.relative is None or gain.relative >= self._tuner.min_gain
        )
        return gain.allowed and gain.low > 0 and is_enough and gain.blocks >= MIN_BLOCKS

    def _record(
        self,
        histogram: Histogram,
        scores: Scores,
        gain: Gain,
        span_ms: tuple[int, int],
        edges: tuple[int, int],
        at_ms: int,
    ) -> Recommendation:
        objective, metric = self._tuner.objective, gain.metric
        earlier, later = map(_threshold, edges)
        identity = key_of(
            (
                *self._names,
                objective.name,
                histogram.window,
                format_time(span_ms[1]),
                str(edges[1]),
            )
        )
        negatives, positives = scores.fit.sum(axis=0)
        fit = objective.judged_as(metric).value(*cells_by_edge(negatives, positives))
        return Recommendation(
            recommendation_id=xxhash.xxh64_hexdigest(identity.encode()),
            model_name=histogram.model_name,
            model_version=histogram.model_version,
            action="set_threshold",
            params={"threshold": later},
            expected=Expected(
                metric=metric, from_=gain.earlier, to=gain.later, ci=(gain.low, gain.high)
            ),
            evidence={
                "relative_gain": gain.relative,
                "threshold_in_force": earlier,
                "window_start": format_time(span_ms[0]),
                "window_end": format_time(span_ms[1]),
                "window": histogram.window,
                "windows": gain.blocks,
                "maturity": histogram.maturity,
                "n_fit": int(scores.fit.sum()),
                "n_holdout": gain.n,
                "positives_holdout": gain.positives,
                "fit": {"from": float(fit[edges[0]]), "to": float(fit[edges[1]])},
                "resolution_error": resolution_error(negatives, positives, objective, edges[1]),
                "cells": {"from": _cells(scores, edges[0]), "to": _cells(scores, edges[1])},
                "method": f"best {objective.metric} on the fit half, "
                f"judged on the hold-out half: {METHOD}",
            },
            reason=f"{headline(metric)} of {subject(*self._names, ALL)} over {span(*span_ms)} "
            f"would have been {_change(gain)} with threshold {figure(later)} "
            f"instead of {figure(earlier)}, judged on {gain.n:,} outcomes "
            "that had no part in choosing it.",
            status="open",
            at_ms=EpochMs(at_ms),
            expires_at_ms=EpochMs(at_ms + self._tuner.expires_ms),
        )

    def _outcomes(
        self, block: ScoreBlock, histogram: Histogram, at_ms: int
    ) -> Iterator[Recommendation]:
        """Add a final window to the recommendations that wait for their outcome, and emit the
        outcomes that are complete.
        """
        if not self._state.waiting:
            return
        waiting: list[IssuedRecommendation] = []
        scores = scores_of([block]).both
        for issued in self._state.waiting:
            if block.start_ms < issued.end_ms:
                waiting.append(issued)
                continue
            six = six_cells(scores[:, 0], scores[:, 1], issued.from_edge, issued.to_edge)
            issued = msgspec.structs.replace(issued, after=(*issued.after, tuple(six[0].tolist())))
            is_over = block.end_ms >= issued.end_ms + self._tuner.span_ms
            gain = issued.outcome(self._tuner) if is_over else None
            if gain is None:
                waiting.append(issued)
            else:
                yield self._outcome(issued, gain, histogram, at_ms)
        self._state.waiting = waiting

    def _outcome(
        self, issued: IssuedRecommendation, gain: Gain, histogram: Histogram, at_ms: int
    ) -> Recommendation:
        record, end_ms = issued.record, histogram.window_end_ms
        earlier, later = (figure(_threshold(edge)) for edge in (issued.from_edge, issued.to_edge))
        realised = {
            "metric": record.expected.metric,
            "from": gain.earlier,
            "to": gain.later,
            "ci": [gain.low, gain.high],
            "relative_gain": gain.relative,
            "n": gain.n,
            "positives": gain.positives,
            "window_start": format_time(issued.end_ms),
            "window_end": format_time(end_ms),
            "window": histogram.window,
            "windows": gain.blocks,
            "maturity": histogram.maturity,
            "method": METHOD,
        }
        return msgspec.structs.replace(
            record,
            status="outcome",
            at_ms=EpochMs(at_ms),
            evidence={**record.evidence, "realised": realised},
            reason=f"In {span(issued.end_ms, end_ms)}, the time after it, "
            f"{metric_name(record.expected.metric)} was {_change(gain)} with the recommended "
            f"threshold {later} instead of {earlier}, on {gain.n:,} outcomes.",
        )


def threshold_changed(
    cache: StateCache,
    model: str,
    version: str,
    tuner: TunerSettings,
    *,
    threshold: float | None,
    now_ms: int,
) -> Iterator[Recommendation]:
    """Follow a change of the threshold in force: it applies the open recommendation or rolls an
    applied one back.

    A threshold is set by hand, or by the policy from the open recommendation. So an applied one
    that gives way to any other was replaced by hand.
    """
    state = cache.load(TunerState, model, version)
    before = state.applied
    applies_open = state.open is not None and threshold == state.open.threshold
    state.applied = state.open if applies_open else None
    if before is None or applies_open:
        return
    now_ms = max([now_ms, *state.ends_ms[-1:]])
    if state.open is not None and state.open.to_edge == before.to_edge:
        state.open = None
    state.rolled_back = RolledBack(before.threshold, now_ms + tuner.after_rollback_ms)
    yield msgspec.structs.replace(
        before.record,
        status="rolled_back",
        at_ms=EpochMs(now_ms),
        reason=f"Threshold {figure(before.threshold)} was in force and was replaced by hand; "
        "the next threshold that is recommended before "
        f"{moment(state.rolled_back.until_ms)} has to be clearly better.",
    )


def delete_state(cache: StateCache, model: str, version: str) -> None:
    """Delete the state of the tuner of a version."""
    for end_ms in cache.load(TunerState, model, version).ends_ms:
        cache.delete(ScoreBlock, model, version, str(end_ms))
    cache.delete(TunerState, model, version)


def _threshold(edge: int) -> float:
    return float(EDGES[edge])


def _is_same(threshold: float, other: float) -> bool:
    """Whether two thresholds count as the same recommendation."""
    from_end = max(min(threshold, 1 - threshold), min(other, 1 - other))
    return abs(threshold - other) < min(SAME, from_end / 10)


def _change(gain: Gain) -> str:
    """For example "0.48 instead of 0.44 (9 % better, 95 % interval +6% to +12%)"."""
    text = f"{figure(gain.later)} instead of {figure(gain.earlier)}"
    if gain.relative is None:
        return f"{text} (gain{interval((gain.low, gain.high))})"
    low, high = gain.low / abs(gain.earlier), gain.high / abs(gain.earlier)
    direction = "better" if gain.relative >= 0 else "worse"
    return f"{text} ({share(gain.relative)} {direction}, 95 % interval {low:+.0%} to {high:+.0%})"


def _cells(scores: Scores, edge: int) -> dict[str, int]:
    by_edge = cells_by_edge(*scores.holdout.sum(axis=0))
    return {
        name: int(counts[edge])
        for name, counts in zip(("tn", "fp", "fn", "tp"), by_edge, strict=True)
    }
