"""Partials of stage 1, translated into the numbers of stage 2 and added to the panes.

All partials of a batch go through in one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, groupby
from operator import itemgetter
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from driftline.streams import lanes
from driftline.streams.lanes import ALL, NO_LABEL, OTHER_LABEL, PREDICTED_NEGATIVE
from driftline.streams.masks import any_true
from driftline.streams.measure.counts.dense_layout import ANOTHER, LABEL_IN_A, NONE
from driftline.streams.measure.counts.model import MeasuredModel, StreamVersion
from driftline.streams.measure.counts.packed_key import A_BITS, B_BITS, Ints, pack_keys
from driftline.streams.measure.counts.panes import Panes
from driftline.streams.partial import Partial
from driftline.streams.stage import State
from driftline.streams.work_slices import WorkSlices

_NEVER: Final = np.iinfo(np.int64).max
_NO_NUMBERS: Final = np.zeros(0, np.int64)


class ModelPart(NamedTuple):
    """The series of one model in a partial."""

    model: MeasuredModel
    partial: Partial


class PaneIncrements(NamedTuple):
    """Rows added to the panes, columns of shape (N,); parameters as those of `Panes.add`."""

    models: Sequence[MeasuredModel]
    model: Ints
    lane: Ints
    pane: Ints
    keys: Ints
    counts: Ints


class ReceivedPartials:
    """Partials of a batch, with the numbers of their series in stage 2.

    Parameters
    ----------
    model_of
        Returns the model of a name.

    Attributes
    ----------
    partials, parts
        The partials, and the models of one partial after another.
    part, number
        Shape (S,), for the series of one partial after another: index into `parts`, and the number
        of the series in its model.
    """

    def __init__(
        self, partials: Sequence[Partial], model_of: Callable[[str], MeasuredModel], state: State
    ) -> None:
        self.partials = partials
        self.parts: list[ModelPart] = []
        numbers = [_NO_NUMBERS]
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

    @property
    def model_numbers(self) -> Ints:
        """Number of the model of each part."""
        return np.array([part.model.number for part in self.parts], np.int64)

    def places(self, lengths: Sequence[int], series: NDArray[np.generic]) -> Ints:
        """Index into `part` and `number` for the series of each row, shape (N,).

        Parameters
        ----------
        lengths
            Number of rows of each partial.
        series
            Shape (N,): number of the series in its partial.
        """
        return np.repeat(self._begin, lengths) + series.astype(np.int64)


def add_counts(
    received: ReceivedPartials, panes: Panes, first_lane: int, state: State
) -> WorkSlices[PaneIncrements | None]:
    """Add the counts of all partials of a batch to the panes, in slices.

    Also notes the first pane of each version, and the panes of each model that gained counts.

    Parameters
    ----------
    first_lane
        The lane in which a version appears first.

    Returns
    -------
    PaneIncrements
        The rows that were added; None without any.

    Raises
    ------
    ValueError
        If an index of a count does not fit a packed key: another release wrote the partial.
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
    a, b, measure = (columns[name].astype(np.int64) for name in ("a", "b", "measure"))
    has_label, is_cell = LABEL_IN_A[measure], measure == lanes.CELLS
    if any_true(has_label):
        codes = np.concatenate((a[has_label], b[is_cell]))
        owners = np.concatenate((part[has_label], part[is_cell]))
        numbers = label_numbers(received.parts, owners, codes, state)
        split = len(numbers) - int(is_cell.sum())
        a[has_label], b[is_cell] = numbers[:split], numbers[split:]
    if int(b.max()) >> B_BITS or int(a.max()) >> A_BITS:
        raise ValueError(
            f"measure: an index of a count on window-partials does not fit {A_BITS} bits; "
            "run the same release in all tasks and replay the log"
        )
    lane, pane = columns["lane"].astype(np.int64), columns["pane"].astype(np.int64, copy=False)
    _note_first_panes(received, at, np.where(lane == first_lane, pane, _NEVER))
    models = received.models
    place = {model.number: place for place, model in enumerate(models)}
    model = np.array([place[part.model.number] for part in received.parts], np.int64)[part]
    keys = pack_keys(
        rung=columns["rung"].astype(np.int64), series=series, measure=measure, a=a, b=b
    )
    counts = columns["count"].astype(np.int64, copy=False)
    numbers_of_models = [each.number for each in models]
    yield
    all_gained = yield from panes.add(numbers_of_models, model, lane, pane, keys, counts, state)
    for gained in all_gained:
        models[gained.model].note_panes(gained.lane, gained.first_ms, gained.last_ms)
    return PaneIncrements(models, model, lane, pane, keys, counts)


def label_numbers(parts: Sequence[ModelPart], part: Ints, codes: Ints, state: State) -> Ints:
    """The model's number of each label code of a partial, shape (N,).

    A partial also lists labels of other models; only labels that rows refer to are numbered.

    Parameters
    ----------
    part, codes
        Shape (N,): index into `parts`, and the label code in its partial.
    """
    labels = [partial.labels for _, partial in parts]
    offsets = _offsets(labels)
    numbers = codes - NO_LABEL + NONE
    has_text = codes < OTHER_LABEL
    places = offsets[part[has_text]] + codes[has_text]
    used = np.flatnonzero(np.bincount(places))
    number_of = np.zeros(int(used[-1]) + 1 if len(used) else 0, np.int64)
    for place, owner in zip(
        used.tolist(), (np.searchsorted(offsets, used, side="right") - 1).tolist(), strict=True
    ):
        (number,) = parts[owner].model.labels.numbers(
            [labels[owner][place - int(offsets[owner])]], state
        )
        number_of[place] = min(number, ANOTHER)
    numbers[has_text] = number_of[places]
    return numbers


def _offsets(parts: Sequence[Sequence[object]]) -> Ints:
    """Where each part begins in the concatenation; a search from the right skips empty parts."""
    lengths = np.array([len(part) for part in parts], np.int64)
    return np.cumsum(lengths) - lengths


def _note_first_panes(received: ReceivedPartials, at: Ints, pane: Ints) -> None:
    """Note the first pane of each version.

    Parameters
    ----------
    at, pane
        Shape (N,): place of the series in `received`, and start of the pane; _NEVER for rows of
        other lanes.
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
        known = versions.get(version)
        if known is None:
            versions[version] = StreamVersion(first_ms)
        else:
            known.first_ms = min(known.first_ms, first_ms)


assert PREDICTED_NEGATIVE - NO_LABEL + NONE < 1 << A_BITS
assert OTHER_LABEL - NO_LABEL + NONE == ANOTHER
