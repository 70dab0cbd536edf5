"""Alert rules as plug-ins and in the configuration: discovery, validation, and error messages with
the path.
"""

from __future__ import annotations

from typing import Any

import pytest

from driftline.schemas.reports import SUBJECTS, WorkerMetrics
from driftline.schemas.settings import ModelConfig, parse_window
from driftline.schemas.times import DAY_MS, HOUR_MS, EpochMs
from driftline.streams.decide import build_rules
from driftline.streams.decide.alert_lifecycle import Run
from driftline.streams.decide.daily_variance import Days, widened
from driftline.streams.decide.judgement import (
    DriftWindow,
    JobStanding,
    Measurement,
    OpenEpisodes,
    SeriesOutcomes,
    Situation,
    TunerEvaluation,
)
from driftline.streams.decide.outcome_rule import OutcomeRule
from driftline.streams.decide.rule import MetricRule, Rule
from driftline.streams.decide.rule_builder import DEFAULT_RULES, rule_plugins
from tests.streams.figures import START_MS, metric

LEAST: dict[str, dict[str, Any]] = {
    "composite": {"all": ["other"]},
    "system": {"metric": "disk", "warning": 0.9},
    "threshold": {"metric": "f1", "below": 0.8},
    "traffic": {"above": 1000.0},
    "tuning_stagnation": {"worse_than": 0.8},
}


# No rows, no results, no open alert.
NOTHING: dict[str, Measurement] = {
    "metrics": metric(START_MS, {}, n=0, n_predictions=0, label_coverage=None),
    "drift": DriftWindow(
        model_name="churn",
        model_version="1.0.0",
        segment="all",
        window="7d/1d",
        window_start_ms=EpochMs.of("2026-01-01T00:00:00Z"),
        window_end_ms=EpochMs.of("2026-01-08T00:00:00Z"),
    ),
    "tuning": TunerEvaluation(
        model_name="churn",
        model_version="1.0.0",
        segment="all",
        window_start_ms=START_MS,
        window_end_ms=START_MS + 28 * DAY_MS,
        every_ms=7 * DAY_MS,
        at_ms=START_MS + 28 * DAY_MS,
        window="1d",
        maturity=None,
        metric="f1",
        higher_is_better=True,
        n=0,
        threshold=0.5,
    ),
    "outcomes": SeriesOutcomes(
        model_name="churn",
        model_version="1.0.0",
        segment="all",
        start_ms=START_MS,
        end_ms=START_MS + HOUR_MS,
    ),
    "workers": WorkerMetrics(
        worker="w1", timestamp="2026-01-01T00:00:00Z", host="h1", interval_s=60
    ),
    "jobs": JobStanding(job="nightly", at_ms=START_MS, failures=0, since_ms=0, has_succeeded=False),
    "alerts": OpenEpisodes(
        model_name="churn", model_version="1.0.0", segment="all", at_ms=START_MS
    ),
}


def build(*tables: dict[str, Any], **settings: Any) -> tuple[Rule, ...]:
    return build_rules(
        ModelConfig(rules=tables, default_rules=False, **settings), "models.churn.rules"
    )


