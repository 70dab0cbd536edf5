"""Steps of time pass over models without work, and the records stay the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from driftline.agents.inprocess.replay import replay
from driftline.schemas.config import parse_config
from driftline.schemas.times import DAY_MS, HOUR_MS, format_time, parse_time
from driftline.streams.lanes import ARRIVALS, DECISIONS, TRAFFIC
from driftline.streams.measure.counts.pane_spans import MOST_SPANS, PaneSpans
from driftline.streams.measure.facts.quiet_models import WorkTimes
from driftline.streams.measure.timing.windows import NEVER_MS, WindowPlan
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


@pytest.mark.parametrize("seed", quick_and_slow([1, 2, 3], 1))
def test_steps_pass_over_models_without_work_and_emit_the_same_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    write_log(tmp_path / "log", seed)
    config = parse_config(CONFIG)
    due = WorkTimes.due
    asked: list[int] = []
    worked: list[int] = []

    def counted(self: WorkTimes, until_ms: Callable[[int], int], now_ms: int) -> list[int]:
        numbers = due(self, until_ms, now_ms)
        worked.append(len(numbers))
        return numbers

    def everyone(self: WorkTimes, until_ms: Callable[[int], int], now_ms: int) -> list[int]:
        asked.extend(number for number in self._unknown if number not in asked)
        return sorted(asked)

    monkeypatch.setattr(WorkTimes, "due", counted)
    replay(tmp_path / "log", tmp_path / "few", config, partitions=2, clock=lambda: NOW_MS)
    monkeypatch.setattr(WorkTimes, "due", everyone)
    replay(tmp_path / "log", tmp_path / "all", config, partitions=2, clock=lambda: NOW_MS)
    names = sorted(path.name for path in (tmp_path / "all").glob("*.jsonl"))
    for name in names:
        few = (tmp_path / "few" / name).read_bytes()
        assert few == (tmp_path / "all" / name).read_bytes(), name
    assert (tmp_path / "few" / "metrics.jsonl").stat().st_size
    # More than a month of steps of an hour, of which a model has work in a tenth at most.
    assert len(worked) > 1_000
    assert sum(worked) < len(worked) * MODELS / 10


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


def test_beyond_the_limit_the_oldest_spans_become_one() -> None:
    spans = PaneSpans(1)
    for number in range(MOST_SPANS + 2):
        spans.add(10 * number, 10 * number + 1)
    assert len(spans.spans) == MOST_SPANS
    assert spans.spans[0] == (0, 21)
    assert spans.spans[-1] == (10 * MOST_SPANS + 10, 10 * MOST_SPANS + 11)


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
