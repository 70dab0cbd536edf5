"""Completeness: the share of the final labels that is known at each rung, from final windows.

Summed over the versions of a model by window and segment, and over the windows that start in the 28
days up to the last final one. The delay of labels is a property of the model's truths, so a new
version has a completeness before its first window is final.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from driftline.schemas.times import DAY_MS
from driftline.streams.measure.counts.model import MeasuredModel
from driftline.streams.measure.counts.packed_key import Ints
from driftline.streams.measure.state_keys import COMPLETENESS, state_key
from driftline.streams.stage import State

DAYS: Final = 28

RungSums = dict[str, list[int]]
"""By segment: outcomes with a label in force at each rung."""


class Completeness:
    """Sums of all models by window and day, a cache of `State`."""

    def __init__(self) -> None:
        self._days: dict[tuple[int, str], dict[int, RungSums]] = {}
        self._totals: dict[tuple[int, str], RungSums] = {}
        self._shares: dict[tuple[int, str], Mapping[str, Sequence[float]]] = {}

    def add(
        self,
        model: MeasuredModel,
        window: str,
        start_ms: int,
        segments: list[str],
        by_rung: Ints,
        state: State,
    ) -> None:
        """Add a window that became final.

        Parameters
        ----------
        segments
            Segment of each row, S of them; may be repeated.
        by_rung
            Shape (S, R): outcomes with a label in force at each rung.
        """
        day = start_ms // DAY_MS
        days, totals = self._loaded(model, window, day, state)
        sums = days.setdefault(day, {})
        for segment, row in zip(segments, by_rung.tolist(), strict=True):
            for target in (sums, totals):
                before = target.get(segment)
                target[segment] = row if before is None else _added(before, row)
        state.put(_key(model, window, day), _encode(sums))
        self._shares.pop((model.number, window), None)

    def shares(
        self, model: MeasuredModel, window: str, last_final_ms: int, state: State
    ) -> Mapping[str, Sequence[float]]:
        """By segment, n(rung) / n(last rung) of each rung.

        Segments without any outcome in a final window are left out.

        Parameters
        ----------
        last_final_ms
            Start of the last window that is final by now, empty or not.
        """
        _, totals = self._loaded(model, window, last_final_ms // DAY_MS, state)
        shares = self._shares.get((model.number, window))
        if shares is None:
            shares = {
                segment: [round(n / row[-1], 6) for n in row]
                for segment, row in totals.items()
                if row[-1]
            }
            self._shares[model.number, window] = shares
        return shares

    def _loaded(
        self, model: MeasuredModel, window: str, day: int, state: State
    ) -> tuple[dict[int, RungSums], RungSums]:
        """Sums by day of the 28 days up to `day`, and their total."""
        key = (model.number, window)
        days = self._days.get(key)
        if days is None:
            wanted = range(max(day - DAYS + 1, 0), day + 1)
            values = state.get_many([_key(model, window, wanted_day) for wanted_day in wanted])
            days = {
                wanted_day: _decode(data)
                for wanted_day, data in zip(wanted, values, strict=True)
                if data is not None
            }
            totals: RungSums = {}
            for sums in days.values():
                for segment, row in sums.items():
                    before = totals.get(segment)
                    totals[segment] = row if before is None else _added(before, row)
            self._days[key], self._totals[key] = days, totals
        totals = self._totals[key]
        for old in [old for old in days if old <= day - DAYS]:
            for segment, row in days.pop(old).items():
                total = totals.get(segment)
                if total is None:  # taken away with another day; this one has no label
                    continue
                left = [a - b for a, b in zip(total, row, strict=True)]
                if any(left):
                    totals[segment] = left
                else:
                    del totals[segment]
            state.delete(_key(model, window, old))
            self._shares.pop(key, None)
        return days, totals


def _added(one: Sequence[int], other: Sequence[int]) -> list[int]:
    return [a + b for a, b in zip(one, other, strict=True)]


def _key(model: MeasuredModel, window: str, day: int) -> bytes:
    return state_key(COMPLETENESS, model.number, day) + window.encode()


_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode = msgspec.msgpack.Decoder(dict[str, list[int]]).decode