@pytest.mark.parametrize("kind", sorted(rule_plugins()))
def test_each_rule_type_is_documented_and_judges_nothing_as_unclear(kind: str) -> None:
    reads = rule_plugins()[kind].reads
    subject = reads if reads in SUBJECTS.values() else "model"
    other = {"type": "no_data"} if subject == "model" else {"type": "composite", "any": [kind]}
    rule, _ = build(
        {"type": kind} | LEAST.get(kind, {}), other | {"name": "other"}, subject=subject
    )
    assert rule.kind == kind == rule.name
    assert type(rule).__struct_config__.frozen
    doc = type(rule).__doc__ or ""
    assert "Parameters" in doc
    assert ">>>" in doc
    for field in rule.__struct_fields__:
        bases = [
            base.__doc__ or "" for base in (Rule, MetricRule, OutcomeRule) if isinstance(rule, base)
        ]
        assert any(field in text for text in (doc, *bases)), field
    situation, empty = Situation(config=ModelConfig()), NOTHING[rule.reads]
    before = rule.judge(empty, situation)
    assert before.verdict == ("clear" if rule.reads in ("alerts", "jobs") else "unclear")
    assert rule.judge(empty, situation) == before
    for other in NOTHING.keys() - {rule.reads}:
        with pytest.raises(TypeError):
            rule.judge(NOTHING[other], situation)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"type": "treshold"},
            'models.churn.rules[0].type: "treshold" is not a type of rule; known are adwin, '
            "composite, coverage, data_quality",
        ),
        ({}, 'models.churn.rules[0].type: "" is not a type of rule'),
        (
            {"type": "threshold", "metric": "f1", "belo": 0.8},
            'models.churn.rules[0]: the key "belo" is not known here',
        ),
        ({"type": "threshold", "below": 0.8}, 'models.churn.rules[0]: the key "metric" is missing'),
        (
            {"type": "threshold", "metric": "f1", "below": "low"},
            "models.churn.rules[0].below: has to be a number, not a string",
        ),
        (
            {"type": "threshold", "metric": "f1", "below": True},
            "models.churn.rules[0].below: has to be a number, not true or false",
        ),
        (
            {"type": "threshold", "metric": "f1", "below": 0.8, "min_samples": 1.5},
            "models.churn.rules[0].min_samples: has to be an integer, not a number",
        ),
        (
            {"type": "threshold", "metric": "f1", "below": [1]},
            "models.churn.rules[0].below: has to be a number, not an array",
        ),
        (
            {"type": "threshold", "metric": "f1", "below": {"a": 1}},
            "models.churn.rules[0].below: has to be a number, not a table",
        ),
        (
            {"type": "threshold", "metric": "f1"},
            "models.churn.rules[0].below: a threshold needs exactly one of below and above",
        ),
        (
            {"type": "threshold", "metric": "f1", "below": 1, "above": 2},
            "models.churn.rules[0].below: a threshold needs exactly one",
        ),
        (
            {"type": "threshold", "metric": "f1", "below": 80},
            'models.churn.rules[0].below: 80.0 lies outside [0, 1]; "f1" is a share, not a '
            "percentage",
        ),
        (
            {"type": "error_rate", "warning": 0.2},
            "models.churn.rules[0].warning: warning 0.2 and critical 0.15 have to ascend",
        ),
        (
            {"type": "latency", "warning_ms": 200.0, "clear_ms": 300.0},
            "models.churn.rules[0].warning_ms: clear_ms 300.0, warning_ms 200.0 and critical_ms "
            "5000.0 have to ascend",
        ),
        (
            {"type": "degradation", "warning": 0.03},
            "models.churn.rules[0].warning: clear 0.04, warning 0.03 and critical 0.1 have to "
            "ascend",
        ),
        (
            {"type": "threshold", "metric": "f1", "below": 0.8, "clear": 0.7},
            "models.churn.rules[0].clear: 0.7 lies where the alert fires",
        ),
        (
            {"type": "threshold", "metric": "f2", "below": 0.8},
            'models.churn.rules[0].metric: "f2" is not known; known are accuracy',
        ),
        (
            {"type": "threshold", "metric": "f1", "below": 0.8, "lane": "traffic"},
            "models.churn.rules[0].lane: ",
        ),
        (
            {"type": "threshold", "metric": "f1", "below": 0.8, "window": "2h"},
            'models.churn.rules[0].window: "2h" is not kept for this model',
        ),
        (
            {"type": "threshold", "metric": "f1", "below": 0.8, "window": "soon"},
            "models.churn.rules[0].window: 'soon' is not a duration",
        ),
        (
            {"type": "threshold", "metric": "f1", "below": 0.8, "maturity": "2h"},
            'models.churn.rules[0].maturity: "2h" is not a rung',
        ),
        (
            {"type": "threshold", "metric": "f1", "below": 0.8, "segment": "plan"},
            'models.churn.rules[0].segment: "plan" is neither "all"',
        ),
        (
            {"type": "threshold", "metric": "f1", "below": 0.8, "for": 0},
            "models.churn.rules[0].for: 0 windows in a row",
        ),
        (
            {"type": "threshold", "metric": "f1", "below": 0.8, "for": "soon"},
            "models.churn.rules[0].for: 'soon' is not a duration",
        ),
        (
            {"type": "threshold", "metric": "f1", "below": 0.8, "cool_down": "-1h"},
            "models.churn.rules[0].cool_down: ",
        ),
        (
            {"type": "threshold", "metric": "f1", "below": 0.8, "severity": "fatal"},
            'models.churn.rules[0].severity: "fatal" is none of the words that are known here',
        ),
        (
            {"type": "error_rate", "maturity": "1d"},
            "models.churn.rules[0].maturity: the traffic lane has no maturity",
        ),
        (
            {"type": "degradation", "segment": "plan=*"},
            'models.churn.rules[0].segment: baselines are recorded for "all" only',
        ),
        (
            {"type": "degradation", "metric": "error_rate"},
            'models.churn.rules[0].metric: "error_rate" is not computed in the decisions lane',
        ),
        ({"type": "no_data", "silence": "1x"}, "models.churn.rules[0].silence: "),
        (
            {"type": "latency", "warning_ms": 0},
            "models.churn.rules[0].warning_ms: has to be a number > 0.0",
        ),
    ],
)
def test_an_invalid_rule_is_rejected_with_its_path(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as raised:
        build(table, segments=("plan",))
    assert str(raised.value).startswith(message)


def test_two_rules_with_one_name_are_rejected_and_a_default_rule_is_replaced() -> None:
    rule = {"type": "error_rate", "warning": 0.01}
    with pytest.raises(
        ValueError, match=r'^models\.churn\.rules\[1\]\.name: "error_rate" is another rule\'s name'
    ):
        build(rule, rule)
    rules = {rule.name: rule for rule in build_rules(ModelConfig(rules=(rule,)))}
    assert len(rules) == len(DEFAULT_RULES)
    assert rules["error_rate"].warning == 0.01  # type: ignore[attr-defined]


def test_windows_and_rungs_get_their_canonical_names() -> None:
    (rule,) = build(
        {"type": "threshold", "metric": "f1", "below": 0.8, "window": "24h", "maturity": "24h"}
    )
    assert isinstance(rule, MetricRule)
    assert (rule.window, rule.maturity) == ("1d", "1d")


def test_default_rules_choose_from_the_windows_of_the_model() -> None:
    windows = tuple(parse_window(text) for text in ("5m", "12h/6h", "30d/1d"))
    config = ModelConfig(windows=windows)
    rules = {r.name: r.windows(config) for r in build_rules(config) if isinstance(r, MetricRule)}
    assert rules == {
        "no_data": ("5m",),
        "no_labels": ("5m",),
        "error_rate": ("5m",),
        "latency": ("5m",),
        "coverage": ("12h/6h", "30d/1d"),
        "performance_drop": ("5m",),
    }


def test_a_run_is_long_enough_by_the_time_that_its_windows_cover() -> None:
    (rule,) = build(
        {"type": "threshold", "metric": "throughput", "above": 1000, "window": "1h", "for": "2h"}
    )
    assert not rule.is_long_enough(Run(1, 0), 3_600_000)
    assert rule.is_long_enough(Run(2, 0), 7_200_000)


def test_variance_between_days_needs_five_days_and_28_are_kept() -> None:
    days = Days()
    for day in range(40):
        assert (days.variance("f1") is not None) == (len(days.values.get("f1", ())) >= 5)
        days = days.with_day(day * DAY_MS, {"f1": 0.5 + day % 2 * 0.1, "mcc": None}, ("f1", "mcc"))
    assert [end for end, _ in days.values["f1"]] == [day * DAY_MS for day in range(12, 40)]
    assert "mcc" not in days.values


def test_an_interval_is_never_narrower_than_that_of_the_counts() -> None:
    alone = widened(
        0.5,
        (0.4, 0.6),
        window_ms=DAY_MS,
        baseline_ci=None,
        baseline_ms=None,
        daily_variance=None,
        freedom=0,
    )
    assert alone == pytest.approx((0.4, 0.6))
    calm = widened(
        0.5,
        (0.4, 0.6),
        window_ms=DAY_MS,
        baseline_ci=(0.49, 0.51),
        baseline_ms=30 * DAY_MS,
        daily_variance=1e-9,
        freedom=1000,
    )
    assert calm[0] < 0.4
    assert calm[1] > 0.6
