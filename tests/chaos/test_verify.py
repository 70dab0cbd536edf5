"""The verifier accepts the output of an in-process replay, and finds every planted fault."""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from driftline.agents.inprocess.replay import replay
from driftline.schemas.config import load_config
from tests.chaos.load import CONFIGURATION, Load, Message
from tests.chaos.topics import Stored
from tests.chaos.verify import INPUTS, OUTPUTS, Topics, verify
from tests.oracle.recorded import partition_of

SEED, PREDICTIONS, PARTITIONS = 7, 1_500, 4
NOW = time.time_ns() // 1_000_000


@pytest.fixture(scope="module")
def topics(tmp_path_factory: pytest.TempPathFactory) -> Topics:
    """A stream without late rows, as a broker would store it. Without late rows the ticks of the
    replay, which are not recorded, have no effect.
    """
    folder = tmp_path_factory.mktemp("run")
    log, out = folder / "log", folder / "out"
    log.mkdir()
    (log / "driftline.toml").write_text(CONFIGURATION, encoding="utf-8")
    load = Load(SEED, step_ms=12_000, late=False)
    sent = [
        message for messages in itertools.islice(load, PREDICTIONS) for message in messages
    ] + load.rest()
    for name in INPUTS:
        values = [
            message.value
            for message in sent
            if message.topic == name and b"\n" not in message.value
        ]
        if values:
            (log / f"{name}.jsonl").write_bytes(b"".join(value + b"\n" for value in values))
    replay(log, out, load_config(log / "driftline.toml"), partitions=PARTITIONS)
    inputs = {
        name: on_topic([message for message in sent if message.topic == name]) for name in INPUTS
    }
    return (
        inputs
        | {name: written(out / f"{name}.jsonl") for name in OUTPUTS if not name.endswith(".dlq")}
        | letters(out, inputs)
    )


def on_topic(sent: list[Message]) -> list[Stored]:
    """Records as the broker stores them, with partition and offset, in the order of arrival."""
    counts = itertools.count
    offsets = {partition: counts() for partition in range(PARTITIONS)}
    stored = []
    for message in sent:
        partition = partition_of(message.key, PARTITIONS) if message.key is not None else 0
        stored.append(Stored(partition, next(offsets[partition]), message.key, message.value, {}))
    return stored


def written(path: Path) -> list[Stored]:
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [
        Stored(0, number, key_of(json.loads(line)), line, {}) for number, line in enumerate(lines)
    ]


def key_of(value: dict[str, Any]) -> bytes:
    names = (
        "model_name",
        "model_version",
        "segment",
        "lane",
        "window",
        "maturity",
        "window_start",
        "rule",
    )
    return json.dumps([value.get(name) for name in names]).encode()


def letters(out: Path, inputs: dict[str, list[Stored]]) -> dict[str, list[Stored]]:
    """The dead-letter files, with the partition and offset of each line on its topic."""
    by_topic: dict[str, list[Stored]] = {}
    for name in ("predictions", "ground-truth"):
        by_topic[f"{name}.dlq"] = []
        for record in written(out / f"{name}.dlq.jsonl"):
            letter = json.loads(record.value)
            source = inputs[name][letter["dlq_offset"]]
            headers = {
                "dlq_topic": name.encode(),
                "dlq_partition": b"%d" % source.partition,
                "dlq_offset": b"%d" % source.offset,
                "dlq_reason": letter["dlq_reason"].encode(),
            }
            value = (
                base64.b64decode(letter["value_base64"])
                if "value_base64" in letter
                else letter["value"].encode()
            )
            by_topic[f"{name}.dlq"].append(Stored(0, record.offset, source.key, value, headers))
    return by_topic


def test_output_of_a_replay_is_correct(topics: Topics) -> None:
    verdict = verify(topics, CONFIGURATION, now_ms=NOW)
    assert verdict.faults == []
    assert (verdict.lost, verdict.twice) == (0, 0)
    assert verdict.pairs > PREDICTIONS // 2
    assert verdict.alerts > 0
    assert verdict.registry_events > 0
    assert verdict.dead_letters > 0


def changed(topics: Topics, name: str, change: Callable[[list[dict[str, Any]]], None]) -> Topics:
    values = [json.loads(record.value) for record in topics[name]]
    keys = [record.key for record in topics[name]]
    change(values)
    records = [
        Stored(0, number, key, json.dumps(value).encode(), {})
        for number, (key, value) in enumerate(zip(keys, values, strict=False))
    ]
    return {**topics, name: records}


