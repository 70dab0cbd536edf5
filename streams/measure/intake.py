"""Partials of stage 1, translated into the numbers of this stage and added to the panes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streams import lanes
from streams.lanes import NO_LABEL, PREDICTED_NEGATIVE, PREDICTED_POSITIVE
from streams.measure.layout import ANOTHER, LABEL_IN_A, NEGATIVE, NONE, POSITIVE
from streams.measure.model import Model, Version
from streams.measure.panes import Panes
from streams.measure.tables import A_BITS, A_SHIFT, B_BITS, MEASURE_SHIFT, RUNG_SHIFT, SERIES_SHIFT, Ints
from streams.partial import Partial
from streams.stage import State

_WIRE_CODES = 1 << 16
_UNNAMED = {NO_LABEL: NONE, PREDICTED_POSITIVE: POSITIVE, PREDICTED_NEGATIVE: NEGATIVE}


def add_counts(model: Model, partials: Sequence[Partial], panes: Panes, state: State) -> None:
    """Add the counts of several partials of one model, with one write per bucket of time that they touch."""
    columns = [_translated(model, partial, state) for partial in partials if len(partial.counts["pane"])]
    if not columns:
        return
    lane, pane, keys, counts = (np.concatenate(parts) if len(parts) > 1 else parts[0] for parts in zip(*columns, strict=True))
    for number in range(len(lanes.LANE_NAMES)):
        of_lane = pane[lane == number]
        if len(of_lane):
            model.saw(number, int(of_lane.min()), int(of_lane.max()))
    panes.add(model.number, lane, pane, keys, counts, state)


def _translated(model: Model, partial: Partial, state: State) -> tuple[Ints, Ints, Ints, Ints]:
    """Lane, pane, packed key and increment of each count."""
    columns = partial.counts
    measure, lane = columns["measure"], columns["lane"]
    series = model.series_numbers(partial.series, state)[columns["series"]]
    a, b = columns["a"].astype(np.int64), columns["b"].astype(np.int64)
    labelled, cells = LABEL_IN_A[measure], measure == lanes.CELLS
    if labelled.any():
        a_codes, b_codes = a[labelled], b[cells]
        numbers = label_numbers(model, partial.labels, np.concatenate((a_codes, b_codes)), state)
        a[labelled], b[cells] = numbers[a_codes], numbers[b_codes]
    if len(b) and (int(b.max()) >> B_BITS or int(a.max()) >> A_BITS):
        raise ValueError(f"measure: an index of a count of {model.name!r} does not fit {A_BITS} bits; stage 1 is of another release")
    pane = columns["pane"].astype(np.int64, copy=False)
    _first_sights(model, partial, lane, columns["series"], pane)
    keys = columns["rung"].astype(np.int64) << RUNG_SHIFT
    keys |= series << SERIES_SHIFT
    keys |= measure.astype(np.int64) << MEASURE_SHIFT
    keys |= a << A_SHIFT
    keys |= b
    return lane.astype(np.int64), pane, keys, columns["count"].astype(np.int64, copy=False)


def label_numbers(model: Model, labels: Sequence[str], codes: Ints, state: State) -> Ints:
    """The model's number of each label code that is in `codes`; an array indexed by code."""
    numbers = np.zeros(_WIRE_CODES, np.int64)
    used = np.flatnonzero(np.bincount(codes)).tolist()
    named = [code for code in used if code not in _UNNAMED]
    numbers[named] = np.minimum(np.array(model.labels.numbers([labels[code] for code in named], state), np.int64), ANOTHER)
    for code, number in _UNNAMED.items():
        numbers[code] = number
    return numbers


def _first_sights(model: Model, partial: Partial, lane: np.ndarray, series: np.ndarray, pane: Ints) -> None:
    """Remember the first pane with traffic of each version."""
    traffic = lane == lanes.TRAFFIC
    if not traffic.any():
        return
    pane, series = pane[traffic], series[traffic]
    versions = model.facts.versions
    first = int(pane.min())
    names = list(dict.fromkeys(version for version, _ in partial.series))
    if all(name in versions and versions[name].first_ms <= first for name in names):
        return
    for name in names:
        of_version = np.array([version == name for version, _ in partial.series], np.bool_)[series]
        if not of_version.any():
            continue
        first = int(pane[of_version].min())
        held = versions.get(name)
        if held is None:
            versions[name] = Version(first)
        else:
            held.first_ms = min(held.first_ms, first)
