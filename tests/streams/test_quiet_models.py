"""Steps of time pass over models without work, and the records stay the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from driftline.agents.inprocess.replay import replay
from driftline.schemas.config import parse_config
from driftline.schemas.settings import Config
from driftline.schemas.times import DAY_MS, HOUR_MS, format_time, parse_time
from driftline.streams.lanes import ARRIVALS, DECISIONS, TRAFFIC
from driftline.streams.measure import Measure
from driftline.streams.measure.counts.pane_spans import MOST_SPANS, PaneSpans
from driftline.streams.measure.facts.quiet_models import WorkTimes
from driftline.streams.measure.timing.windows import NEVER_MS, WindowPlan
from driftline.streams.stage import Batch, State
from tests.seeds import quick_and_slow

BEGIN_MS = 1_740_787_200_000
NOW_MS = 1_790_000_000_000
MODELS = 20
CONFIG = """
[defaults]
windows = ["1h", "6h/1h", "1d"]
maturity = ["1h", "6h"]
label_horizon = "1d"
correction_horizon = "1h"
last_n = [3]
[[defaults.rules]]
type = "no_data"
name = "silent"
silence = "3h"
"""


def write_log(folder: Path, seed: int) -> None:
    """A log in which each model has few rows in a part of nine days, with pauses of days."""
    random = Random(seed)
    predictions, truths = [], []
    for number in range(MODELS):
        begin_ms = BEGIN_MS + random.randrange(4 * DAY_MS)
        for row in range(5):
            at_ms = begin_ms + random.choice((0, 0, 4 * DAY_MS)) + random.randrange(6 * HOUR_MS)
            names = {"prediction_id": f"{number}-{row}"}
            predictions.append(
                (
                    at_ms,
                    {
                        **names,
                        "model_name": f"model-{number}",
                        "model_version": str(random.randrange(2)),
                        "prediction": random.choice(("yes", "no")),
                        "score": round(random.random(), 3),
                        "timestamp": format_time(at_ms),
                    },
                )
            )
            truth_ms = at_ms + random.randrange(20 * HOUR_MS)
            label = random.choice(("yes", "no"))
            truths.append((truth_ms, {**names, "label": label, "timestamp": format_time(truth_ms)}))
    folder.mkdir()
    for name, rows in (("predictions", predictions), ("ground-truth", truths)):
        rows.sort(key=lambda row: row[0])
        lines = [json.dumps(value) + "\n" for _, value in rows]
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


def replay_step_by_step(
    log: Path, out: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replay with every step of time, and work for every model in each."""
    with monkeypatch.context() as patch:
        patch.setattr(Measure, "pass_quiet_steps", lambda self, command_ms, state: None)
        asked: list[int] = []

        def everyone(self: WorkTimes, until_ms: Callable[[int], int], now_ms: int) -> list[int]:
            asked.extend(number for number in self._unknown if number not in asked)
            return sorted(asked)

        patch.setattr(WorkTimes, "due", everyone)
        replay(log, out, config, partitions=2, clock=lambda: NOW_MS)


def assert_same_results(out: Path, other: Path) -> None:
    names = sorted(path.name for path in out.glob("*.jsonl"))
    assert names == sorted(path.name for path in other.glob("*.jsonl"))
    for name in names:
        assert (out / name).read_bytes() == (other / name).read_bytes(), name
    assert (out / "metrics.jsonl").stat().st_size


