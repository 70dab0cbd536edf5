"""Partials of stage 1, translated into the numbers of this stage and added to the panes: all of a
batch in one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, groupby
from operator import itemgetter
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from driftline.streams import lanes
from driftline.streams.lanes import ALL, LANE_NAMES, NO_LABEL, PREDICTED_NEGATIVE
from driftline.streams.masks import any_true
from driftline.streams.measure.counts.count_table import (
    A_BITS,
    A_SHIFT,
    B_BITS,
    MEASURE_SHIFT,
    RUNG_SHIFT,
    SERIES_SHIFT,
    Ints,
)
from driftline.streams.measure.counts.dense_layout import ANOTHER, LABEL_IN_A, NONE
from driftline.streams.measure.counts.model import MeasuredModel, StreamVersion
from driftline.streams.measure.counts.panes import Panes
from driftline.streams.partial import Partial
from driftline.streams.stage import State

_LANES: Final = len(LANE_NAMES)
_NEVER: Final = np.iinfo(np.int64).max
_NONE: Final = np.zeros(0, np.int64)


class ModelPart(NamedTuple):
    """The series of one model in a partial."""

    model: MeasuredModel
    partial: Partial


class Increments(NamedTuple):
    """Rows added to the panes, columns of shape (N,); parameters as those of `Panes.add`."""

    models: Sequence[MeasuredModel]
    model: Ints
    lane: Ints
    pane: Ints
    keys: Ints
    counts: Ints


class ReceivedPartials:
    """Partials of a batch, with the numbers that this stage knows their series by.

    Parameters
    ----------
    model_of
        The model of a name.

    Attributes
    ----------
    partials, parts
        The partials, and the models of one after another.
    part, number
        Shape (S,), of the series of one partial after another: which of the parts it is of, and its
        number in the model.
    """

    def __init__(
        self, partials: Sequence[Partial], model_of: Callable[[str], MeasuredModel], state: State
    ) -> None:
        self.partials = partials
        self.parts: list[ModelPart] = []
        numbers = [_NONE]
        for partial in partials:
            for name, series in groupby(partial.series, itemgetter(0)):
                model = model_of(name)
                self.parts.append(ModelPart(model, partial))
                numbers.append(
                    model.series_numbers(
                        [(version, segment) for _, version, segment in series], state
                    )
                )
        self.number = np.concatenate(numbers)
        self.part = np.repeat(np.arange(len(self.parts)), [len(each) for each in numbers[1:]])
        self._begin = _offsets([partial.series for partial in partials])

    @property
    def models(self) -> list[MeasuredModel]:
        """All models, by first appearance."""
        return list({part.model.number: part.model for part in self.parts}.values())

    def places(self, lengths: Sequence[int], series: NDArray[np.generic]) -> Ints:
        """Index in `part` and `number` of the series of each row, shape (N,).

        Parameters
        ----------
        lengths
            How many rows each partial has.
        series
            Shape (N,): the series by its number in the partial.
        """
        return np.repeat(self._begin, lengths) + series.astype(np.int64)


def add_counts(
    received: ReceivedPartials,
    panes: Panes,
    first_lane: int,
    state: State,
) -> Increments | None:
    """Add the counts of all partials of a batch, with one write per model and bucket of time that
    they touch.

    Parameters
    ----------
    first_lane
        The lane in which a version shows itself first.
    Returns
    -------
    Increments
        The rows that were added; None without any.
    """
    partials = received.partials
    lengths = [len(partial.counts["pane"]) for partial in partials]
    if not any(lengths):
        return None
    columns = {
        name: np.concatenate([partial.counts[name] for partial in partials])
        for name in partials[0].counts
    }
    at = received.places(lengths, columns["series"])
    part, series = received.part[at], received.number[at]
    a, b, measure = (
        columns["a"].astype(np.int64),
        columns["b"].astype(np.int64),
        columns["measure"].astype(np.int64),
    )
    labelled, cells = LABEL_IN_A[measure], measure == lanes.CELLS
    if any_true(labelled):
        codes, parts = (
            np.concatenate((a[labelled], b[cells])),
            np.concatenate((part[labelled], part[cells])),
        )
        numbers = labels_of(received.parts, parts, codes, state)
        split = len(numbers) - int(cells.sum())
        a[labelled], b[cells] = numbers[:split], numbers[split:]
    if int(b.max()) >> B_BITS or int(a.max()) >> A_BITS:
        raise ValueError(
            f"measure: an index of a count does not fit {A_BITS} bits; stage 1 is of another release"
        )
    lane, pane = columns["lane"].astype(np.int64), columns["pane"].astype(np.int64, copy=False)
    _first_sights(received, at, np.where(lane == first_lane, pane, _NEVER))
    models = received.models
    place = {model.number: place for place, model in enumerate(models)}
    model = np.array([place[part.model.number] for part in received.parts], np.int64)[part]
    keys = columns["rung"].astype(np.int64) << RUNG_SHIFT
    keys |= series << SERIES_SHIFT
    keys |= measure << MEASURE_SHIFT
    keys |= a << A_SHIFT
    keys |= b
    counts = columns["count"].astype(np.int64, copy=False)
    for gained in panes.add(
        [model.number for model in models], model, lane, pane, keys, counts, state
    ):
        models[gained.model].saw(gained.lane, gained.first_ms, gained.last_ms)
    return Increments(models, model, lane, pane, keys, counts)


def labels_of(parts: Sequence[ModelPart], part: Ints, codes: Ints, state: State) -> Ints:
    """The model's number of each label code, both of shape (N,), of rows of some `parts`.

    Partials list labels that are not their model's, which get none.
    """
    labels = [partial.labels for _, partial in parts]
    offsets = _offsets(labels)
    numbers = codes - NO_LABEL + NONE
    named = codes < NO_LABEL
    places = offsets[part[named]] + codes[named]
    used = np.flatnonzero(np.bincount(places))
    number_of = np.zeros(int(used[-1]) + 1 if len(used) else 0, np.int64)
    for place, owner in zip(
        used.tolist(), (np.searchsorted(offsets, used, side="right") - 1).tolist(), strict=True
    ):
        (number,) = parts[owner].model.labels.numbers(
            [labels[owner][place - int(offsets[owner])]], state
        )
        number_of[place] = min(number, ANOTHER)
    numbers[named] = number_of[places]
    return numbers


def _offsets(parts: Sequence[Sequence[object]]) -> Ints:
    """Where each part begins in all of them together; parts without anything are passed over by a
    search from the right.
    """
    lengths = np.array([len(part) for part in parts], np.int64)
    return np.cumsum(lengths) - lengths


def _first_sights(received: ReceivedPartials, at: Ints, pane: Ints) -> None:
    """Remember the first pane of each version, of rows of the series `at`, shape (N,); _NEVER for a
    row that tells of none.
    """
    # Rows of a series mostly follow each other.
    begins = np.flatnonzero(np.diff(at, prepend=-1))
    earliest = np.full(len(received.part), _NEVER)
    np.minimum.at(earliest, at[begins], np.minimum.reduceat(pane, begins))
    series = chain.from_iterable(partial.series for partial in received.partials)
    for (_, version, segment), part, first_ms in zip(
        series, received.part.tolist(), earliest.tolist(), strict=True
    ):
        if segment != ALL or first_ms == _NEVER:
            continue
        versions = received.parts[part].model.facts.versions
        held = versions.get(version)
        if held is None:
            versions[version] = StreamVersion(first_ms)
        else:
            held.first_ms = min(held.first_ms, first_ms)


assert PREDICTED_NEGATIVE - NO_LABEL + NONE < 1 << A_BITS
