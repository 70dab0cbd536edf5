"""Alerts about scheduled jobs: runs that fail in a row, and jobs that do not succeed in time."""

from __future__ import annotations

import json
from typing import Any

import pytest

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.config import build_config
from driftline.schemas.decode import decode_job_runs
from driftline.schemas.reports import JOBS, JobRun
from driftline.schemas.results import Alert
from driftline.schemas.settings import Config
from driftline.schemas.times import format_time, parse_time
from driftline.schemas.topics import ALERTS, JOB_RUNS
from driftline.streams.decide import Decide
from driftline.streams.stage import Batch

START_MS = parse_time("2026-03-01T00:00:00Z")


def run(hour: float, status: str, job: str = "nightly", **fields: Any) -> JobRun:
    at = format_time(START_MS + round(3_600_000 * hour))
    return JobRun(**({"job": job, "timestamp": at, "status": status} | fields))


def alerts(
    runs: list[JobRun], config: Config | None = None, batches: tuple[int, ...] = ()
) -> list[Alert]:
    """The alerts that runs lead to, cut into batches at these numbers."""
    stage, state, found = Decide(config or Config()), MemoryState(), []
    edges = [0, *batches, len(runs)]
    for start, end in zip(edges, edges[1:], strict=False):
        batch = Batch(records={JOB_RUNS: runs[start:end]})
        found += [each.value for each in stage.process(batch, state) if each.topic == ALERTS]
    return found


def told(found: list[Alert]) -> list[tuple[float, str, str]]:
    return [
        ((each.at_ms - START_MS) / 3_600_000, each.segment.removeprefix("job="), each.change)
        for each in found
    ]


def rule(**fields: Any) -> Config:
    table = {"type": "failed_job", "name": "failed_job"} | fields
    return build_config({"models": {JOBS: {"rules": [table]}}})


def test_three_failures_in_a_row_are_critical_by_default_and_a_success_resolves() -> None:
    #   - failed, + succeeded
    runs = [run(i, "succeeded" if s == "+" else "failed") for i, s in enumerate("--+----+")]
    runs[5].message = "out of\nmemory"
    found = alerts(runs)
    assert told(found) == [(5, "nightly", "firing"), (7, "nightly", "resolved")]
    first = found[0]
    assert (first.model_name, first.model_version, first.rule) == (JOBS, "-", "failed_job")
    assert (first.severity, first.value, first.threshold) == ("critical", 3, 3)
    assert first.summary == "Job nightly failed 3 times in a row (last: out of memory)."
    assert first.details == {
        "job": "nightly",
        "last_success": "2026-03-01T02:00:00Z",
        "message": "out of\nmemory",
    }
    for batches in (tuple(range(1, 8)), (6,)):
        assert alerts(runs, batches=batches) == found


def test_running_and_the_same_end_again_count_for_nothing_and_a_retry_does() -> None:
    runs = [
        run(0, "failed", run_id="a"),
        run(1, "failed", run_id="a"),
        run(2, "running", run_id="b"),
        run(3, "failed", run_id="b"),
        run(4, "succeeded", run_id="b"),
        run(5, "failed", run_id="c"),
        run(6, "failed", run_id="d"),
    ]
    assert alerts(runs) == []
    assert told(alerts([*runs, run(7, "failed", run_id="e")])) == [(7, "nightly", "firing")]
    # Without an id each is a run of its own.
    assert told(alerts([run(0, "failed")] * 3)) == [(0, "nightly", "firing")]


def test_a_job_that_reports_nothing_is_overdue_as_time_passes() -> None:
    runs = [run(0, "succeeded", interval="1d")]
    runs += [run(hour, "time", "w1") for hour in range(1, 60)]
    runs += [run(60, "succeeded"), run(97, "time", "w1"), run(98, "failed")]
    found = alerts(runs)
    #   last success at 0, the interval is 24 hours: more than 36 hours at 37; then at 60, and 97
    assert told(found) == [
        (37, "nightly", "firing"),
        (60, "nightly", "resolved"),
        (97, "nightly", "firing"),
    ]
    assert found[0].summary == (
        "Job nightly has not succeeded since 2026-03-01, for longer than 1.5 times its interval "
        "of 1d."
    )


def test_a_job_that_never_succeeded_counts_from_its_first_report_and_failures_join() -> None:
    runs = [run(0, "running", interval="2h"), run(4, "time", "w1")]
    runs += [run(5 + i, "failed") for i in range(3)]
    found = alerts(runs)
    assert told(found) == [(4, "nightly", "firing"), (7, "nightly", "joined")]
    assert "has never succeeded since 2026-03-01, for longer" in found[0].summary
    assert found[1].details["joined"] == ["failed"]


def test_jobs_are_judged_each_by_itself_and_by_the_rule_for_it() -> None:
    table = {"type": "failed_job", "failures": 1, "severity": "warning"}
    config = build_config(
        {
            "models": {
                JOBS: {
                    "rules": [
                        table | {"name": "failed_job"},
                        table | {"name": "often", "segment": "job=b", "failures": 2},
                    ]
                }
            }
        }
    )
    runs = [run(i, "failed", job) for i in range(2) for job in ("a", "b")]
    found = [(each.segment, each.rule, each.severity) for each in alerts(runs, config)]
    assert found == [
        ("job=a", "failed_job", "warning"),
        ("job=b", "failed_job", "warning"),
        ("job=b", "often", "warning"),
    ]


def test_a_job_that_is_removed_is_forgotten_and_begins_anew() -> None:
    runs = [run(i, "failed", interval="1h") for i in range(3)]
    runs += [run(3, "removed"), run(100, "time", "w1"), run(101, "failed"), run(200, "time", "w1")]
    found = alerts(runs)
    assert told(found) == [
        (2, "nightly", "firing"),
        (3, "nightly", "resolved"),
    ]
    assert found[1].summary.startswith("Job nightly is no longer run;")


def test_time_does_not_go_back_and_a_restated_interval_holds_from_then_on() -> None:
    runs = [
        run(10, "succeeded", interval="1h"),
        run(2, "failed"),
        run(11, "running", interval="1d"),
        run(40, "time", "w1"),
    ]
    assert alerts(runs) == []
    assert told(alerts([*runs, run(47, "time", "w1")])) == [(47, "nightly", "firing")]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"status": "done"}, "Invalid enum value 'done' - at `$.status`"),
        ({"interval": "soon"}, "soon"),
        ({"interval": "0s"}, "interval is '0s', needed a duration above zero"),
        ({"started": "yesterday"}, "yesterday"),
        ({"job": ""}, "Expected `str` of length >= 1 - at `$.job`"),
    ],
)
def test_a_report_that_makes_no_sense_is_rejected(fields: dict[str, Any], message: str) -> None:
    value = {"job": "a", "status": "failed", "timestamp": "2026-03-01T00:00:00Z"} | fields
    runs, _, (reject,) = decode_job_runs([json.dumps(value).encode()], [0])
    assert runs == []
    assert "the report is not accepted" in reject.error
    assert message in reject.error


def test_times_of_a_run_may_have_any_offset() -> None:
    value = {
        "job": "a",
        "status": "succeeded",
        "timestamp": "2026-03-01T02:00:00+01:00",
        "ended": "2026-03-01T01:59:00+01:00",
        "interval": "1d",
    }
    (found,), _, _ = decode_job_runs([json.dumps(value).encode()], [0])
    assert (found.timestamp, found.ended) == ("2026-03-01T01:00:00Z", "2026-03-01T00:59:00Z")
