"""Alerts about workers: levels that hold for a time, workers that come and go, and where the rules
are written.
"""

from __future__ import annotations

from typing import Any

import pytest

from driftline.agents.configuration import checked_config
from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.config import ConfigError, build_config, parse_config
from driftline.schemas.reports import WORKERS, WorkerMetrics
from driftline.schemas.results import Alert
from driftline.schemas.settings import Config
from driftline.schemas.times import format_time, parse_time
from driftline.schemas.topics import ALERTS, WORKER_METRICS
from driftline.streams.decide import Decide, build_rules
from driftline.streams.decide.rule_levels import LevelChange, changed_level, rules_in_force
from driftline.streams.stage import Batch

START_MS = parse_time("2026-03-01T00:00:00Z")


def metrics(minute: float, worker: str = "w1", **figures: Any) -> WorkerMetrics:
    at = format_time(START_MS + round(60_000 * minute))
    return WorkerMetrics(
        **({"worker": worker, "timestamp": at, "host": "h1", "interval_s": 60.0} | figures)
    )


def alerts(
    config: Config, reports: list[WorkerMetrics], batches: tuple[int, ...] = ()
) -> list[Alert]:
    """The alerts that reports lead to, cut into batches at these numbers."""
    stage, state, found = Decide(config), MemoryState(), []
    edges = [0, *batches, len(reports)]
    for start, end in zip(edges, edges[1:], strict=False):
        batch = Batch(records={WORKER_METRICS: reports[start:end]})
        found += [each.value for each in stage.process(batch, state) if each.topic == ALERTS]
    return found


def told(found: list[Alert]) -> list[tuple[float, str, str, str, str]]:
    return [
        ((each.at_ms - START_MS) / 60_000, each.segment, each.rule, each.change, each.severity)
        for each in found
    ]


def rule(**fields: Any) -> Config:
    table = {"type": "system", "name": "busy", "metric": "cpu", "warning": 0.8} | fields
    return build_config({"models": {WORKERS: {"default_rules": False, "rules": [table]}}})


def test_a_disk_that_is_nearly_full_for_five_minutes_is_told_by_default_and_when_it_is_not() -> (
    None
):
    shares = [
        0.5,
        0.91,
        0.91,
        0.91,
        0.91,
        0.91,
        0.92,
        0.96,
        0.96,
        0.96,
        0.96,
        0.96,
        0.97,
        0.88,
        0.85,
    ]
    found = alerts(Config(), [metrics(i, disk_share=share) for i, share in enumerate(shares)])
    #   minute 1 ... 6    at or above 0.90 from 1 on, 5 minutes are over at 6
    #   minute 7 ... 12   at or above 0.95
    #   minute 13         below 0.90, above 0.855: the alert stays
    assert told(found) == [
        (6, "worker=w1", "disk", "firing", "warning"),
        (12, "worker=w1", "disk", "escalated", "critical"),
        (14, "worker=w1", "disk", "resolved", "critical"),
    ]
    first = found[0]
    assert (first.model_name, first.model_version) == (WORKERS, "-")
    assert (first.value, first.threshold, first.details) == (0.92, 0.9, {"host": "h1"})
    assert first.summary == (
        "92 % of the disk with the state of worker w1 on h1 is in use, at or above 90 %."
    )


def test_memory_is_told_by_default_from_95_percent_on_and_other_figures_are_not() -> None:
    busy = {"cpu_share": 1.0, "lag_records": 10**9, "received_bytes_s": 1e12}
    found = alerts(Config(), [metrics(i, memory_share=0.94, **busy) for i in range(20)])
    assert found == []
    found = alerts(Config(), [metrics(i, memory_share=0.95, **busy) for i in range(20)])
    assert told(found) == [(5, "worker=w1", "memory", "firing", "critical")]