@pytest.mark.parametrize("seed", quick_and_slow([1, 2, 3], 1))
def test_steps_pass_over_models_without_work_and_emit_the_same_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    write_log(tmp_path / "log", seed)
    config = parse_config(CONFIG)
    due = WorkTimes.due
    worked: list[int] = []

    def counted(self: WorkTimes, until_ms: Callable[[int], int], now_ms: int) -> list[int]:
        numbers = due(self, until_ms, now_ms)
        worked.append(len(numbers))
        return numbers

    with monkeypatch.context() as patch:
        patch.setattr(WorkTimes, "due", counted)
        replay(tmp_path / "log", tmp_path / "few", config, partitions=2, clock=lambda: NOW_MS)
    replay_step_by_step(tmp_path / "log", tmp_path / "all", config, monkeypatch)
    assert_same_results(tmp_path / "few", tmp_path / "all")
    # Nine days and a month of steps of an hour in three lanes, of which a model has work in a tenth
    # at most.
    assert sum(worked) < 3 * 39 * 24 * MODELS / 10


def write_lone_row(folder: Path, days: int) -> None:
    """A log in which the first row is so many days before the 60 others, which come by the quarter
    of an hour; each has a truth after an hour and a feature. Commands come between them.
    """
    times_ms = [BEGIN_MS - days * DAY_MS]
    times_ms += [BEGIN_MS + row * HOUR_MS // 4 for row in range(60)]
    predictions, truths = [], []
    for row, at_ms in enumerate(times_ms):
        predictions.append(
            {
                "prediction_id": f"{row}",
                "model_name": "one",
                "model_version": "1",
                "prediction": ("yes", "no")[row % 2],
                "score": (row % 10) / 10,
                "features": {"age": row},
                "timestamp": format_time(at_ms),
            }
        )
        truths.append(
            {
                "prediction_id": f"{row}",
                "label": ("yes", "no")[row % 3 == 0],
                "timestamp": format_time(at_ms + HOUR_MS),
            }
        )
    folder.mkdir()
    for name, rows in (("predictions", predictions), ("ground-truth", truths)):
        (folder / f"{name}.jsonl").write_text(
            "".join(json.dumps(value) + "\n" for value in rows), encoding="utf-8"
        )
    commands = [
        {
            "command_id": f"{number}",
            "command": "register",
            "model_name": "one",
            "model_version": f"{number}",
            "timestamp": format_time(BEGIN_MS - number * 20 * DAY_MS),
            "requested_by": "somebody",
        }
        for number in (3, 2)
    ]
    (folder / "registry-commands.jsonl").write_text(
        "".join(json.dumps(value) + "\n" for value in commands), encoding="utf-8"
    )


def test_a_first_row_long_before_the_others_gives_the_records_of_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lone_row(tmp_path / "log", 80)
    config = parse_config(CONFIG)
    replay(tmp_path / "log", tmp_path / "few", config, partitions=2, clock=lambda: NOW_MS)
    replay_step_by_step(tmp_path / "log", tmp_path / "all", config, monkeypatch)
    assert_same_results(tmp_path / "few", tmp_path / "all")


def test_steps_of_time_are_as_many_as_the_data_need_however_far_apart_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, work = parse_config(CONFIG), Measure.work
    steps: list[int] = []

    def counted(self: Measure, batch: Batch, state: State) -> Any:
        steps[-1] += not batch.records
        return work(self, batch, state)

    monkeypatch.setattr(Measure, "work", counted)
    for days in (0, 365, 40 * 365):
        steps.append(0)
        write_lone_row(tmp_path / f"log-{days}", days)
        out = tmp_path / f"out-{days}"
        replay(tmp_path / f"log-{days}", out, config, partitions=2, clock=lambda: NOW_MS)
    # Of a lone row: its windows, and the empty ones that are announced of a silence of 30 days.
    assert steps[0] < steps[1] < steps[0] + 500
    assert steps[2] == steps[1]


@pytest.mark.parametrize("seed", range(20))
def test_the_next_window_of_some_panes_is_the_first_that_a_step_by_step_search_finds(
    seed: int,
) -> None:
    random = Random(seed)
    config = parse_config(CONFIG)
    plan = WindowPlan(config.defaults, HOUR_MS)
    lane = random.choice((TRAFFIC, DECISIONS, ARRIVALS))
    panes_ms = [BEGIN_MS + random.randrange(100) * HOUR_MS for _ in range(random.randint(1, 6))]
    spans = PaneSpans(HOUR_MS)
    for pane_ms in panes_ms:
        spans.add(pane_ms, pane_ms)

    def is_due(at_ms: int) -> bool:
        """Whether a window with a pane is due between the step before and this one."""
        dues = list(plan.due(lane, at_ms - HOUR_MS, at_ms))
        starts_ms = [(due.start_ms, due.end_ms) for due in dues]
        if lane == DECISIONS:
            since = plan.since_deployment_due(at_ms - HOUR_MS, at_ms)
            starts_ms += [(due.end_ms - plan.since_step_ms, due.end_ms) for due in since]
        return any(start <= pane < end for start, end in starts_ms for pane in panes_ms)

    now_ms = BEGIN_MS
    while (next_ms := spans.next_due(plan.reaches[lane], now_ms)) != NEVER_MS:
        found_ms = next(
            at for at in range(now_ms + HOUR_MS, now_ms + DAY_MS * 9, HOUR_MS) if is_due(at)
        )
        assert next_ms == found_ms
        now_ms = next_ms
    assert not any(is_due(now_ms + hour * HOUR_MS) for hour in range(1, 24 * 9))


def test_beyond_the_limit_the_spans_closest_to_each_other_become_one() -> None:
    spans = PaneSpans(1)
    spans.add(0, 1)
    for number in range(1, MOST_SPANS + 1):
        spans.add(1_000 * number, 1_000 * number + number)
    assert len(spans.spans) == MOST_SPANS
    assert spans.spans[0] == (0, 1)
    last = MOST_SPANS - 1
    assert spans.spans[-1] == (1_000 * last, 1_000 * (last + 1) + last + 1)


def test_empty_windows_of_a_silent_version_are_announced_less_often_as_the_silence_grows(
    tmp_path: Path,
) -> None:
    config = parse_config(CONFIG.replace('silence = "3h"', 'silence = "99h"'))
    log = tmp_path / "log"
    log.mkdir()
    # One model is silent after its first hour; the other one keeps time running for 20 days.
    rows = [("silent", BEGIN_MS)] + [("busy", BEGIN_MS + hour * HOUR_MS) for hour in range(480)]
    lines = [
        {
            "prediction_id": str(number),
            "model_name": model,
            "model_version": "1",
            "prediction": "yes",
            "timestamp": format_time(at_ms),
        }
        for number, (model, at_ms) in enumerate(rows)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (log / "predictions.jsonl").write_text(text, encoding="utf-8")
    (log / "ground-truth.jsonl").write_text("", encoding="utf-8")
    replay(log, tmp_path / "out", config, partitions=2, clock=lambda: NOW_MS)
    empty = []
    for line in (tmp_path / "out" / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        figures = json.loads(line)
        if (
            figures["model_name"] == "silent"
            and figures["window"] == "1h"
            and (figures["lane"], figures["n_predictions"]) == ("traffic", 0)
        ):
            empty.append((parse_time(figures["window_end"]) - BEGIN_MS) // HOUR_MS - 1)
    # Hours of silence: every one up to 48, then every second one up to 96, every fourth up to 192,
    # every eighth up to 384, then every sixteenth.
    told = [
        *range(1, 48),
        *range(48, 96, 2),
        *range(96, 192, 4),
        *range(192, 384, 8),
        *range(384, 479, 16),
    ]
    assert empty == told
    lines_of_alerts = (tmp_path / "out" / "alerts.jsonl").read_text(encoding="utf-8").splitlines()
    (alert,) = (alert for alert in map(json.loads, lines_of_alerts) if alert["rule"] == "silent")
    assert (alert["model_name"], alert["status"]) == ("silent", "firing")
    # At the first announced hour of at least 100 hours of silence.
    assert alert["value"] == 100 * HOUR_MS
