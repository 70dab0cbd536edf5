"""Drawn histories of figures, of people's acts and of levels that they set, against slow and
obvious code that follows the documented rules: one firing and one end per episode, silences and
acknowledgements honoured, and the same records however the history is cut.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.alert_commands import AlertCommand
from driftline.schemas.results import ModelRules, RuleLevel, encode
from driftline.schemas.settings import Config, ModelConfig
from driftline.schemas.times import DAY_MS, format_time
from driftline.streams.decide import Decide
from driftline.streams.decide.alert_acts import ReceivedCommand
from driftline.streams.stage import Batch
from tests.streams.alert_reference import SlowAlerts
from tests.streams.figures import START_MS, entry, metric

VERSIONS = ("1.0.0", "2.0.0")
USUAL = 0.9
LOW = {
    "type": "threshold",
    "name": "low",
    "metric": "f1",
    "window": "1d",
    "maturity": "1d",
    "below": 0.8,
    "clear": 0.85,
    "for": 2,
    "cool_down": "3d",
}
DROP = {
    "type": "degradation",
    "name": "drop",
    "metric": "f1",
    "window": "1d",
    "maturity": "1d",
    "warning": 0.05,
    "critical": 0.99,
    "clear": 0.04,
    "for": 1,
}
FOR = {"low": 2, "drop": 1}
COOL_DOWN_DAYS = {"low": 3, "drop": 0}
LEVELS = ((0.6, 0.65), (0.75, 0.85), (0.84, 0.88), None)
"""Levels and values at which the alert resolves, of the rule "low"; None as it is configured."""
VALUES = (0.5, 0.7, 0.78, 0.82, 0.87, 0.9)
FEW = None
"""A day with too few rows to be judged."""

Day = tuple[float | None, float | None]
Act = tuple[str, dict[str, Any]]

days = st.tuples(*(st.sampled_from((*VALUES, 0.5, 0.9, FEW)) for _ in VERSIONS))
targets = st.fixed_dictionaries(
    {"rule": st.sampled_from(("low", "drop")), "model_version": st.sampled_from(VERSIONS)}
)
spans = st.fixed_dictionaries(
    {
        "id": st.sampled_from("abc"),
        "rule": st.sampled_from(("*", "low", "d*")),
        "model_version": st.sampled_from(("*", "1.*", "2.0.0")),
        "begins_in": st.sampled_from((None, 0, 1, 3)),
        "days": st.sampled_from((0, 1, 2, 5)),
    }
)
acts = st.one_of(
    st.tuples(st.sampled_from(("acknowledge", "acknowledge", "unacknowledge", "accept")), targets),
    st.tuples(st.just("silence"), spans),
    st.tuples(st.just("unsilence"), st.fixed_dictionaries({"id": st.sampled_from("abcd")})),
)
levels = st.tuples(st.just("level"), st.sampled_from(LEVELS).map(lambda level: {"level": level}))
histories = st.lists(st.one_of(days, days, acts, levels), min_size=1, max_size=40)


class Slow(SlowAlerts):
    """Times are in days; the rule "drop" compares with a level that people may accept."""

    def __init__(self) -> None:
        # Day 1 is that of a command before any figures.
        super().__init__(VERSIONS, {rule: (FOR[rule], COOL_DOWN_DAYS[rule]) for rule in FOR}, now=1)
        self.usual = dict.fromkeys(VERSIONS, USUAL)
        self.newest = dict(self.usual)
        self.below, self.clear = 0.8, 0.85
        self.answers: list[str] = []

    def day(self, number: int, values: Day) -> None:
        self.reach(number + 1)  # figures are known a day later
        for version, value in zip(VERSIONS, values, strict=True):
            if value is FEW:
                for rule in FOR:
                    self.alerts[version, rule].breaches = 0
            else:
                drop = (self.usual[version] - value) / self.usual[version]
                self.newest[version] = value
                self.judge(version, "low", is_bad=value < self.below, is_good=value >= self.clear)
                self.judge(version, "drop", is_bad=drop > 0.05, is_good=drop <= 0.04)

    def act(self, command: str, params: dict[str, Any], number: int) -> None:
        if command == "level":
            self.below, self.clear = params["level"] or (0.8, 0.85)
            return
        done = self.carry_out(command, params, f"person {number}")
        self.answers.append(command if done else "rejected")

    def carry_out(self, command: str, params: dict[str, Any], who: str) -> bool:
        if command == "silence":
            begin = self.now + (params["begins_in"] or 0)
            return self.silence(
                params["id"],
                rule=params["rule"],
                version=params["model_version"],
                begin=begin,
                end=begin + params["days"],
            )
        if command == "unsilence":
            return self.unsilence(params["id"])
        version, rule = params["model_version"], params["rule"]
        if command == "acknowledge":
            return self.acknowledge(version, rule, who)
        if command == "unacknowledge":
            return self.unacknowledge(version, rule)
        return self.accept(version, rule)

    def accept(self, version: str, rule: str) -> bool:
        if not self.alerts[version, rule].is_open or rule != "drop":
            return False
        self.usual[version] = self.newest[version]
        self.end(version, rule, "accepted")
        return True


def batches(history: list[Day | Act]) -> list[Batch]:
    """The history as batches of stage 3: the registry, then a day or an act each."""
    usual = {"metrics": {"f1": USUAL}, "daily_variance": {"f1": 0.0}, "days": 30}
    entries = [entry("staging", baseline=usual, model_version=version) for version in VERSIONS]
    made, day = [Batch(records={"registry": entries})], 0
    for number, step in enumerate(history):
        if step[0] == "level":
            records = [rules_in_force(number, step[1]["level"])]
            made.append(Batch(records={"model-rules": records}))
        elif isinstance(step[0], str):
            records = [command(number, step[0], step[1], day)]
            made.append(Batch(records={"alert-commands": records}))
        else:
            day += 1
            figures = [
                metric(
                    START_MS + day * DAY_MS,
                    {"f1": 0.1 if value is FEW else value},
                    model_version=version,
                    n=5 if value is FEW else 1000,
                )
                for version, value in zip(VERSIONS, step, strict=True)
            ]
            made.append(Batch(records={"metrics": figures}))
    return made


def rules_in_force(number: int, level: tuple[float, float] | None) -> ModelRules:
    rules = {}
    if level is not None:
        values = {"below": level[0], "clear": level[1]}
        rules["low"] = RuleLevel(values=values, revision=number, set_by="ada", set_at="")
    return ModelRules(model_name="churn", revision=number, rules=rules)


def command(number: int, name: str, params: dict[str, Any], day: int) -> ReceivedCommand:
    now_ms = START_MS + (day + 1) * DAY_MS
    if name == "silence":
        params = dict(params)
        begins_in, lasts = params.pop("begins_in"), params.pop("days")
        if begins_in is not None:
            params["starts_at"] = now_ms + begins_in * DAY_MS
        params["ends_at"] = now_ms + ((begins_in or 0) + lasts) * DAY_MS
    return ReceivedCommand(
        AlertCommand(
            command_id=f"{number}",
            command=name,
            model_name="churn",
            timestamp=format_time(now_ms),
            requested_by=f"person {number}",
            params=params,
        ),
        now_ms,
    )


def run(made: list[Batch], restarts: Collection[int] = ()) -> list[Any]:
    """What stage 3 emits; it is built anew from its state before some batches."""
    config = Config(defaults=ModelConfig(rules=(LOW, DROP), default_rules=False))
    stage, state, emitted = Decide(config), MemoryState(), []
    for number, batch in enumerate(made):
        if number in restarts:
            stage = Decide(config)
        emitted += [record.value for record in stage.process(batch, state)]
    return emitted


@settings(max_examples=300, deadline=None)
@given(histories)
def test_records_and_answers_are_those_of_the_slow_code(history: list[Day | Act]) -> None:
    slow, day = Slow(), 0
    for number, step in enumerate(history):
        if isinstance(step[0], str):
            slow.act(step[0], step[1], number)
        else:
            day += 1
            slow.day(day, step)
    emitted = run(batches(history))
    told = [
        (
            each.model_version,
            each.rule,
            each.change,
            each.status,
            each.silenced_by,
            None if each.acknowledged is None else each.acknowledged.by,
            (each.at_ms - START_MS) // DAY_MS,
        )
        for each in emitted
        if hasattr(each, "alert_id") and hasattr(each, "rule")
    ]
    assert told == slow.told
    assert [each.event for each in emitted if hasattr(each, "frontier")] == slow.answers


@settings(max_examples=200, deadline=None)
@given(histories)
def test_each_episode_fires_once_and_ends_once_whatever_people_do(
    history: list[Day | Act],
) -> None:
    # Two good days at the level of every baseline end what is still open.
    emitted = run(batches([*history, (0.9, 0.9), (0.9, 0.9)]))
    episodes: dict[str, list[Any]] = {}
    for each in emitted:
        if hasattr(each, "rule"):
            episodes.setdefault(each.alert_id, []).append(each)
    for records in episodes.values():
        assert [each.change for each in records].count("firing") == 1
        assert records[0].change == "firing"
        assert [each.status for each in records].count("resolved") == 1
        assert records[-1].status == "resolved"
        assert records[-1].change in ("resolved", "accepted")
        assert len({each.fingerprint for each in records}) == 1
    starts = sorted(
        (records[0].fingerprint, records[0].at_ms, records[-1].at_ms)
        for records in episodes.values()
    )
    for (one, _, ended), (other, began, _) in zip(starts, starts[1:], strict=False):
        assert one != other or ended <= began, "two episodes of one alert overlap"


@settings(max_examples=100, deadline=None)
@given(histories, st.data())
def test_the_records_do_not_depend_on_how_the_history_is_cut(
    history: list[Day | Act], data: st.DataObject
) -> None:
    made = batches(history)
    whole = list(map(encode, run(made)))
    restarts = data.draw(st.sets(st.integers(0, len(made))))
    assert list(map(encode, run(made, restarts))) == whole
    joined: list[Batch] = []
    for batch in made:
        (topic,) = batch.records
        if joined and topic in joined[-1].records and data.draw(st.booleans()):
            joined[-1] = Batch(records={topic: [*joined[-1].records[topic], *batch.records[topic]]})
        else:
            joined.append(batch)
    assert list(map(encode, run(joined))) == whole
