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
from tests.chaos.losses import FormerTopic, Reading
from tests.chaos.topics import Stored
from tests.chaos.verify import (
    INPUTS,
    OUTPUTS,
    Topics,
    Verdict,
    dead_letters,
    rows_of,
    verify,
    with_lost,
)
from tests.oracle.recorded import partition_of, prediction
from tests.oracle.settings import Settings
from tests.oracle.verdict import WINDOWS, place_of

SEED, PREDICTIONS, PARTITIONS = 5, 1_500, 4
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
    replay(log, out, load_config(log / "driftline.toml"), partitions=PARTITIONS, keep_order=True)
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


# Losses: the input `name` was made anew. Of each partition, the last tenth of the records before a
# point in the middle was not read.


def with_loss(topics: Topics, name: str) -> tuple[Topics, FormerTopic, set[tuple[int, int]]]:
    """The topics of the same run as if the records that no figure has were the lost ones: the old
    topic gets records of ids that nobody has read, behind those that were read.
    """
    records, lost = list(topics[name]), set()
    old: list[Stored] = []
    new: list[Stored] = []
    letters: list[Stored] = []
    for partition in range(PARTITIONS):
        own = [record for record in records if record.partition == partition]
        half = len(own) // 2
        unread = [
            record._replace(offset=half + number, value=of_another_id(record.value), key=b"-")
            for number, record in enumerate(own[half : half + 20])
            if is_row(record.value)
        ]
        unread = [record._replace(offset=half + number) for number, record in enumerate(unread)]
        lost |= {(partition, record.offset) for record in unread}
        old += own[:half] + unread
        new += [record._replace(offset=number) for number, record in enumerate(own[half:])]
        headers = {
            "dlq_topic": name.encode(),
            "dlq_partition": b"%d" % partition,
            "dlq_offset": b"%d" % half,
            "dlq_reason": b"lost",
        }
        letters.append(Stored(0, 10**6 + partition, None, b"", headers))
    halves = {p: sum(r.partition == p for r in records) // 2 for p in range(PARTITIONS)}
    kept = []
    for letter in topics[f"{name}.dlq"]:
        place, offset = (int(letter.headers[f"dlq_{part}"]) for part in ("partition", "offset"))
        is_new = offset >= halves[place]
        headers = letter.headers | (
            {"dlq_offset": b"%d" % (offset - halves[place])} if is_new else {}
        )
        kept.append(letter._replace(headers=headers, offset=letter.offset + is_new * 10**7))
    former = FormerTopic(name, old, {}, {0: 10**6})
    return {**topics, name: new, f"{name}.dlq": [*kept, *letters]}, former, lost


def is_row(value: bytes) -> bool:
    """Whether a record is a row that counts."""
    return b'"timestamp": "2024' in value and b"prediction_id" in value and value[-1:] == b"}"


def of_another_id(value: bytes) -> bytes:
    return value.replace(b'"prediction_id": "', b'"prediction_id": "lost-', 1)


def marked(topics: Topics, *, but: Callable[[dict[str, Any]], bool]) -> Topics:
    """The topics with `losses` in all figures apart from some."""
    loss = {"topic": "-", "from": "-", "until": "-", "records": None}
    records = []
    for record in topics["metrics"]:
        value = json.loads(record.value)
        if not but(value):
            value["losses"] = [loss]
        records.append(record._replace(value=json.dumps(value).encode()))
    return {**topics, "metrics": records}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["predictions", "ground-truth"])
def test_figures_that_lack_lost_rows_must_say_so(topics: Topics, name: str) -> None:
    changed, former, lost = with_loss(topics, name)

    def verdict_on(topics: Topics) -> Verdict:
        return verify(topics, CONFIGURATION, now_ms=NOW, former=[former])

    announced = verdict_on(marked(changed, but=lambda value: False))
    assert announced.faults == []
    assert announced.lost_rows == len(lost) > PARTITIONS
    assert 0 < announced.announced < announced.marked
    # No figure at all has the mark: each that would be another one without the loss is named.
    faults = verdict_on(changed).faults
    assert len(faults) == announced.announced
    assert all("lacks lost rows and has no losses" in fault for fault in faults)
    # One of those lacks it.
    place = faults[0].partition(": lacks")[0]
    one = marked(
        changed, but=lambda value: value["kind"] in WINDOWS and str(place_of(value)) == place
    )
    assert verdict_on(one).faults == [faults[0]]


