"""The demo's recorded log: each flight once, in event-time order, in the format of the topics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from driftline.agents.demo.flights import Flights
from driftline.agents.demo.log import write_log
from driftline.agents.demo.model import Scored, score_flights
from driftline.schemas.config import load_config
from driftline.schemas.times import parse_time
from tests.agents.demo_small_year import small_year


@pytest.fixture(scope="module")
def year() -> Flights:
    return small_year(seed=0)


@pytest.fixture(scope="module")
def scored(year: Flights) -> Scored:
    return score_flights(year)


@pytest.fixture(scope="module")
def folder(year: Flights, scored: Scored, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write_log(folder / "log", year, scored)
    return folder


def rows(folder: Path, topic: str) -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in (folder / "log" / f"{topic}.jsonl").read_text().splitlines()
    ]


def test_each_flight_has_one_prediction_with_the_inputs_of_the_model(
    folder: Path, year: Flights, scored: Scored
) -> None:
    lines = rows(folder, "predictions")
    assert [line["prediction_id"] for line in lines] == year.prediction_ids()
    assert [parse_time(line["timestamp"]) for line in lines] == year.departure_ms.tolist()
    for k in (0, 1, 57, len(year) - 1):
        line = lines[k]
        assert line["score"] == round(float(scored.score[k]), 4)
        assert line["threshold"] == scored.threshold
        assert line["segment"] == {
            "carrier": year.carrier_names[year.carrier[k]],
            "origin": year.origin_names[year.origin[k]],
        }
        assert line["features"]["hour"] == year.hour[k]
        assert line["features"]["dest"] == year.dest_names[year.dest[k]]
        assert (line["features"]["recent_late_share"] is None) == bool(
            scored.recent_late_share[k] != scored.recent_late_share[k]
        )


def test_each_arrived_flight_has_a_truth_in_order_of_arrival(folder: Path, year: Flights) -> None:
    lines = rows(folder, "ground-truth")
    times = [parse_time(line["timestamp"]) for line in lines]
    assert times == sorted(times)
    truths = {
        line["prediction_id"]: (line["label"], parse_time(line["timestamp"])) for line in lines
    }
    expected = {
        prediction_id: ("late" if late else "on_time", at)
        for prediction_id, late, at, known in zip(
            year.prediction_ids(), year.late, year.truth_ms.tolist(), year.known, strict=True
        )
        if known
    }
    assert truths == expected
    assert len(lines) == len(truths)


def test_model_is_registered_before_its_first_flight_and_promoted_in_april(
    folder: Path, year: Flights, scored: Scored
) -> None:
    register, promote = rows(folder, "registry-commands")
    assert (register["command"], promote["command"]) == ("register", "promote")
    assert parse_time(register["timestamp"]) <= int(year.departure_ms[0])
    assert promote["timestamp"] == "2013-04-01T04:00:00Z"
    assert register["params"]["threshold"] == scored.threshold


def test_configuration_is_valid(folder: Path) -> None:
    config = load_config(folder / "driftline.toml")
    model = config.for_model("flight-delay")
    assert [rung.name for rung in model.maturity] == ["2h", "3h", "4h", "6h", "1d", "2d"]
    assert [window.name for window in model.windows] == ["1d", "7d/1d"]
    assert config.segments == ("carrier", "origin")
    assert model.positive_label == "late"


def test_each_line_is_valid(folder: Path) -> None:
    from driftline.schemas.decode import decode_predictions, decode_truths

    for topic, decode in (("predictions", decode_predictions), ("ground-truth", decode_truths)):
        values = (folder / "log" / f"{topic}.jsonl").read_bytes().splitlines()
        good, _, rejects = decode(values, range(len(values)), None)
        assert not rejects
        assert len(good) == len(values)


def test_same_flights_give_the_same_bytes(folder: Path, year: Flights, tmp_path: Path) -> None:
    write_log(tmp_path / "log", year, score_flights(year))
    for path in sorted((folder / "log").iterdir()):
        assert path.read_bytes() == (tmp_path / "log" / path.name).read_bytes(), path.name