def final(values: list[dict[str, Any]]) -> dict[str, Any]:
    fitting = [
        v
        for v in values
        if v["final"]
        and v["lane"] == "decisions"
        and v["window"] == "30m"
        and v["segment"] == "all"
        and v["n"]
    ]
    return Random(SEED).choice(fitting)


def cell_too_many(values: list[dict[str, Any]]) -> None:
    final(values)["matrix"][0][0] += 1


def cells_swapped(values: list[dict[str, Any]]) -> None:
    matrix = next(
        v["matrix"]
        for v in values
        if v["final"] and v["n"] and v["matrix"][0][1] != v["matrix"][1][0]
    )
    matrix[0][1], matrix[1][0] = matrix[1][0], matrix[0][1]


def revision_that_falls(values: list[dict[str, Any]]) -> None:
    values.append({**values[0], "provisional": True, "revision": values[0]["revision"] - 1})


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [cell_too_many, cells_swapped], ids=lambda change: change.__name__
)
def test_wrong_figure_is_found(
    topics: Topics, change: Callable[[list[dict[str, Any]]], None]
) -> None:
    verdict = verify(changed(topics, "metrics", change), CONFIGURATION, now_ms=NOW)
    assert not verdict.is_correct


@pytest.mark.slow
def test_lost_and_doubled_outcomes_are_counted(topics: Topics) -> None:
    doubled = verify(changed(topics, "metrics", cell_too_many), CONFIGURATION, now_ms=NOW)
    assert (doubled.lost, doubled.twice) == (0, 1)
    less = list(topics["ground-truth"])
    # A truth that was counted but is not on the topic is one too many; a truth on the topic that
    # was not counted is lost.
    row = next(
        record
        for record in less
        if b"revision" not in record.value and b'"label": "air"' in record.value
    )
    without = [record for record in less if record.key != row.key]
    assert (
        verify(
            {**topics, "ground-truth": without, "ground-truth.dlq": []}, CONFIGURATION, now_ms=NOW
        ).twice
        > 0
    )


# By topic: which record is lost (of alerts the beginning of an episode), and the messages about a
# lost and a repeated record.
MESSAGES = {
    "metrics": (b"", "is not emitted", "is emitted twice"),
    "alerts": (b'"firing"', "never began", "continues after it was resolved"),
    "registry-events": (b"chaos-", "has 0 events", "has 2 events"),
    "reference-profiles": (b"", "has 0 records", "has 2 records"),
    "predictions.dlq": (b"", "0 times", "2 times"),
}


@pytest.mark.parametrize("fault", ["lost", "repeated"])
def test_lost_and_repeated_records_are_found(topics: Topics, fault: str) -> None:
    changed = dict(topics)
    for name, (wanted, _, _) in MESSAGES.items():
        records = list(topics[name])
        first = next(number for number, record in enumerate(records) if wanted in record.value)
        if fault == "lost":
            del records[first]
        else:
            last = records[-1]
            records.append(
                last._replace(offset=last.offset + 1)
                if name != "registry-events"
                else records[first]._replace(offset=10**9)
            )
        changed[name] = records
    faults = verify(changed, CONFIGURATION, now_ms=NOW).faults
    for _, lost, repeated in MESSAGES.values():
        message = lost if fault == "lost" else repeated
        assert [found for found in faults if message in found], message


def test_revision_that_falls_is_found(topics: Topics) -> None:
    records = list(topics["metrics"])
    newest = json.loads(records[-1].value)
    value = json.dumps({**newest, "provisional": True, "revision": newest["revision"] - 1}).encode()
    records.append(records[-1]._replace(value=value))
    faults = verify({**topics, "metrics": records}, CONFIGURATION, now_ms=NOW).faults
    assert [
        fault
        for fault in faults
        if f"revision {newest['revision'] - 1} comes after {newest['revision']}" in fault
    ]


def test_tick_moves_the_floor_of_the_rows_from_its_offset_on(topics: Topics) -> None:
    #   The partition's rows are at 00:00, the tick at 05:00: rows after it are five hours late.
    tick = json.dumps(
        {"timestamp": "2024-03-01T05:00:00Z", "after": {"predictions": 10, "ground-truth": 0}}
    ).encode()
    request = json.dumps({"timestamp": "2024-03-09T00:00:00Z"}).encode()
    with_ticks = {
        **topics,
        "ticks": [Stored(0, 0, b"0", request, {}), Stored(0, 1, b"0", tick, {})],
    }
    faults = verify(with_ticks, CONFIGURATION, now_ms=NOW).faults
    assert [fault for fault in faults if "dropped_predictions" in fault]
    without_tick = {**topics, "ticks": [Stored(0, 0, b"0", request, {})]}
    assert verify(without_tick, CONFIGURATION, now_ms=NOW).is_correct
