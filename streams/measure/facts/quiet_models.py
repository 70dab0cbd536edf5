"""Models without work: until which edge of time a step has nothing to do for a model.

A step that asks every model costs as much for 2,000 silent models as for busy ones, and after the
last row of a log there are a month of steps. What is computed here follows from the model's counts,
facts and registry entries, and holds until one of them changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from driftline.schemas.times import DAY_MS
from driftline.streams.lanes import ARRIVALS, DECISIONS, NO_MODEL, TRAFFIC
from driftline.streams.measure.counts.model import MeasuredModel
from driftline.streams.measure.facts.to_registry import reference_span
from driftline.streams.measure.timing.windows import WindowPlan

NEVER_MS: Final = 1 << 62


def quiet_traffic_until(
    model: MeasuredModel, plan: WindowPlan, seen: Sequence[str], now_ms: int, pane_ms: int
) -> int:
    """First edge of the traffic lane with work for a model that is not watched for silence.

    Parameters
    ----------
    seen
        Versions with traffic before `now_ms`.
    now_ms
        The edge that was processed; returned if the next one has to be processed too.
    """
    if model.name == NO_MODEL:
        return NEVER_MS
    facts = model.facts
    unseen = [version.first_ms + 1 for name, version in facts.versions.items() if name not in seen]
    if not seen:
        return min(unseen, default=NEVER_MS)
    last_ms = facts.last_pane_ms[TRAFFIC]
    reach_ms = max(window.size_ms + window.step_ms for window in plan.windows)
    if last_ms is not None and now_ms < last_ms + pane_ms + reach_ms:
        return now_ms
    references = [
        reference_span(model, name, facts.versions[name]).end_ms
        for name in seen
        if not facts.versions[name].reference_made
    ]
    drift = []
    registered = [model.registry.versions.get(name) for name in seen]
    if any(entry is not None and entry.reference_id is not None for entry in registered):
        step_ms = plan.detection.step_ms
        drift = [(now_ms // step_ms + 1) * step_ms]
    return min([*unseen, *references, *drift, next_drop(model, TRAFFIC, plan.longest_ms)])


def quiet_main_until(
    model: MeasuredModel,
    plan: WindowPlan,
    lanes: frozenset[int],
    seen: Sequence[str],
    now_ms: int,
    pane_ms: int,
) -> int:
    """First edge of the decisions and arrivals lanes with work for a model.

    Parameters
    ----------
    lanes
        The lanes that are on.
    seen, now_ms
        As in `quiet_traffic_until`.
    """
    facts, ladder = model.facts, model.config.maturity
    candidates = [
        version.first_ms + 1 for name, version in facts.versions.items() if name not in seen
    ]
    steps_ms = max(window.step_ms for window in plan.windows)
    last_ms = facts.last_pane_ms[DECISIONS]
    if DECISIONS in lanes and last_ms is not None:
        reach_ms = max(plan.longest_ms, plan.since_step_ms) + max(steps_ms, plan.since_step_ms)
        if now_ms < last_ms + pane_ms + reach_ms + plan.since_step_ms + ladder[-1].ms:
            return now_ms
        candidates += [
            reference_span(model, name, version).end_ms + ladder[version.baselines].ms
            for name in seen
            if (version := facts.versions[name]).baselines < len(ladder)
        ]
        candidates.append(next_drop(model, DECISIONS, decisions_kept_ms(model, plan)))
    last_ms = facts.last_pane_ms[ARRIVALS]
    if ARRIVALS in lanes and last_ms is not None:
        reach_ms = max(plan.longest_ms, plan.last_n_step_ms) + max(steps_ms, plan.last_n_step_ms)
        if now_ms < last_ms + pane_ms + reach_ms + plan.last_n_step_ms:
            return now_ms
        candidates.append(next_drop(model, ARRIVALS, plan.longest_ms))
    return min(candidates, default=NEVER_MS)


def decisions_kept_ms(model: MeasuredModel, plan: WindowPlan) -> int:
    """How long panes of the decisions lane are kept."""
    return plan.longest_ms + model.config.maturity[-1].ms + DAY_MS


def next_drop(model: MeasuredModel, lane: int, kept_ms: int) -> int:
    """First edge at which panes are dropped that are kept for `kept_ms`."""
    facts = model.facts
    first_ms, last_ms = facts.first_pane_ms[lane], facts.last_pane_ms[lane]
    if first_ms is None or last_ms is None or last_ms < facts.kept_from_ms[lane]:
        return NEVER_MS
    dropped_ms = max(facts.kept_from_ms[lane], first_ms)
    next_ms = (dropped_ms // DAY_MS + 1) * DAY_MS
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