def test_a_row_that_was_read_is_as_late_as_it_was_read() -> None:
    #   offset   0        1 (lost)   2
    #   time     00:00    00:50      00:10     without the loss, the last one is almost an hour late
    def row(offset: int, time: str) -> Stored:
        event = {
            "prediction_id": f"p{offset}",
            "model_name": "m",
            "model_version": "1",
            "prediction": "yes",
            "timestamp": f"2024-03-01T{time}:00Z",
        }
        return Stored(0, offset, b"-", json.dumps(event).encode(), {})

    first, lost, last = row(0, "00:00"), row(1, "00:50"), row(2, "00:10")
    begun = {"timestamp": "2024-03-01T00:00:00Z", "after": {"predictions": 0}}
    tick = Stored(0, 0, b"0", json.dumps(begun).encode(), {})
    read = {"predictions": [first, last], "ticks": [tick]}
    reading = Reading(
        {name: list(records) for name, records in read.items()},
        {"predictions": [first, lost, last]},
        {"predictions": {(0, 1)}},
    )
    settings = Settings.from_toml(CONFIGURATION)
    grace = settings.prediction_grace
    as_read, _ = rows_of(read, "predictions", prediction, grace, NOW)
    rows = with_lost(reading, "predictions", as_read, read, NOW, settings)
    minute = 60_000
    begin = as_read[0].time
    assert [((row.time - begin) // minute, (row.floor - begin) // minute) for row in rows] == [
        (0, -1),
        (50, 49),
        (10, 9),
    ]


@pytest.mark.slow
def test_a_wrong_figure_is_no_announced_one_because_it_has_losses(topics: Topics) -> None:
    lossy, former, _ = with_loss(topics, "predictions")
    wrong = changed(marked(lossy, but=lambda value: False), "metrics", cell_too_many)
    assert verify(wrong, CONFIGURATION, now_ms=NOW, former=[former]).twice == 1


@pytest.mark.slow
def test_a_loss_that_is_not_recorded_or_recorded_twice_is_found(topics: Topics) -> None:
    changed, former, _ = with_loss(topics, "predictions")
    letters = [r for r in changed["predictions.dlq"] if r.headers["dlq_reason"] == b"lost"]
    rest = [r for r in changed["predictions.dlq"] if r.headers["dlq_reason"] != b"lost"]
    twice = marked(
        {**changed, "predictions.dlq": [*rest, *letters, letters[0]]}, but=lambda _: False
    )
    assert "predictions 0: the loss is recorded twice" in (
        verify(twice, CONFIGURATION, now_ms=NOW, former=[former]).faults
    )
    none = marked({**changed, "predictions.dlq": [*rest, *letters[1:]]}, but=lambda _: False)
    assert "predictions 0: the topic was made anew, but no loss is recorded" in (
        verify(none, CONFIGURATION, now_ms=NOW, former=[former]).faults
    )


@pytest.mark.parametrize(
    ("size", "sha256", "key", "is_right"),
    [
        (b"3000000", b"ab", b"k", True),
        (b"3000001", b"ab", b"k", False),
        (b"3000000", b"ac", b"k", False),
        (b"3000000", b"ab", b"l", False),
    ],
)
def test_a_dead_letter_without_the_bytes_has_size_and_hash(
    size: bytes, sha256: bytes, key: bytes, is_right: bool
) -> None:
    row = Stored(1, 5, b"k", b"", {}, (3_000_000, "ab"))
    headers = {
        "dlq_topic": b"predictions",
        "dlq_partition": b"1",
        "dlq_offset": b"5",
        "dlq_reason": b"too_large",
        "dlq_error": b"only size and SHA-256 are kept",
        "dlq_size": size,
        "dlq_sha256": sha256,
    }
    found = list(dead_letters([row], [Stored(0, 0, key, b"", headers)], {0: "too large"}))
    assert (found == []) == is_right
