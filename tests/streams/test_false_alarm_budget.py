"""The budget of false alarms: its parts, and what is spent over segments."""

from __future__ import annotations

from typing import Any

import pytest

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.config import ConfigError, parse_config
from driftline.schemas.settings import Config, ModelConfig
from driftline.schemas.times import DAY_MS
from driftline.streams.decide import Decide, build_rules
from driftline.streams.decide.false_alarm_budget import SHARES
from driftline.streams.decide.judgement import Situation
from driftline.streams.decide.rule_builder import DEFAULT_RULES
from driftline.streams.decide.rules.performance_drop import PerformanceDropRule
from driftline.streams.stage import Batch
from tests.streams.figures import START_MS, drift, metric


def budgets(**settings: Any) -> dict[str, float]:
    return {
        rule.name: rule.budget
        for rule in build_rules(ModelConfig(**settings))
        if rule.budget is not None
    }


def test_the_shares_of_the_default_rules_are_the_whole_budget() -> None:
    assert [rule.kind for rule in DEFAULT_RULES if rule.kind not in SHARES] == []
    assert len(SHARES) == len(DEFAULT_RULES)
    assert sum(SHARES.values()) == pytest.approx(1.0)


def test_a_default_rule_takes_its_part_of_the_model_s_budget_and_an_own_one_in_place_of_it() -> (
    None
):
    assert budgets()["performance_drop"] == 0.25
    twice = budgets(false_alarms_per_year=2.0)
    assert {name: twice[name] / part for name, part in budgets().items()} == dict.fromkeys(
        twice, 2.0
    )
    own = ({"type": "data_quality", "false_alarms": 3.0},)
    assert budgets(rules=own, false_alarms_per_year=2.0) == twice | {"data_quality": 3.0}


@pytest.mark.parametrize("text", ["0", "-1", "1001", '"1"', "true", "nan"])
def test_a_budget_that_is_no_positive_number_is_refused_with_its_path(text: str) -> None:
    with pytest.raises(ConfigError, match=r"models\.churn\.false_alarms_per_year: is "):
        parse_config(f"[models.churn]\nfalse_alarms_per_year = {text}")
    config = parse_config("[models.churn]\nfalse_alarms_per_year = 2")
    assert config.for_model("churn").false_alarms_per_year == 2.0


def test_the_limit_of_performance_drop_by_hand() -> None:
    rule = PerformanceDropRule().bound(ModelConfig())
    # A judgement a day: 365.25 / 0.25, and four times as much for four segments.
    situations = [Situation(config=ModelConfig(), segments=segments) for segments in (1, 4)]
    assert [rule.limit(situation) for situation in situations] == [1461.0, 5844.0]


def records(segment: str, week: int, p_value: float) -> list[Any]:
    """Two shares of features in a window."""
    return [
        drift(
            START_MS + week * DAY_MS,
            f"feature:f{number}",
            "mild",
            method="missing",
            p_value=p_value,
            segment=segment,
            details={"missing_share": 0.04, "reference_missing_share": 0.01},
        )
        for number in range(2)
    ]


def test_the_part_of_data_quality_is_spent_over_windows_features_and_segments() -> None:
    rule = {"type": "data_quality", "for": 1, "segment": "plan=*", "false_alarms": 0.5}
    settings = ModelConfig(rules=(rule,), segments=("plan",), default_rules=False)
    stage, state = Decide(Config(defaults=settings)), MemoryState()
    # 365.25 windows a year, and a seventh as many whose rows are gathered:
    # 417.4. With two features 0.5 / 834.9 = 0.000599 for one segment, half of it for each of two.
    alone, of_two = 0.5 / 730.5 / (8 / 7), 0.25 / 730.5 / (8 / 7)

    def fired(day: int, p_values: dict[str, float]) -> dict[str, Any]:
        drifts = [each for name, p in p_values.items() for each in records(name, day, p)]
        stage.process(Batch(records={"drift": drifts}), state)
        # A window is judged once time has passed its end.
        later = metric(START_MS + day * DAY_MS, {}, delay_ms=1)
        found = stage.process(Batch(records={"metrics": [later]}), state)
        alerts = [record.value for record in found]
        assert all(alert.details["false_alarms_per_year"] == 0.5 for alert in alerts)
        return {alert.segment: alert.details["p_value_limit"] for alert in alerts}

    assert fired(1, {"plan=pro": 0.9 * alone}) == {"plan=pro": pytest.approx(alone)}
    # From the second window on there are two.
    assert fired(2, {"plan=pro": 0.9, "plan=free": 0.9 * alone}) == {}
    assert fired(3, {"plan=free": 0.9 * of_two}) == {"plan=free": pytest.approx(of_two)}
