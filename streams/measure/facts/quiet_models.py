"""Models without work: until which edge of time a step has nothing to do for a model.

A step that asks every model costs as much for 2,000 silent models as for busy ones, and after the
last row of a log there are a month of steps. What is computed here follows from the model's counts,
facts and registry entries, and holds until one of them changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Final

from driftline.schemas.times import DAY_MS
from driftline.streams.lanes import ARRIVALS, DECISIONS, NO_MODEL, TRAFFIC
from driftline.streams.measure.counts.model import MeasuredModel
from driftline.streams.measure.facts.to_registry import reference_span
from driftline.streams.measure.timing.windows import NEVER_MS, WindowPlan

_MORE_ENTRIES: Final = 1_000


class WorkTimes:
    """When each model has work in one lane, by number of the model.

    Examples
    --------
    >>> times = WorkTimes()
    >>> times.ask_again(0), times.ask_again(1)
    (None, None)
    >>> times.next_ms([50, 70].__getitem__)
    50
    >>> times.due([50, 70].__getitem__, 60), times.due([80, 70].__getitem__, 60)
    ([0], [])
    """

    def __init__(self) -> None:
        self._until_ms: dict[int, int] = {}
        self._unknown: set[int] = set()
        # Entries of times that do not hold any more are skipped.
        self._queue: list[tuple[int, int]] = []

    def ask_again(self, number: int) -> None:
        """The time of a model is not known, or does not hold any more."""
        self._until_ms.pop(number, None)
        self._unknown.add(number)

    def ask_all_again(self) -> None:
        """No time holds any more."""
        self._unknown |= self._until_ms.keys()
        self._until_ms, self._queue = {}, []

    def due(self, until_ms: Callable[[int], int], now_ms: int) -> list[int]:
        """The models with work by `now_ms`, in no order; their times hold no longer.

        `until_ms` gives the time of a model that is not known.
        """
        self._ask(until_ms)
        due = []
        while self._first_ms() <= now_ms:
            _, number = heappop(self._queue)
            due.append(number)
            self.ask_again(number)
        return due

    def next_ms(self, until_ms: Callable[[int], int]) -> int:
        """Time of the next work of any model, NEVER_MS without any; `until_ms` as in `due`."""
        self._ask(until_ms)
        return self._first_ms()

    def _ask(self, until_ms: Callable[[int], int]) -> None:
        # In the order of the numbers, so that two runs do the same.
        for number in sorted(self._unknown):
            until = self._until_ms[number] = until_ms(number)
            if until < NEVER_MS:
                heappush(self._queue, (until, number))
        self._unknown.clear()
        if len(self._queue) > 2 * len(self._until_ms) + _MORE_ENTRIES:
            self._queue = sorted(
                (until, number) for number, until in self._until_ms.items() if until < NEVER_MS
            )

    def _first_ms(self) -> int:
        """The first time in the queue that holds; NEVER_MS without one."""
        queue = self._queue
        while queue and self._until_ms.get(queue[0][1]) != queue[0][0]:
            heappop(queue)
        return queue[0][0] if queue else NEVER_MS


def quiet_traffic_until(
    model: MeasuredModel, plan: WindowPlan, seen: Sequence[str], after_ms: int
) -> int:
    """Time of the next work in the traffic lane for a model that is not watched for silence.

    Parameters
    ----------
    seen
        Versions with traffic before `after_ms`.
    after_ms
        The last edge that was processed.

    Returns
    -------
    int
        The work is done at the first edge at or after this time, which may be `after_ms` or
        earlier; NEVER_MS without any work.
    """
    if model.name == NO_MODEL:
        return NEVER_MS
    facts = model.facts
    candidates = [_first_unseen(model, seen)]
    if seen:
        candidates += [
            reference_span(model, name, facts.versions[name]).end_ms
            for name in seen
            if not facts.versions[name].reference_made
        ]
        candidates.append(next_drop(model, TRAFFIC, plan.longest_ms))
        candidates.append(model.occupied[TRAFFIC].next_due(plan.reaches[TRAFFIC], after_ms))
    return min(candidates)


def quiet_decisions_until(
    model: MeasuredModel, plan: WindowPlan, seen: Sequence[str], after_ms: int
) -> int:
    """Time of the next work in the decisions lane, as `quiet_traffic_until`."""
    facts, ladder = model.facts, model.config.maturity
    if facts.first_pane_ms[DECISIONS] is None:
        return NEVER_MS
    return min(
        [
            _first_unseen(model, seen),
            *(
                reference_span(model, name, version).end_ms + ladder[version.baselines].ms
                for name in seen
                if (version := facts.versions[name]).baselines < len(ladder)
            ),
            next_drop(model, DECISIONS, decisions_kept_ms(model, plan)),
            model.occupied[DECISIONS].next_due(plan.reaches[DECISIONS], after_ms),
        ]
    )


def quiet_arrivals_until(
    model: MeasuredModel, plan: WindowPlan, seen: Sequence[str], after_ms: int
) -> int:
    """Time of the next work in the arrivals lane, as `quiet_traffic_until`."""
    if model.facts.first_pane_ms[ARRIVALS] is None:
        return NEVER_MS
    return min(
        _first_unseen(model, seen),
        next_drop(model, ARRIVALS, plan.longest_ms),
        model.occupied[ARRIVALS].next_due(plan.reaches[ARRIVALS], after_ms),
    )


def _first_unseen(model: MeasuredModel, seen: Sequence[str]) -> int:
    """The time at which the next version shows up."""
    if model.name == NO_MODEL:
        return NEVER_MS
    return min(
        (
            version.first_ms + 1
            for name, version in model.facts.versions.items()
            if name not in seen
        ),
        default=NEVER_MS,
    )


def decisions_kept_ms(model: MeasuredModel, plan: WindowPlan) -> int:
    """How long panes of the decisions lane are kept."""
    return plan.longest_ms + model.config.maturity[-1].ms + DAY_MS


def next_drop(model: MeasuredModel, lane: int, kept_ms: int) -> int:
    """First edge at which panes are dropped that are kept for `kept_ms`."""
    kept = model.occupied[lane].between(model.facts.kept_from_ms[lane], NEVER_MS)
    if not kept:
        return NEVER_MS
    (first_ms, _), *_ = kept
    next_ms = (first_ms // DAY_MS + 1) * DAY_MS
    if any(start_ms < next_ms for start_ms in pending_spans_ms(model, lane)):
        # The reference or the baseline comes first, and that is work of its own.
        return NEVER_MS
    return next_ms + kept_ms


def pending_spans_ms(model: MeasuredModel, lane: int) -> list[int]:
    """Start of each reference span whose reference or baselines are still to be computed."""
    if lane == ARRIVALS:
        return []
    rungs = len(model.config.maturity)
    return [
        reference_span(model, name, version).start_ms
        for name, version in model.facts.versions.items()
        if not (version.reference_made if lane == TRAFFIC else version.baselines == rungs)
    ]