def test_workers_are_judged_each_by_itself_and_batches_change_nothing() -> None:
    reports = []
    for i in range(12):
        reports.append(metrics(i, "w1", cpu_share=0.9))
        reports.append(metrics(i + 0.5, "w2", cpu_share=0.9 if i != 4 else 0.1))
    found = alerts(rule(), reports)
    assert told(found) == [
        (5, "worker=w1", "busy", "firing", "warning"),
        (10.5, "worker=w2", "busy", "firing", "warning"),
    ]
    for batches in (tuple(range(1, 24)), (7, 8, 20)):
        assert alerts(rule(), reports, batches) == found
    assert told(alerts(rule(segment="worker=w2"), reports)) == told(found)[1:]


def test_rules_that_read_alerts_are_judged_after_each_report_however_batches_are_cut() -> None:
    tables = [
        {"type": "system", "name": name, "metric": metric, "warning": 0.8, "for": "0s"}
        for name, metric in (("busy", "cpu"), ("full", "disk"))
    ]
    both = {"type": "composite", "name": "both", "all": ["busy", "full"], "segment": "worker=*"}
    only = {"type": "composite", "name": "only", "all": ["busy"], "not": ["full"]}
    rules = [*tables, both, only]
    config = build_config({"models": {WORKERS: {"default_rules": False, "rules": rules}}})
    #   The clock of w1 is ahead, so time does not pass with the reports of w2.
    reports = [
        metrics(5, "w1", cpu_share=0.1),
        metrics(1, "w2", cpu_share=0.9),
        metrics(2, "w2", cpu_share=0.9, disk_share=0.9),
        metrics(3, "w2", cpu_share=0.1, disk_share=0.9),
        metrics(4, "w2", cpu_share=0.1, disk_share=0.1),
    ]
    found = alerts(config, reports)
    assert [(at, name, change) for at, _, name, change, _ in told(found)] == [
        (5, "busy", "firing"),
        (5, "only", "firing"),
        (5, "full", "firing"),
        (5, "both", "firing"),
        (5, "only", "resolved"),
        (5, "busy", "resolved"),
        (5, "both", "resolved"),
        (5, "full", "resolved"),
    ]
    for batches in ((1, 2, 3, 4), (2,), (3,)):
        assert alerts(config, reports, batches) == found


def test_a_breach_begins_anew_after_three_intervals_without_a_report() -> None:
    three = [metrics(i, cpu_share=0.9) for i in (0, 1, 4, 5)]
    assert told(alerts(rule(), three)) == [(5, "worker=w1", "busy", "firing", "warning")]
    more = [metrics(i, cpu_share=0.9) for i in (0, 1, 4.1, 5, 9)]
    assert alerts(rule(), more) == []


def test_alert_of_a_worker_that_has_not_reported_for_an_hour_resolves() -> None:
    reports = [metrics(i, cpu_share=0.9) for i in range(6)]
    reports += [metrics(65, "w2"), metrics(65.1, "w2"), metrics(70, cpu_share=0.9)]
    found = alerts(rule(), reports)
    assert told(found) == [
        (5, "worker=w1", "busy", "firing", "warning"),
        (65.1, "worker=w1", "busy", "resolved", "warning"),
    ]
    assert found[-1].summary.startswith("Worker w1 has not reported for an hour;")


def test_late_and_repeated_records_of_a_worker_are_not_judged_and_time_does_not_go_back() -> None:
    reports = [
        metrics(0, cpu_share=0.9),
        metrics(3, "fast"),
        metrics(1, cpu_share=0.9),
        metrics(1, cpu_share=0.1),
        metrics(0.5, cpu_share=0.1),
        metrics(2.5, cpu_share=0.9),
        metrics(5, cpu_share=0.9),
    ]
    found = alerts(rule(**{"for": "2m"}), reports)
    assert told(found) == [(3, "worker=w1", "busy", "firing", "warning")]


def test_a_missing_figure_neither_fires_nor_resolves() -> None:
    values = [0.9] * 6 + [None] * 2 + [0.1]
    found = alerts(rule(), [metrics(i, cpu_share=value) for i, value in enumerate(values)])
    assert [(each[0], each[3]) for each in told(found)] == [(5, "firing"), (8, "resolved")]


