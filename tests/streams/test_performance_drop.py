"""The rule `performance_drop` in stage 3: when it fires, what it says, when it resolves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.alert_commands import AlertCommand
from driftline.schemas.results import WindowFigures, encode
from driftline.schemas.settings import Config, ModelConfig, ReferenceSpan
from driftline.schemas.times import DAY_MS, HOUR_MS
from driftline.streams.decide import Decide
from driftline.streams.decide.alert_acts import ReceivedCommand
from driftline.streams.decide.rule import MetricRule
from driftline.streams.decide.rule_builder import build_rules
from driftline.streams.decide.rules.performance_drop import PerformanceDropRule
from driftline.streams.stage import Batch
from tests.streams.figures import START_MS, drift, entry, metric

RULES = ({"type": "performance_drop"},)
STEADY = (77, 64, 23, 19)  # negatives and right ones, positives and right ones: 0.83 of both


def arrivals(
    day: int,
    negatives: int,
    right_negatives: int,
    positives: int,
    right_positives: int,
    **more: Any,
) -> WindowFigures:
    """Labels that became known on a day."""
    matrix = [
        [right_negatives, negatives - right_negatives],
        [positives - right_positives, right_positives],
    ]
    fields: dict[str, Any] = {
        "lane": "arrivals",
        "maturity": None,
        "labels": ["no", "yes"],
        "positive_label": "yes",
        "matrix": matrix,
        "n": negatives + positives,
        "delay_ms": 0,
    }
    return metric(START_MS + (day + 1) * DAY_MS, {}, **(fields | more))


class Run:
    """Feeds records to stage 3 and collects what it emits."""

    def __init__(self, rules: Sequence[dict[str, Any]] = RULES, **settings: Any) -> None:
        config = ModelConfig(rules=tuple(rules), default_rules=False, **settings)
        self.stage, self.state = Decide(Config(defaults=config)), MemoryState()
        self.emitted: list[Any] = []

    def feed(self, *records: Any, topic: str = "metrics") -> list[Any]:
        found = self.stage.process(Batch(records={topic: list(records)}), self.state)
        emitted = [record.value for record in found]
        self.emitted += emitted
        return emitted


def days(first: int, last: int, counts: tuple[int, int, int, int]) -> list[WindowFigures]:
    return [arrivals(day, *counts) for day in range(first, last)]


def test_a_fall_of_recall_fires_once_and_says_when_it_began_and_how_large_it_is() -> None:
    run = Run()
    assert run.feed(*days(0, 50, STEADY)) == []
    # From day 50 on 12 of 23 positives are found in place of 19.
    (fired,) = run.feed(*days(50, 60, (77, 64, 23, 12)))
    assert (fired.rule, fired.status, fired.severity) == ("performance_drop", "firing", "critical")
    days_since = (fired.at_ms - START_MS) // DAY_MS - 50
    assert 1 <= days_since <= 6
    assert fired.metric == "recall"
    assert fired.baseline == pytest.approx(19 / 23)
    assert fired.value == pytest.approx(12 / 23)
    assert (fired.n, fired.comparator, fired.window) == (23 * days_since, "<", "1d")
    assert fired.threshold == pytest.approx(19 / 23 * 0.95)
    assert fired.ci[0] < 12 / 23 < fired.ci[1]
    details = fired.details
    assert details["changed_at"] == "2026-02-20T00:00:00Z"  # 50 days after 2026-01-01
    assert details["relative_change"] == pytest.approx(-7 / 19)
    assert details["relative_change_ci"][0] < -7 / 19 < details["relative_change_ci"][1] < -0.05
    assert details["recalls"]["no"]["since"] == pytest.approx(64 / 77)
    assert details["recalls"]["yes"]["n_before"] == 23 * 50
    assert details["false_alarms_per_year"] == 0.25
    assert details["statistic"] >= details["statistic_limit"] == 365.25 / 0.25
    assert fired.summary.startswith("Recall of churn 1.0.0 fell from about 2026-02-20 on: 0.522 [")
    assert "37 % below 0.826 of 1,150 rows before" in fired.summary
    assert fired.summary.endswith("; specificity is 0.831 as before.")


def test_a_trade_between_the_classes_is_a_warning_that_names_both() -> None:
    run = Run()
    run.feed(*days(0, 50, STEADY))
    # Specificity falls by 0.21, recall rises by 0.13: half of it and more.
    (fired,) = run.feed(*days(50, 65, (77, 48, 23, 22)))
    assert (fired.status, fired.severity, fired.metric) == ("firing", "warning", "specificity")
    assert fired.details["relative_change"] == pytest.approx(-0.25)
    assert fired.summary.endswith("; recall rose from 0.826 to 0.957.")
    # Recall rises by 0.04 only: less than half of it.
    other = Run()
    other.feed(*days(0, 50, STEADY))
    (fired,) = other.feed(*days(50, 65, (77, 48, 23, 20)))
    assert (fired.status, fired.severity, fired.metric) == ("firing", "critical", "specificity")


def test_a_fall_in_both_classes_is_one_of_all_rows() -> None:
    run = Run()
    run.feed(*days(0, 60, STEADY))
    (fired,) = run.feed(*days(60, 90, (77, 58, 23, 17)))  # 0.75
    assert fired.metric == "standardized_accuracy"
    assert fired.value == pytest.approx(0.75, abs=0.01)
    assert fired.summary.startswith("Standardized accuracy of churn 1.0.0 fell")


def test_another_base_rate_and_a_rise_do_not_fire() -> None:
    run = Run()
    run.feed(*days(0, 60, STEADY))
    # Accuracy falls from 0.83 to 0.61, but only because negatives, of whom fewer are right, come.
    other = Run()
    other.feed(*days(0, 60, (20, 12, 80, 72)))
    assert other.feed(*days(60, 160, (80, 48, 20, 18))) == []
    assert run.feed(*days(60, 160, (77, 70, 23, 22))) == []


def test_the_first_thirty_days_are_not_judged() -> None:
    run = Run()
    run.feed(*days(0, 15, STEADY))
    assert run.feed(*days(15, 30, (77, 40, 23, 8))) == []


def test_the_baseline_is_as_long_as_the_reference() -> None:
    fall = days(10, 14, (77, 40, 23, 8))
    run = Run(reference=ReferenceSpan(span_ms=10 * DAY_MS))
    run.feed(*days(0, 10, STEADY))
    (fired,) = run.feed(*fall)
    assert fired.baseline == pytest.approx(64 / 77, abs=0.01)
    assert fired.details["changed_at"] == "2026-01-11T00:00:00Z"
    other = Run(({"type": "performance_drop", "baseline": "14d"},))
    assert other.feed(*days(0, 10, STEADY), *fall) == []


@pytest.mark.parametrize(
    ("reference", "baseline"),
    [
        (ReferenceSpan(span_ms=14 * DAY_MS), "14d"),
        (ReferenceSpan(span_ms=90 * DAY_MS), "30d"),
        (ReferenceSpan(span_ms=DAY_MS), "7d"),
        (ReferenceSpan(from_ms=5 * DAY_MS, to_ms=26 * DAY_MS), "21d"),
    ],
)
def test_length_of_the_baseline(reference: ReferenceSpan, baseline: str) -> None:
    config = ModelConfig(reference=reference, rules=RULES, default_rules=False)
    (rule,) = build_rules(config)
    assert isinstance(rule, PerformanceDropRule)
    assert rule.baseline == baseline


@pytest.mark.parametrize("baseline", ["6d", "36h", "10 days or so"])
def test_a_wrong_length_of_the_baseline_is_refused(baseline: str) -> None:
    rules = ({"type": "performance_drop", "baseline": baseline},)
    with pytest.raises(ValueError, match=r"rules\[0\].baseline: "):
        build_rules(ModelConfig(rules=rules))


def test_drift_says_whether_performance_is_judged_yet() -> None:
    rules = (*RULES, {"type": "drift"})
    for since, words in ((20, "performance is not judged yet"), (40, "performance did not move")):
        run = Run(rules)
        run.feed(*days(0, since, STEADY))
        for end in (since, since + 1, since + 2):
            run.feed(drift(START_MS + end * DAY_MS, "feature:age", "severe"), topic="drift")
            run.feed(*days(end, end + 1, STEADY))
        (fired,) = run.emitted
        assert words in fired.summary


def test_the_alert_resolves_when_performance_is_back_and_fires_again_later() -> None:
    run = Run()
    run.feed(*days(0, 60, STEADY), *days(60, 80, (77, 64, 23, 12)))
    (fired,) = run.emitted
    (resolved,) = run.feed(*days(80, 110, STEADY))
    assert (resolved.status, resolved.alert_id) == ("resolved", fired.alert_id)
    assert (resolved.at_ms - START_MS) // DAY_MS - 80 <= 7
    assert resolved.summary.startswith("Recall of churn 1.0.0 is back from about 2026-03-22 on")
    assert resolved.details["recalls"]["yes"]["n_before"] == 23 * 60
    # What came between does not count as usual: the baseline is as before.
    (again,) = run.feed(*days(110, 125, (77, 64, 23, 12)))
    assert again.baseline == pytest.approx(19 / 23)
    assert again.details["changed_at"] == "2026-04-21T00:00:00Z"


def test_an_alert_stays_while_performance_stays_low_and_escalates_with_the_loss() -> None:
    run = Run()
    run.feed(*days(0, 60, STEADY))
    run.feed(*days(60, 150, (77, 59, 23, 18)))  # 8 % and 5 % less
    assert [(alert.status, alert.severity) for alert in run.emitted] == [("firing", "warning")]
    run.feed(*days(150, 350, (77, 40, 23, 12)))
    assert [(alert.status, alert.severity) for alert in run.emitted] == [
        ("firing", "warning"),
        ("firing", "critical"),
    ]


def test_another_threshold_begins_a_new_baseline() -> None:
    run = Run()
    run.feed(entry(threshold=0.5), topic="registry")
    run.feed(*days(0, 60, STEADY))
    run.feed(entry(threshold=0.7, revision=2), topic="registry")
    assert run.feed(*days(60, 120, (77, 70, 23, 12))) == []
    (fired,) = run.feed(*days(120, 130, (77, 70, 23, 5)))
    assert fired.baseline == pytest.approx(12 / 23)


def test_another_threshold_resolves_an_open_alert() -> None:
    run = Run()
    run.feed(*days(0, 60, STEADY), *days(60, 70, (77, 64, 23, 8)))
    run.feed(entry(threshold=0.7), topic="registry")
    (resolved,) = run.feed(*days(70, 72, STEADY))
    assert resolved.status == "resolved"
    assert "has a new baseline, since the threshold changed" in resolved.summary


def test_one_class_of_three_is_named() -> None:
    def three(day: int, right: int) -> WindowFigures:
        matrix = [[27, 3, 0], [2, 36, 2], [20 - right, 0, right]]
        return arrivals(
            day, 0, 0, 0, 0, labels=["a", "b", "c"], matrix=matrix, positive_label=None, n=90
        )

    run = Run()
    run.feed(*(three(day, 16) for day in range(50)))
    (fired,) = run.feed(*(three(day, 9) for day in range(50, 60)))
    assert fired.summary.startswith("Recall of c of churn 1.0.0 fell from about 2026-02-20 on")
    assert fired.metric == "recall"


def test_an_archived_version_leaves_no_state() -> None:
    run = Run()
    run.feed(*days(0, 40, STEADY))
    run.feed(entry(stage="archived"), topic="registry")
    assert not any(b"WatchedHistories" in key for key in run.state.values)


def test_only_tumbling_windows_are_read() -> None:
    with pytest.raises(ValueError, match='"7d/1d" is not a tumbling window'):
        Run(rules=({"type": "performance_drop", "window": "7d/1d"},))
    with pytest.raises(ValueError, match="have to ascend"):
        Run(rules=({"type": "performance_drop", "warning": 0.2},))


def test_a_model_without_tumbling_windows_has_no_such_rule() -> None:
    (window,) = (each for each in ModelConfig().windows if each.name == "7d/1d")
    rules = {rule.name: rule for rule in build_rules(ModelConfig(windows=(window,)))}
    rule = rules["performance_drop"]
    assert isinstance(rule, MetricRule)
    assert rule.window is None


def outcomes(rng: np.random.Generator) -> list[WindowFigures]:
    """160 days in hours: a fall on day 70, back on day 110; some hours and days without labels."""
    records = []
    for hour in range(160 * 24):
        if rng.random() < 0.2 or hour // 24 % 13 == 5:
            continue
        rate = 0.6 if 70 <= hour // 24 < 110 else 0.83
        negatives, positives = (int(rng.integers(0, each)) for each in (9, 4))
        end_ms = START_MS + (hour + 1) * HOUR_MS
        counts = (
            negatives,
            int(rng.binomial(negatives, rate)),
            positives,
            int(rng.binomial(positives, rate)),
        )
        record = arrivals(0, *counts, window="1h", size_ms=HOUR_MS)
        record.window_start_ms = type(record.window_start_ms)(end_ms - HOUR_MS)
        record.window_end_ms = record.complete_at_ms = type(record.window_end_ms)(end_ms)
        records.append(record)
    return records


def test_alerts_and_state_do_not_depend_on_how_batches_are_cut_nor_on_repetition() -> None:
    seed = 17
    rng = np.random.default_rng(seed)
    records = outcomes(rng)
    rules = ({"type": "performance_drop", "window": "1h"},)
    whole = Run(rules=rules)
    whole.feed(*records)
    expected = [encode(alert) for alert in whole.emitted]
    assert [alert.status for alert in whole.emitted] == ["firing", "resolved"], f"seed {seed}"
    for _ in range(3):
        run, place = Run(rules=rules), 0
        while place < len(records):
            size = int(rng.integers(1, 200))
            run.feed(*records[place : place + size])
            if rng.random() < 0.3:  # an announcement that comes again changes nothing
                run.feed(*records[max(place - 5, 0) : place + size])
            place += size
        assert [encode(alert) for alert in run.emitted] == expected, f"seed {seed}"
        assert run.state.values == whole.state.values


def test_an_accepted_level_is_the_baseline_from_the_begin_of_the_change_on() -> None:
    run = Run()
    low = (77, 64, 23, 12)
    run.feed(*days(0, 50, STEADY))
    (fired,) = run.feed(*days(50, 70, low))
    command = AlertCommand(
        command_id="c1",
        command="accept",
        model_name="churn",
        timestamp="2026-03-12T00:00:00Z",
        requested_by="ann",
        params={"fingerprint": fired.fingerprint},
    )
    answer, ended = run.feed(ReceivedCommand(command, 0), topic="alert-commands")
    assert (answer.event, ended.change, ended.status) == ("accept", "accepted", "resolved")
    # 20 of the 30 days of the new baseline are there: 10 more are not judged, the level is kept.
    assert run.feed(*days(70, 120, low)) == []
    (again,) = run.feed(*days(120, 150, (77, 64, 23, 6)))
    assert again.status == "firing"
    assert again.baseline == pytest.approx(12 / 23)
    assert again.details["recalls"]["yes"]["n_before"] == 23 * 70  # days 50 to 120
