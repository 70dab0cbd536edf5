"""Rules over the open alerts of others: held to slow code, for any order and cut of the records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.schemas.results import Alert, encode
from driftline.schemas.settings import ModelConfig
from driftline.schemas.times import DAY_MS
from driftline.streams.decide import build_rules
from tests.streams.figures import START_MS, entry, metric
from tests.streams.test_decide import Run

PARTS = ("a", "b", "c")
LANES = {"a": ("decisions", "f1"), "b": ("arrivals", "accuracy"), "c": ("traffic", "error_rate")}
VERSIONS = ("1.0.0", "1.1.0")


def part(name: str, **more: Any) -> dict[str, Any]:
    """A rule that is open while the figure of its lane is at the bad end."""
    lane, figure = LANES[name]
    level = {"above": 0.5} if lane == "traffic" else {"below": 0.5}
    rung = {"maturity": "1d"} if lane == "decisions" else {}
    table = {"type": "threshold", "name": name, "metric": figure, "lane": lane, "window": "1d"}
    return table | level | rung | more


def record(day: int, name: str, is_bad: bool, version: str = "1.0.0", **more: Any) -> Any:
    lane, figure = LANES[name]
    value = float(is_bad == (lane == "traffic"))
    rung = "1d" if lane == "decisions" else None
    return metric(
        START_MS + day * DAY_MS,
        {figure: value},
        delay_ms=0,
        lane=lane,
        maturity=rung,
        model_version=version,
        **more,
    )


def run(*composites: dict[str, Any], rules: Sequence[dict[str, Any]] = (), **more: Any) -> Run:
    tables = tuple({"type": "composite", "name": "both", **table} for table in composites)
    parts = tuple(rules or (part(name) for name in PARTS))
    return Run(rules=(*tables, *parts), default_rules=False, **more)


def of_rule(emitted: Sequence[Any], name: str = "both") -> list[Alert]:
    return [alert for alert in emitted if alert.rule == name]


def told(alerts: Sequence[Alert]) -> list[tuple[str, str, int, list[str]]]:
    return [
        (
            alert.model_version,
            alert.change,
            (alert.at_ms - START_MS) // DAY_MS,
            sorted(alert.details["open"]),
        )
        for alert in alerts
    ]


def slow(
    days: Sequence[dict[str, frozenset[str]]],
    holds: Any,
    named: set[str],
    for_days: int,
) -> list[tuple[str, str, int, list[str]]]:
    """What is announced of a composite, by version and day."""
    changes = []
    for version in VERSIONS:
        since: int | None = None
        announced: set[str] | None = None
        begun: dict[str, int] = {}
        for number, day in enumerate(days, start=1):
            opened = set(day[version]) & named
            was_open = announced is not None
            if not holds(opened):
                since, begun = None, {}
                if was_open:
                    changes.append((version, "resolved", number, sorted(opened)))
                    announced = None
                continue
            since = number if since is None else since
            if announced is None:
                if number - since >= for_days:
                    announced, begun = set(opened), {}
                    changes.append((version, "firing", number, sorted(opened)))
                continue
            fresh = opened - announced
            begun = {name: begun.get(name, number) for name in fresh}
            new = {name for name, first in begun.items() if number - first >= for_days}
            if new:
                announced |= new
                begun = {name: first for name, first in begun.items() if name not in new}
                changes.append((version, "joined", number, sorted(opened)))
    return changes


CONDITIONS: list[tuple[dict[str, Any], Any]] = [
    ({"all": ["a", "b"]}, lambda opened: {"a", "b"} <= opened),
    ({"any": ["a", "b", "c"]}, bool),
    ({"all": ["a"], "not": ["c"]}, lambda opened: "a" in opened and "c" not in opened),
    (
        {"all": ["a"], "any": ["b", "c"]},
        lambda opened: "a" in opened and bool(opened & {"b", "c"}),
    ),
]

opened = st.frozensets(st.sampled_from(PARTS))
histories = st.lists(st.fixed_dictionaries(dict.fromkeys(VERSIONS, opened)), max_size=14)


@settings(max_examples=300, deadline=None)
@given(histories, st.sampled_from(CONDITIONS), st.sampled_from([0, 1, 2]), st.data())
def test_a_composite_is_that_of_the_slow_code_for_any_order_of_rules_and_records(
    days: list[dict[str, frozenset[str]]],
    condition: tuple[dict[str, Any], Any],
    for_days: int,
    data: st.DataObject,
) -> None:
    table, holds = condition
    tables = [{"type": "composite", "name": "both", "for": f"{for_days}d", **table}]
    tables = data.draw(st.permutations([*tables, *map(part, PARTS)]))
    whole = Run(rules=tuple(tables), default_rules=False)
    steps = []
    for number, day in enumerate(days, start=1):
        records = [
            record(number, name, name in day[version], version)
            for version in VERSIONS
            for name in PARTS
        ]
        steps.append(data.draw(st.permutations(records)))
        whole.feed(*steps[-1])
    found = told(of_rule(whole.emitted))
    named = {name for names in table.values() for name in names}
    expected = slow(days, holds, named, for_days)
    assert sorted(found) == sorted(expected)
    assert [each[2] for each in found] == sorted(each[2] for each in found)
    # Several steps in one batch.
    cut, place = Run(rules=tuple(tables), default_rules=False), 0
    while place < len(steps):
        size = data.draw(st.integers(1, 5))
        cut.feed(*(each for step in steps[place : place + size] for each in step))
        place += size
    assert list(map(encode, cut.emitted)) == list(map(encode, whole.emitted))
    assert cut.state.values == whole.state.values


def test_an_alert_that_ends_when_another_begins_was_never_open_together_with_it() -> None:
    both = run({"all": ["a", "b"]})
    both.feed(record(1, "a", True), record(1, "b", False))
    both.feed(record(2, "b", True), record(2, "a", False))
    assert [alert.rule for alert in both.emitted] == ["a", "b", "a"]
    both.feed(record(3, "a", True), record(3, "b", True))
    assert [alert.rule for alert in both.emitted][3:] == ["a", "both"]
    assert both.emitted[-1].summary == (
        "both holds for churn 1.0.0, with open alerts of a (warning since 2026-01-04), b (warning "
        "since 2026-01-03)."
    )
    assert both.emitted[-1].group_id == both.emitted[-2].group_id
    both.feed(record(4, "a", True), record(4, "b", False))
    assert both.emitted[-1].summary == (
        "both no longer holds for churn 1.0.0, with open alerts of a (warning since 2026-01-04); "
        "the alert had fired on 2026-01-04."
    )


def test_a_composite_of_composites_follows_within_the_same_time() -> None:
    nested = run(
        {"name": "outer", "any": ["inner"], "severity": "critical"},
        {"name": "inner", "all": ["a", "b"]},
    )
    nested.feed(record(1, "a", True), record(1, "b", True))
    nested.feed(record(2, "a", False), record(2, "b", True))
    assert [(alert.rule, alert.change) for alert in nested.emitted][2:] == [
        ("inner", "firing"),
        ("outer", "firing"),
        ("a", "resolved"),
        ("inner", "resolved"),
        ("outer", "resolved"),
    ]


def test_a_composite_of_a_segment_looks_at_its_own_alerts_and_one_of_all_at_those_of_any() -> None:
    rules = [part("a", segment="plan=*"), part("b", segment="plan=*")]
    tables = [{"all": ["a", "b"], "segment": "plan=*"}, {"name": "any", "all": ["a", "b"]}]
    by_plan = run(*tables, rules=rules, segments=("plan",))
    by_plan.feed(record(1, "a", True, segment="plan=pro"))
    by_plan.feed(record(2, "a", True, segment="plan=pro"), record(2, "b", True, segment="plan=x"))
    by_plan.feed(record(3, "b", True, segment="plan=pro"))
    fired = [alert for alert in by_plan.emitted if alert.rule in ("both", "any")]
    assert [(alert.rule, alert.segment) for alert in fired] == [
        ("any", "all"),
        ("both", "plan=pro"),
    ]
    assert "a of plan=pro (warning since 2026-01-02), b of plan=x" in fired[0].summary


def test_archiving_the_version_resolves_the_composite_once_and_nothing_is_left_of_it() -> None:
    both = run({"all": ["a", "b"]})
    both.feed(record(1, "a", True), record(1, "b", True))
    both.feed(entry("archived"))
    both.feed(record(2, "a", True), record(2, "b", True))
    assert [alert.change for alert in of_rule(both.emitted)] == ["firing", "resolved"]
    assert not any(b"WatchedSeries" in key for key in both.state.values)


def test_a_composite_that_is_pending_begins_anew_after_its_condition_did_not_hold() -> None:
    both = run({"all": ["a"], "for": "2d"})
    for day, is_bad in enumerate((True, True, False, True, True, True), start=1):
        both.feed(record(day, "a", is_bad))
    assert [alert.at_ms for alert in of_rule(both.emitted)] == [START_MS + 6 * DAY_MS]


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ([{"not": ["a"]}], "[0].all: needed are names of rules in all or any"),
        ([{"all": ["a", "a"]}], '[0].all: "a" is named twice'),
        ([{"all": ["a"], "not": ["a"]}], '[0].all: "a" is named twice'),
        ([{"all": ["x"]}], '[0].all: "x" is no rule of this model; its rules: both, a, b, c'),
        ([{"any": ["both"]}], "[0].any: both -> both: the rules read each other"),
        (
            [{"name": "p", "all": ["q"]}, {"name": "q", "any": ["a"], "not": ["p"]}],
            "[0].all: p -> q -> p: the rules read each other",
        ),
        (
            [{"all": ["a"], "for": 2}],
            "[0].for: 2: a composite reads no windows; needed is a duration",
        ),
        ([{"all": ["a"], "window": "1d"}], '[0]: the key "window" is not known here'),
        (
            [{"all": ["a"], "segment": "plan=pro"}],
            '[0].all: "a" judges the segment "all", never "plan=pro", which this rule looks at',
        ),
    ],
)
def test_an_invalid_composite_is_rejected_with_its_path(
    tables: list[dict[str, Any]], message: str
) -> None:
    composites = [{"type": "composite", "name": "both", **table} for table in tables]
    config = ModelConfig(
        rules=(*composites, *map(part, PARTS)), default_rules=False, segments=("plan",)
    )
    with pytest.raises(ValueError) as raised:
        build_rules(config, "models.churn.rules")
    assert str(raised.value).startswith(f"models.churn.rules{message}")


def test_a_composite_may_name_default_rules() -> None:
    table = {"type": "composite", "all": ["drift", "performance_drop"], "not": ["no_labels"]}
    rules = build_rules(ModelConfig(rules=(table,)))
    assert rules[0].name == "composite"
