"""The share of the final labels that is known at each rung, from the windows that are final.

Summed over the versions of a model by window and segment, and over the windows that begin in the 28
days up to the last final one: how late labels come is a matter of the model's truths, and a new
version need not wait a horizon to know it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from driftline.schemas.times import DAY_MS
from driftline.streams.measure.counts.count_table import Ints
from driftline.streams.measure.counts.model import MeasuredModel
from driftline.streams.measure.state_keys import COMPLETENESS, state_key
from driftline.streams.stage import State

DAYS: Final = 28

Sums = dict[str, list[int]]
"""Outcomes with a label in force at each rung, by segment."""


class Completeness:
    """Sums of all models by window and day; what is in memory can be read again from `State`."""

    def __init__(self) -> None:
        self._days: dict[tuple[int, str], dict[int, Sums]] = {}
        self._totals: dict[tuple[int, str], Sums] = {}
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
        """Take in a window that became final: by_rung has shape (S, R), one row per entry of
        `segments`, which may repeat.
        """
        day = start_ms // DAY_MS
        days, totals = self._loaded(model, window, day, state)
        sums = days.setdefault(day, {})
        for segment, row in zip(segments, by_rung.tolist(), strict=True):
            for into in (sums, totals):
                held = into.get(segment)
                into[segment] = (
                    row if held is None else [a + b for a, b in zip(held, row, strict=True)]
                )
        state.put(_key(model, window, day), _encode(sums))
        self._shares.pop((model.number, window), None)

    def shares(
        self, model: MeasuredModel, window: str, last_final_ms: int, state: State
    ) -> Mapping[str, Sequence[float]]:
        """n(rung) / n(last rung) of each rung, by segment; segments without any outcome in a final
        window are left out.

        Parameters
        ----------
        last_final_ms
            Start of the last window that is final by now, whether it held anything or not.
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
    ) -> tuple[dict[int, Sums], Sums]:
        """Sums by day of the 28 days up to `day`, and of all of them."""
        key = (model.number, window)
        days = self._days.get(key)
        if days is None:
            wanted = range(max(day - DAYS + 1, 0), day + 1)
            held = state.get_many([_key(model, window, wanted_day) for wanted_day in wanted])
            days = {
                wanted_day: _decode(data)
                for wanted_day, data in zip(wanted, held, strict=True)
                if data is not None
            }
            totals: Sums = {}
            for sums in days.values():
                for segment, row in sums.items():
                    before = totals.get(segment)
                    totals[segment] = (
                        row if before is None else [a + b for a, b in zip(before, row, strict=True)]
                    )
            self._days[key], self._totals[key] = days, totals
        totals = self._totals[key]
        for old in [old for old in days if old <= day - DAYS]:
            for segment, row in days.pop(old).items():
                left = [a - b for a, b in zip(totals[segment], row, strict=True)]
                if any(left):
                    totals[segment] = left
                else:
                    del totals[segment]
            state.delete(_key(model, window, old))
            self._shares.pop(key, None)
        return days, totals


def _key(model: MeasuredModel, window: str, day: int) -> bytes:
    return state_key(COMPLETENESS, model.number, day) + window.encode()


_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode = msgspec.msgpack.Decoder(dict[str, list[int]]).decode
