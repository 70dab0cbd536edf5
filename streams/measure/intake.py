"""Partials of stage 1, translated into the numbers of this stage and added to the panes: all of a batch in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams import lanes
from streams.lanes import ALL, LANE_NAMES, NO_LABEL, PREDICTED_NEGATIVE
from streams.measure.layout import ANOTHER, LABEL_IN_A, NONE
from streams.measure.model import Model, Version
from streams.measure.panes import Panes
from streams.measure.provisional import Provisional
from streams.measure.tables import A_BITS, A_SHIFT, B_BITS, MEASURE_SHIFT, RUNG_SHIFT, SERIES_SHIFT, Ints
from streams.partial import Partial
from streams.stage import State

_LANES: Final = len(LANE_NAMES)
_NEVER: Final = np.iinfo(np.int64).max

Received = Sequence[tuple[Model, Partial]]


def add_counts(received: Received, panes: Panes, first_lane: int, state: State, *, shown: Provisional | None = None) -> None:
    """Add the counts of all partials of a batch, with one write per model and bucket of time that they touch.

    Parameters
    ----------
    first_lane
        The lane in which a version shows itself first.
    shown
        Who shows open windows, where somebody does.
    """
    filled = [(model, partial) for model, partial in received if len(partial.counts["pane"])]
    if not filled:
        return
    models = list({model.number: model for model, _ in filled}.values())
    place_of_model = {model.number: place for place, model in enumerate(models)}
    model_of_partial = np.array([place_of_model[model.number] for model, _ in filled], np.int64)
    columns = {name: np.concatenate([partial.counts[name] for _, partial in filled]) for name in filled[0][1].counts}
    lengths = np.array([len(partial.counts["pane"]) for _, partial in filled], np.int64)
    source = np.repeat(np.arange(len(filled)), lengths)
    series = series_of(filled, source, columns["series"], state)
    a, b, measure = columns["a"].astype(np.int64), columns["b"].astype(np.int64), columns["measure"].astype(np.int64)
    labelled, cells = LABEL_IN_A[measure], measure == lanes.CELLS
    if labelled.any():
        codes, sources = np.concatenate((a[labelled], b[cells])), np.concatenate((source[labelled], source[cells]))
        numbers = labels_of(filled, sources, codes, state)
        split = len(numbers) - int(cells.sum())
        a[labelled], b[cells] = numbers[:split], numbers[split:]
    if int(b.max()) >> B_BITS or int(a.max()) >> A_BITS:
        raise ValueError(f"measure: an index of a count does not fit {A_BITS} bits; stage 1 is of another release")
    lane, pane = columns["lane"].astype(np.int64), columns["pane"].astype(np.int64, copy=False)
    _first_sights(filled, columns, (np.cumsum(lengths) - lengths).tolist(), first_lane)
    model = model_of_partial[source]
    keys = columns["rung"].astype(np.int64) << RUNG_SHIFT
    keys |= series << SERIES_SHIFT
    keys |= measure << MEASURE_SHIFT
    keys |= a << A_SHIFT
    keys |= b
    counts = columns["count"].astype(np.int64, copy=False)
    for gained in panes.add([model.number for model in models], model, lane, pane, keys, counts, state):
        models[gained.model].saw(gained.lane, gained.first_ms, gained.last_ms)
    if shown is not None:
        shown.note(models, model, lane, pane, keys, counts)


def series_of(received: Received, source: Ints, series: NDArray[np.generic], state: State) -> Ints:
    """The model's number of each series, shape (N,).

    Parameters
    ----------
    source, series
        Shape (N,): which of the partials, and the series number in it.
    """
    numbers = [model.series_numbers(partial.series, state) for model, partial in received]
    return np.concatenate(numbers)[_offsets(numbers)[source] + series.astype(np.int64)]


def labels_of(received: Received, source: Ints, codes: Ints, state: State) -> Ints:
    """The model's number of each label code, shape (N,); partials list labels that are not their model's, which get none."""
    labels = [partial.labels for _, partial in received]
    offsets = _offsets(labels)
    numbers = codes - NO_LABEL + NONE
    named = codes < NO_LABEL
    places = offsets[source[named]] + codes[named]
    used = np.flatnonzero(np.bincount(places))
    number_of = np.zeros(int(used[-1]) + 1 if len(used) else 0, np.int64)
    for place, owner in zip(used.tolist(), (np.searchsorted(offsets, used, side="right") - 1).tolist(), strict=True):
        (number,) = received[owner][0].labels.numbers([labels[owner][place - int(offsets[owner])]], state)
        number_of[place] = min(number, ANOTHER)
    numbers[named] = number_of[places]
    return numbers


def _offsets(parts: Sequence[Sequence[object] | Ints]) -> Ints:
    """Where each part begins in all of them together; parts without anything are passed over by a search from the right."""
    lengths = np.array([len(part) for part in parts], np.int64)
    return np.cumsum(lengths) - lengths


def _first_sights(received: Received, columns: Mapping[str, NDArray[np.generic]], begins: Sequence[int], first_lane: int) -> None:
    """Remember the first pane of each version; `begins` says where the rows of each partial begin, of which none is empty."""
    pane = np.where(columns["lane"] == first_lane, columns["pane"].astype(np.int64, copy=False), _NEVER)
    earliest = np.minimum.reduceat(pane, begins).tolist()
    for (model, partial), begin, first_ms in zip(received, begins, earliest, strict=True):
        versions = model.facts.versions
        # All of them are known from before, but for the first commits of a model.
        new = [
            (version, number)
            for number, (version, segment) in enumerate(partial.series)
            if segment == ALL and (version not in versions or first_ms < versions[version].first_ms)
        ]
        if not new:
            continue
        first = np.full(len(partial.series), _NEVER, np.int64)
        rows = slice(begin, begin + len(partial.counts["series"]))
        np.minimum.at(first, columns["series"][rows].astype(np.int64), pane[rows])
        for version, number in new:
            held = versions.get(version)
            if first[number] == _NEVER:
                continue
            if held is None:
                versions[version] = Version(int(first[number]))
            else:
                held.first_ms = min(held.first_ms, int(first[number]))


assert PREDICTED_NEGATIVE - NO_LABEL + NONE < 1 << A_BITS
