"""Live equals replay in miniature: histories run through the processors on topics in memory, and
through a replay of these topics.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from driftline.agents.inprocess.replay import replay
from driftline.agents.kafka.broker.wire import partition_of
from driftline.agents.kafka.stages.join import DEFERRED_MS
from driftline.agents.kafka.tools.finish_protocol import Finish
from driftline.schemas.config import load_config
from driftline.schemas.decode import SIDE_DECODERS, decode_predictions
from driftline.schemas.settings import Config, ModelConfig
from driftline.schemas.times import parse_time
from driftline.schemas.topics import (
    ACTIONS,
    ALERT_COMMANDS,
    ALERT_EVENTS,
    ALERTS,
    COMMANDS,
    DRIFT,
    GROUND_TRUTH,
    HISTOGRAMS,
    METRICS,
    OUTCOMES,
    PREDICTIONS,
    RECOMMENDATIONS,
    REFERENCE_PROFILES,
    REGISTRY,
    REGISTRY_COMMANDS,
    REGISTRY_EFFECTS,
    REGISTRY_EVENTS,
    TICKS,
    WINDOW_PARTIALS,
)
from tests import crowded_features
from tests.kafka.live import MINUTE, Live, command, feed
from tests.seeds import quick_and_slow
from tests.simulation.alert_commands import RESPONSES, alert_command, alert_rules
from tests.simulation.histories import BEGIN, HOUR, write

RESULTS = (
    OUTCOMES,
    METRICS,
    HISTOGRAMS,
    DRIFT,
    ALERTS,
    ALERT_EVENTS,
    RECOMMENDATIONS,
    REGISTRY_EVENTS,
    REGISTRY_EFFECTS,
    REGISTRY,
    REFERENCE_PROFILES,
    ACTIONS,
)
FOLLOWED = (REGISTRY_EVENTS, REGISTRY_EFFECTS, REFERENCE_PROFILES, ALERT_EVENTS, ACTIONS)
# Distance between a command's time and the latest time sent so far.
AHEAD = (0, 0, 1, 7 * MINUTE, HOUR, 30 * HOUR, 3_000 * HOUR)


def with_rules(config: Config, rules: tuple[dict[str, Any], ...]) -> Config:
    def extended(model: ModelConfig) -> ModelConfig:
        # A detector reads the newest outcomes, which not every history counts.
        fitting = (rule for rule in rules if model.last_n or rule["type"] != "page_hinkley")
        return msgspec.structs.replace(model, rules=(*model.rules, *fitting))

    models = {name: extended(model) for name, model in config.models.items()}
    return msgspec.structs.replace(config, models=models, defaults=extended(config.defaults))


def with_responses(config: Config) -> Config:
    models = {
        name: msgspec.structs.replace(model, responses=RESPONSES)
        for name, model in config.models.items()
    }
    defaults = msgspec.structs.replace(config.defaults, responses=RESPONSES)
    return msgspec.structs.replace(config, models=models, defaults=defaults)


def config_of(log: Path, random: Random, clock: str) -> Config:
    config = load_config(log / "driftline.toml")
    counts = {"input_partitions": random.randint(1, 4), "partitions": random.randint(1, 4)}
    # Provisional figures depend on the spare processor time; no other record does.
    kafka = msgspec.structs.replace(config.kafka, provisional_ms=None, **counts)
    return msgspec.structs.replace(config, kafka=kafka, clock=clock)


def run_live(
    log: Path,
    random: Random,
    *,
    clock: str,
    commands: bool,
    finish: bool,
    timely: bool = False,
    losses: bool = False,
    change: Callable[[Config], Config] | None = None,
) -> Live:
    """Run a history and commands through the processors.

    `timely` commands are read before event time passes them. With `losses`, unread rows are deleted
    now and then. `change` gives other settings, with which all tasks start again now and then.
    """
    config = config_of(log, random, clock)
    if commands and not config.defaults.rules:
        config = with_rules(config, alert_rules(random))
    if commands:
        config = with_responses(config)
    live = Live(config, random, BEGIN - HOUR if clock == "wall" else BEGIN + 10_000 * HOUR)
    slow = {
        place: random.choice((0, 0, MINUTE, 20 * MINUTE, 90 * MINUTE))
        for place in range(config.kafka.input_partitions)
    }
    early = -7 * MINUTE if random.random() < 0.2 else 0
    apart = {random.choice((PREDICTIONS, GROUND_TRUTH)): random.choice((0, 0, HOUR, 10 * HOUR))}
    lines = feed(
        live, log, lag=lambda topic, partition: slow[partition] + early + apart.get(topic, 0)
    )
    number = 0
    while lines:
        until = lines[0][0] + random.choice((1_000, 10 * MINUTE, HOUR))
        if clock == "wall":
            live.clock_ms = max(live.clock_ms, lines[0][0])
        else:
            live.clock_ms += random.choice((0, 1_000, MINUTE))
        while lines and lines[0][0] <= until:
            at, topic, partition, key, value = lines.pop(0)
            if clock == "wall":
                live.clock_ms = max(live.clock_ms, at)
            live.send(topic, partition, key, value)
            if random.random() < 0.3:
                live.some(random.randrange(4))
        if commands and random.random() < 0.3:
            topic = random.choice(COMMANDS)
            draw = command if topic == REGISTRY_COMMANDS else alert_command
            model, value = draw(
                random,
                number,
                until + random.choice(AHEAD) if timely else min(live.clock_ms, until),
            )
            number += 1
            # Some producers have another partitioner.
            place = random.randrange(config.kafka.partitions) if random.random() < 0.3 else None
            live.send(topic, place, model.encode(), value)
            if timely and place is not None:
                live.rest()  # otherwise forwarded commands may arrive too late
        if losses and random.random() < 0.2:
            join = random.choice(live.tasks[: config.kafka.input_partitions])
            topic = random.choice((PREDICTIONS, GROUND_TRUTH))
            live.lost += join.lose(topic, random.choice((1, 3, 50)))
        if random.random() < 0.5:
            live.some(random.randrange(20))
        if random.random() < 0.3:
            live.rest()
            live.clock_ms += 2 * MINUTE
            live.rest()
        if change is not None and random.random() < 0.1:
            live.start_again(change(live.config))
    live.rest()
    if finish:
        live.finish()
    elif clock == "data":
        live.ask()  # releases truths that wait for further predictions
    return live


def emitted_live(live: Live, topic: str) -> Counter[tuple[str, str]]:
    return Counter(
        ((record.key or b"").decode(), (record.value or b"").decode())
        for _, record in live.bus.all(topic)
    )


def is_of_the_program(topic: str, value: str) -> bool:
    """Whether a record has the settings of the whole program, which an export leaves out."""
    return topic == REGISTRY_EFFECTS and json.loads(value)["model_name"] == ""


def emitted_in_replay(out: Path, topic: str) -> Counter[str]:
    return Counter((out / f"{topic}.jsonl").read_text(encoding="utf-8").splitlines())


def letters_live(live: Live, topic: str) -> Counter[tuple[Any, ...]]:
    names = ("dlq_topic", "dlq_partition", "dlq_offset", "dlq_reason", "dlq_error")
    return Counter(
        (*(record.headers[name] for name in names), record.value or b"")
        for _, record in live.bus.all(f"{topic}.dlq")
    )


def letters_in_replay(out: Path, topic: str) -> Counter[tuple[Any, ...]]:
    path = out / f"{topic}.dlq.jsonl"
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        letter = json.loads(line)
        value = letter["value"].encode() if "value" in letter else b64decode(letter["value_base64"])
        found.append(
            (
                letter["dlq_topic"],
                str(letter["dlq_partition"]),
                str(letter["dlq_offset"]),
                letter["dlq_reason"],
                letter["dlq_error"],
                value,
            )
        )
    return Counter(found)


def differences(live: Live, folder: Path, *, batch: int, follow: bool = True) -> list[str]:
    """Records that only the tasks or only the replay of their log emitted."""
    live.export(folder / "log", FOLLOWED)
    replay(
        folder / "log",
        folder / "out",
        live.config,
        partitions=live.config.kafka.input_partitions,
        batch=batch,
        follow=follow,
        open_end=True,
        clock=lambda: live.clock_ms,
    )
    found = []
    for topic in RESULTS if live.config.outcomes else RESULTS[1:]:
        emitted = Counter(
            value
            for _, value in emitted_live(live, topic).elements()
            if '"provisional":true' not in value and not is_of_the_program(topic, value)
        )
        replayed = emitted_in_replay(folder / "out", topic)
        found += [f"{topic}, only live: {value}" for value in (emitted - replayed).elements()]
        found += [
            f"{topic}, only in the replay: {value}" for value in (replayed - emitted).elements()
        ]
    for topic in (PREDICTIONS, GROUND_TRUTH):
        live_letters, replayed_letters = (
            letters_live(live, topic),
            letters_in_replay(folder / "out", topic),
        )
        found += [
            f"{topic}.dlq, only live: {value}"
            for value in (live_letters - replayed_letters).elements()
        ]
        found += [
            f"{topic}.dlq, only in the replay: {value}"
            for value in (replayed_letters - live_letters).elements()
        ]
    return found


@pytest.mark.parametrize("seed", quick_and_slow(range(6), 1))
def test_the_same_features_are_watched_live_and_in_a_replay(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    history, clock = tmp_path / "history", random.choice(("wall", "data"))
    crowded_features.write(
        history, seed, reference="6h", detection="1h", hours=random.randint(9, 14)
    )
    with crowded_features.lowered_limits():
        live = run_live(history, random, clock=clock, commands=False, finish=True)
        found = differences(live, tmp_path, batch=random.choice((7, 100, 10_000)))
    assert found == [], f"seed {seed}: {len(found)} records differ"
    targets = {json.loads(value)["target"] for _, value in emitted_live(live, DRIFT).elements()}
    assert "feature:plan" in targets
    assert not any("wide" in target for target in targets)
    options: dict[str, Any] = {"partitions": live.config.kafka.input_partitions, "follow": True}
    options |= {"open_end": True, "clock": lambda: live.clock_ms}
    with crowded_features.lowered_limits():
        again = replay(tmp_path / "log", tmp_path / "again", live.config, **options)
    told = [rows for task in live.tasks for rows in task.uncounted]
    (unwatched,) = [rows for rows in again.uncounted if rows.reason == "unwatched_feature"]
    assert unwatched.rows == sum(rows.rows for rows in told if rows.reason == unwatched.reason)
    assert unwatched.example in [rows.example for rows in told]


@pytest.mark.parametrize("seed", quick_and_slow(range(50), 8, in_ci=30))
def test_the_tasks_emit_what_a_replay_of_their_log_emits(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    everything, commands, finish = (
        random.random() < 0.4,
        random.random() < 0.5,
        random.random() < 0.7,
    )
    write(
        tmp_path / "history",
        seed + 5_000,
        everything=everything,
        ids=random.randint(10, 60),
    )
    clock = random.choice(("wall", "data"))
    live = run_live(tmp_path / "history", random, clock=clock, commands=commands, finish=finish)
    found = differences(live, tmp_path, batch=random.choice((7, 100, 10_000)))
    partitions = f"{live.config.kafka.input_partitions} x {live.config.kafka.partitions} partitions"
    assert found == [], f"seed {seed}, clock {clock}, {partitions}: {len(found)} records differ"
    assert emitted_live(live, METRICS) or not finish


@pytest.mark.parametrize("seed", quick_and_slow(range(40), 8, in_ci=25))
def test_windows_that_lack_lost_rows_are_marked_alike_live_and_in_a_replay(
    tmp_path: Path, seed: int
) -> None:
    random = Random(seed)
    clock, finish = random.choice(("wall", "data")), random.random() < 0.7
    write(
        tmp_path / "history",
        seed + 9_000,
        everything=random.random() < 0.4,
        ids=random.randint(20, 60),
    )
    live = run_live(
        tmp_path / "history", random, clock=clock, commands=False, finish=finish, losses=True
    )
    found = differences(live, tmp_path, batch=random.choice((7, 100, 10_000)))
    assert found == [], f"seed {seed}, clock {clock}: {len(found)} records differ, {found[:2]}"
    marked = sum('"losses"' in value for _, value in emitted_live(live, METRICS))
    assert marked or not (live.lost and finish)
    assert_facts_are_marked(live)


def assert_facts_are_marked(live: Live) -> None:
    """References and baselines have `losses` where the ticks tell of losses that concern them."""
    ticks = (json.loads(record.value or b"{}") for _, record in live.bus.all(TICKS))
    spans = [
        (loss["topic"], *(parse_time(loss[edge]) for edge in ("from", "until")))
        for tick in ticks
        for loss in tick.get("lost", ())
    ]

    def is_concerned(fact: dict[str, Any], topics: set[str], delay_ms: int) -> bool:
        start_ms, end_ms = map(parse_time, fact["span"])
        return any(
            topic in topics
            and until_ms >= start_ms
            and from_ms < end_ms + (delay_ms if topic == GROUND_TRUTH else 0)
            for topic, from_ms, until_ms in spans
        )

    marks = {}
    for _, value in emitted_live(live, REFERENCE_PROFILES):
        profile = json.loads(value)
        marks[profile["model_name"], profile["reference_id"]] = "losses" in profile
        assert ("losses" in profile) == is_concerned(profile, {PREDICTIONS}, 0), profile
    for _, value in emitted_live(live, REGISTRY):
        entry = json.loads(value)
        rungs = live.config.for_model(entry["model_name"]).maturity
        delays_ms = {rung.name: rung.ms for rung in rungs}
        for maturity, baseline in entry.get("baselines", {}).items():
            topics = {PREDICTIONS} if maturity == "-" else {PREDICTIONS, GROUND_TRUTH}
            concerned = is_concerned(baseline, topics, delays_ms.get(maturity, 0))
            assert ("losses" in baseline) == concerned, (maturity, baseline)
    for _, value in emitted_live(live, DRIFT):
        drift = json.loads(value)
        of_reference = marks[drift["model_name"], drift["reference_id"]]
        assert ("reference_losses" in drift) == of_reference


@pytest.mark.parametrize("seed", range(5))
def test_windows_that_were_open_when_partials_were_lost_are_marked(
    tmp_path: Path, seed: int
) -> None:
    random = Random(seed)
    write(tmp_path / "history", seed + 9_500, ids=40)
    config = config_of(tmp_path / "history", random, "data")
    live = Live(config, random, BEGIN + 10_000 * HOUR)
    lines = feed(live, tmp_path / "history", lag=lambda topic, partition: 0)
    inputs = config.kafka.input_partitions
    for number, (_, topic, partition, key, value) in enumerate(lines):
        live.send(topic, partition, key, value)
        if number == len(lines) // 4:
            live.ask()
    before = emitted_live(live, METRICS)
    for request in Finish(config).progress_requests():
        live.bus.write(request)  # releases truths that wait for further predictions
    for task in live.tasks[:inputs]:
        while task.unread() or task.step():
            task.take(50)
            live.clock_ms += DEFERRED_MS
            task.step()
    rows, _, _ = decode_predictions([value for *_, value in lines], range(len(lines)))
    model = rows[0].model_name
    lossy = live.tasks[inputs + partition_of(model, config.kafka.partitions)]
    lost = len(lossy.lose(WINDOW_PARTIALS, 6))
    assert lost
    live.rest()
    for minutes in range(0, 60 * 24 * 20, 60):  # by hours, so that not all windows are open
        for partition in range(inputs):
            tick = {"timestamp": BEGIN + minutes * MINUTE}
            live.send(TICKS, partition, b"0", json.dumps(tick).encode())
        live.rest()
    assert not any('"losses"' in value for _, value in before)
    after = [json.loads(value) for _, value in (emitted_live(live, METRICS) - before).elements()]
    marks = [loss for figures in after for loss in figures.get("losses", ())]
    assert {(loss["topic"], loss["records"] >= lost) for loss in marks} == {(WINDOW_PARTIALS, True)}
    until_ms = max(parse_time(loss["until"]) for loss in marks)
    models = {figures["model_name"] for figures in after if "losses" in figures}
    for figures in after:
        is_marked = (
            figures["model_name"] in models and parse_time(figures["window_start"]) <= until_ms
        )
        assert ("losses" in figures) == is_marked
    # A row that was dated far ahead may have been in the lost partials.
    assert until_ms > BEGIN + 20 * 24 * HOUR or any(
        "losses" not in figures for figures in after if figures["model_name"] in models
    )


@pytest.mark.parametrize("seed", quick_and_slow(range(50), 8, in_ci=30))
def test_commands_of_recorded_history_take_effect_at_their_event_time(
    tmp_path: Path, seed: int
) -> None:
    random = Random(seed)
    everything, finish = random.random() < 0.4, random.random() < 0.8
    write(
        tmp_path / "history",
        seed + 7_000,
        everything=everything,
        ids=random.randint(10, 60),
    )
    live = run_live(
        tmp_path / "history", random, clock="data", commands=True, finish=finish, timely=True
    )
    found = differences(
        live, tmp_path, batch=random.choice((7, 100, 10_000)), follow=random.random() < 0.2
    )
    partitions = f"{live.config.kafka.input_partitions} x {live.config.kafka.partitions} partitions"
    assert found == [], (
        f"seed {seed}, {partitions}, finish {finish}: {len(found)} records differ, first "
        f"{found[:2]}"
    )
    acts = Counter(json.loads(event)["event"] for _, event in emitted_live(live, ALERT_EVENTS))
    actions = Counter(
        (json.loads(action)["action"], json.loads(action)["outcome"])
        for _, action in emitted_live(live, ACTIONS)
    )
    print(f"seed {seed}: {len(live.bus.all(ALERTS))} alerts, {dict(acts)}, {dict(actions)}")
    for topic, answers in ((REGISTRY_COMMANDS, REGISTRY_EVENTS), (ALERT_COMMANDS, ALERT_EVENTS)):
        answered = {json.loads(event)["command_id"] for _, event in emitted_live(live, answers)}
        sent = {
            row.command_id
            for _, record in live.bus.all(topic)
            for row in SIDE_DECODERS[topic]([record.value], [0])[0]
        }
        assert sent <= answered or not finish


@pytest.mark.parametrize("seed", quick_and_slow(range(20, 28), 3))
def test_changed_rules_are_in_force_from_the_recorded_pane_on_as_a_replay_shows(
    tmp_path: Path, seed: int
) -> None:
    random = Random(seed)
    write(tmp_path / "history", seed + 9_000, everything=False, ids=60)
    starts = 0

    def other_rules(config: Config) -> Config:
        nonlocal starts
        starts += 1
        rules = tuple(
            {
                "type": "threshold",
                "name": f"accuracy-{number}",
                "metric": "accuracy",
                "above": random.choice((0.01, 0.05, 0.2)),
                "min_samples": 1,
            }
            for number in range(random.randrange(3))
        )
        models = {
            name: msgspec.structs.replace(model, rules=rules)
            for name, model in config.models.items()
            if random.random() < 0.7
        }
        defaults = msgspec.structs.replace(config.defaults, default_rules=random.random() < 0.5)
        return msgspec.structs.replace(config, defaults=defaults, models=config.models | models)

    live = run_live(
        tmp_path / "history",
        random,
        clock=random.choice(("wall", "data")),
        commands=False,
        finish=True,
        change=other_rules,
    )
    effects = [json.loads(record.value or b"") for _, record in live.bus.all(REGISTRY_EFFECTS)]
    changed = [effect for effect in effects if effect["model_name"] and "settings" in effect]
    print(
        f"seed {seed}: {starts} starts, {len(changed)} changes, {len(live.bus.all(ALERTS))} alerts"
    )
    assert differences(live, tmp_path, batch=random.choice((7, 100, 10_000))) == []