@pytest.mark.parametrize(
    ("metric", "figures", "level", "text"),
    [
        (
            "network",
            {"sent_bytes_s": 2e6, "received_bytes_s": 1e6},
            3e6,
            "3,000,000 bytes a second",
        ),
        ("lag", {"lag_records": 5_000}, 1_000, "has not taken 5,000 records"),
        ("rss", {"rss_bytes": 10**9}, 1e9, "holds 1,000,000,000 bytes"),
        ("process_cpu", {"process_cpu": 2.5}, 2, "used 2.5 processors"),
        ("restarts", {"restarts": 4}, 3, "was started again 4 times"),
    ],
)
def test_other_figures_have_levels_too(
    metric: str, figures: dict[str, Any], level: float, text: str
) -> None:
    config = rule(metric=metric, warning=level, **{"for": "0s"})
    (found,) = alerts(config, [metrics(0, **figures)])
    assert text in found.summary


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"warning": 80}, "rules[0].warning: 80.0 lies outside [0, 1]"),
        (
            {"warning": 0.8, "critical": 0.7},
            "rules[0].warning: warning 0.8 and critical 0.7",
        ),
        ({"clear": 0.9}, "rules[0].warning: clear 0.9 and warning 0.8 have to ascend"),
        ({"for": 3}, "rules[0].for: 3: a rule of type system reads no windows; needed is"),
        ({"segment": "plan=pro"}, 'rules[0].segment: "plan=pro" is neither "all" nor of a dim'),
        ({"segment": "all"}, 'rules[0].segment: "all" judges nothing: a report is of one worker'),
        ({"warning": None}, "rules[0].warning: a level is needed"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_with_its_path(
    fields: dict[str, Any], message: str
) -> None:
    table = {"type": "system", "name": "busy", "metric": "cpu", "warning": 0.8} | fields
    table = {key: value for key, value in table.items() if value is not None}
    with pytest.raises(ConfigError) as raised:
        checked_config({"models": {WORKERS: {"rules": [table]}}})
    assert f"models.{WORKERS}.{message}" in str(raised.value)


def test_rules_stand_where_they_belong_and_each_side_takes_its_own_of_the_defaults() -> None:
    system = '[[{}.rules]]\ntype = "system"\nname = "busy"\nmetric = "cpu"\nwarning = 0.8\n'
    with pytest.raises(ConfigError, match=r"models\.churn\.rules\[0\]\.type: .*judges workers"):
        checked_config(parse_config(system.format("models.churn")))
    wrong = f'[[models.{WORKERS}.rules]]\ntype = "no_data"\nname = "still"\n'
    with pytest.raises(ConfigError, match="is a type of rules on models"):
        checked_config(parse_config(wrong))
    both = (
        system.format("defaults") + '[[defaults.rules]]\ntype = "traffic"\nname = "t"\nabove = 1\n'
    )
    both += '[[defaults.rules]]\ntype = "composite"\nname = "c"\nall = ["t"]\n'
    config = checked_config(parse_config(both))
    names = {
        model: [each.name for each in build_rules(config.for_rules(model))]
        for model in ("churn", WORKERS)
    }
    assert names[WORKERS] == ["busy", "disk", "memory"]
    assert names["churn"][:2] == ["t", "c"]
    assert "busy" not in names["churn"]


def test_levels_are_set_by_command_as_those_of_other_rules() -> None:
    config = Config().for_rules(WORKERS)
    change = LevelChange(rule="disk", above=0.8, severity="warning")
    name, values = changed_level(config, {}, change)
    assert (name, values) == ("disk", {"warning": 0.8})
    with pytest.raises(ValueError, match=r"params\.warning: 95.0 lies outside"):
        changed_level(config, {}, LevelChange(rule="disk", above=95.0))
    assert [each.name for each in rules_in_force(config, {})[0]] == ["disk", "memory"]
