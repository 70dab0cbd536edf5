"""Drift of versions without traffic: judged while there are rows, then more and more seldom."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from driftline.agents.inprocess.replay import replay
from driftline.schemas.config import parse_config
from driftline.schemas.times import DAY_MS, HOUR_MS, format_time, parse_time

BEGIN = 20_458 * DAY_MS  # 2026-01-05
DAYS = 100
NOW = BEGIN + 400 * DAY_MS
CONFIG = parse_config(
    '[defaults]\nwindows = ["1d", "3d/1d"]\nmaturity = ["1h"]\nlabel_horizon = "1d"\n'
    'correction_horizon = "1d"\npark = "1d"\nreference = "2d"\n'
)


def judged_days(
    folder: Path, version_days: dict[str, Iterable[int]], promoted: str | None = None
) -> dict[str, list[int]]:
    """Days at the end of the windows with drift records, by version; day 0 is the first one.

    `version_days` names the days on which each version has an hourly prediction. The version
    `promoted` goes to production on day 3.
    """
    times = sorted(
        (BEGIN + day * DAY_MS + hour * HOUR_MS, version)
        for version, days in version_days.items()
        for day in days
        for hour in range(24)
    )
    folder.mkdir()
    lines = [
        json.dumps(
            {
                "prediction_id": f"{version}-{time_ms}",
                "model_name": "m",
                "model_version": version,
                "prediction": "yes",
                "score": 0.5 + time_ms // HOUR_MS % 24 / 100,
                "timestamp": format_time(time_ms),
            }
        )
        for time_ms, version in times
    ]
    (folder / "predictions.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "ground-truth.jsonl").write_text("")
    if promoted is not None:
        command = {
            "command_id": "c1",
            "command": "promote",
            "model_name": "m",
            "model_version": promoted,
            "timestamp": format_time(BEGIN + 3 * DAY_MS),
            "requested_by": "ada",
            "params": {"to": "production"},
        }
        (folder / "registry-commands.jsonl").write_text(json.dumps(command) + "\n")
    replay(folder, folder / "out", CONFIG, partitions=1, clock=lambda: NOW)
    ends: dict[str, set[int]] = {version: set() for version in version_days}
    for line in (folder / "out" / "drift.jsonl").read_text().splitlines():
        drift = json.loads(line)
        ends[drift["model_version"]].add((parse_time(drift["window_end"]) - BEGIN) // DAY_MS)
    return {version: sorted(days) for version, days in ends.items()}


def test_a_silent_version_is_judged_for_thirty_days(tmp_path: Path) -> None:
    days = judged_days(tmp_path / "log", {"1": range(10), "2": range(DAYS)})
    # The reference ends after day 2, so the first window after it ends with day 3. The last
    # windows with rows of version 2 end two days after its last row.
    assert days == {"1": list(range(3, 40)), "2": list(range(3, DAYS + 3))}


def test_a_silent_version_in_production_is_judged_more_and_more_seldom(tmp_path: Path) -> None:
    days = judged_days(tmp_path / "log", {"1": range(10), "2": range(DAYS)}, promoted="1")
    # Silence begins at day 10: 48 days of it one by one, up to 96 every second day. The log ends
    # an hour before day 100.
    assert days["1"] == [*range(3, 58), *range(58, DAYS, 2)]


def test_a_first_row_thirty_years_behind_makes_no_drift_records_of_thirty_years(
    tmp_path: Path,
) -> None:
    days = judged_days(tmp_path / "log", {"1": (-11_000, *range(10))})
    # Thirty days after that row, then ten days of rows and the two windows after them.
    assert days == {"1": [*range(-10_997, -10_969), *range(1, 13)]}
