"""What the windows of a model say about its labels: how many rows have each, and whose scores are
higher.

Only the smallest window of each model is read, when it is complete for the first time, until the
classes are settled and the scores have decided. Each row counts once: of a sliding window, the part
that the one before it does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec
import numpy as np

from driftline.streams import lanes
from driftline.streams.lanes import ALL
from driftline.streams.measure.counts.dense_layout import ANOTHER
from driftline.streams.measure.counts.gather import LabelCodes, WindowJob, grown_label_set, rows_at
from driftline.streams.measure.counts.model import MeasuredModel, ScoreRange
from driftline.streams.measure.counts.packed_key import Ints, a_of, b_of, measures_of, series_of

LEAST_SCORED: Final = 10
"""Predictions of each of two labels after which their scores are compared."""
MOST_SCORED: Final = 10_000
"""Predictions after which labels whose scores could not be compared stay undecided."""


def settle_labels(lane: int, model: MeasuredModel, jobs: Iterable[WindowJob]) -> None:
    """Count the joined rows of the due windows by label, and settle the classes when there are
    enough.

    Parameters
    ----------
    lane
        The lane of the jobs: decisions or arrivals.
    jobs
        The new part of each due smallest window.
    """
    facts = model.facts
    if facts.label_set.settled is not None or facts.label_set.many:
        return
    for keys, counts in _rows(lane, model, jobs, lambda measure: measure == lanes.CELLS):
        label_set = grown_label_set(
            model, LabelCodes(np.unique(a_of(keys)).tolist(), np.unique(b_of(keys)).tolist())
        )
        _add(facts.truths, model, a_of(keys), counts)
        _add(facts.predictions, model, b_of(keys), counts)
        label_set = label_set.settle(facts.truths, facts.predictions, model.configured_labels)
        facts.label_set = label_set
        if label_set.settled is not None or label_set.many:
            facts.truths, facts.predictions = {}, {}
            return


def note_scores(model: MeasuredModel, jobs: Iterable[WindowJob]) -> None:
    """Compare the scores of the predicted labels in the due windows of the traffic lane.

    If two labels have scores that a threshold separates, the one with the higher scores is the
    positive one: prediction and score agree. Parameters as those of `settle_labels`.
    """
    facts = model.facts
    if facts.label_set.scored is not None or model.configured_labels.positive is not None:
        return
    names = model.labels.names
    for keys, counts in _rows(
        lanes.TRAFFIC, model, jobs, lambda measure: measure == lanes.PREDICTED_SCORES
    ):
        codes, bins = a_of(keys), b_of(keys)
        for code in np.unique(codes[codes < min(len(names), ANOTHER)]).tolist():
            of_code = codes == code
            known = facts.scored.get(names[code])
            more = ScoreRange(
                int(counts[of_code].sum()), int(bins[of_code].min()), int(bins[of_code].max())
            )
            facts.scored[names[code]] = more if known is None else known.joined(more)
        scored = higher_scored(facts.scored)
        if scored is not None:
            facts.label_set = msgspec.structs.replace(facts.label_set, scored=scored)
            facts.scored = {}
            return


def higher_scored(ranges: dict[str, ScoreRange]) -> str | None:
    """The label with the higher scores; "" if there is none, None if it is too early to say."""
    if len(ranges) > 2:
        return ""
    if len(ranges) == 2:
        low, high = sorted(ranges, key=lambda label: ranges[label].lowest)
        is_tied = ranges[low].lowest == ranges[high].lowest
        if is_tied or ranges[low].highest > ranges[high].lowest:
            return ""
        if min(each.n for each in ranges.values()) >= LEAST_SCORED:
            return high
    return "" if sum(each.n for each in ranges.values()) >= MOST_SCORED else None


def _rows(
    lane: int,
    model: MeasuredModel,
    jobs: Iterable[WindowJob],
    chosen: Callable[[Ints], Ints],
) -> Iterator[tuple[Ints, Ints]]:
    """Keys and counts of the rows of each job, of the segment "all"."""
    is_all = np.array([segment == ALL for _, segment in model.series.names], np.bool_)
    for job in jobs:
        keys, counts = [], []
        for span in job.spans:
            end = rows_at(span, lane, job)
            of_span = span.table.keys[:end]
            at = np.flatnonzero(chosen(measures_of(of_span)))
            at = at[is_all[series_of(of_span[at])]]
            keys.append(of_span[at])
            counts.append(span.table.counts[:end][at])
        if any(len(part) for part in keys):
            yield np.concatenate(keys), np.concatenate(counts)


def _add(rows: dict[str, int], model: MeasuredModel, codes: Ints, counts: Ints) -> None:
    names = model.labels.names
    by_code = np.bincount(codes, weights=counts)
    for code in np.flatnonzero(by_code).tolist():
        if code < len(names):
            rows[names[code]] = rows.get(names[code], 0) + int(by_code[code])
