"""Recorded logs: lines, positions, exported logs, and the merged order of topics."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftline.agents.recorded import lines as lines_module
from driftline.agents.recorded import topic_log
from driftline.agents.recorded.lines import LineFile, LogError
from driftline.agents.recorded.merge import Merge, Step, columns_by_topic, merged_ranks
from driftline.agents.recorded.recorded_ticks import RecordedTicks
from driftline.agents.recorded.topic_log import Position, TopicLog
from driftline.schemas.decode import decode_predictions, decode_ticks, decode_truths
from driftline.schemas.times import format_time
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS, TICKS
from driftline.streams.partial import LostSpan

MINUTE = 60_000
BEGIN = 28_000_000 * MINUTE


def at(minute: int) -> int:
    """Event time of a minute, in ms."""
    return BEGIN + minute * MINUTE


def minute_of(time_ms: int) -> int:
    """The minute of an event time; 0 of no time."""
    return (time_ms - BEGIN) // MINUTE if time_ms else 0


def prediction(id_: str, time_ms: int, **more: Any) -> dict[str, Any]:
    return {
        "prediction_id": id_,
        "model_name": "m",
        "model_version": "1",
        "timestamp": time_ms,
        "prediction": "a",
        **more,
    }


def truth(id_: str, time_ms: int) -> dict[str, Any]:
    return {"prediction_id": id_, "label": "a", "timestamp": time_ms}


def write(path: Path, values: Sequence[Any]) -> Path:
    path.write_bytes(
        b"".join(
            (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n"
            for value in values
        )
    )
    return path


def all_lines(path: Path, *, chunk_bytes: int, byte: int = 0) -> tuple[list[bytes], list[int]]:
    values: list[bytes] = []
    ends: list[int] = []
    with LineFile(path, byte=byte, chunk_bytes=chunk_bytes) as file:
        while (lines := file.read()) is not None:
            values += lines.values
            ends += [lines.end_of(number) for number in range(1, len(lines.values) + 1)]
    return values, ends


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"a",
        b"a\n",
        b"a\nbc",
        b"\n\na\n",
        b"a\r\nb\n",
        b"\xff\x00\n\xfe",
        b"x" * 100 + b"\ny",
    ],
)
@pytest.mark.parametrize("chunk_bytes", [1, 3, 1000])
def test_lines_and_their_ends_are_the_same_for_any_chunk_size(
    tmp_path: Path, content: bytes, chunk_bytes: int
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    expected = content.split(b"\n")
    if not expected[-1]:
        expected.pop()
    values, ends = all_lines(path, chunk_bytes=chunk_bytes)
    assert values == expected
    assert ends == [
        min(sum(len(line) + 1 for line in expected[: i + 1]), len(content))
        for i in range(len(expected))
    ]


def test_reading_resumes_at_the_end_of_any_line(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"one\n\ntwo\nthree")
    values, ends = all_lines(path, chunk_bytes=4)
    for i, end in enumerate(ends):
        assert all_lines(path, chunk_bytes=4, byte=end) == (values[i + 1 :], ends[i + 1 :])


def test_a_file_shorter_than_its_position_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"one\n")
    with pytest.raises(LogError, match=r"log\.jsonl: has 4 bytes, but 10 were read before"):
        LineFile(path, byte=10)


def test_a_file_without_line_feeds_is_an_error_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines_module, "MAX_LINE_BYTES", 1 << 20)
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"{}\n" + b"x" * (3 << 20))
    with (
        LineFile(path, chunk_bytes=100_000) as file,
        pytest.raises(LogError, match="the line after byte 3 is longer than 1 MiB"),
    ):
        while file.read() is not None:
            pass


def read_all(log: TopicLog, portion_lines: int) -> list[Any]:
    portions = []
    while True:
        log.fill(portion_lines)
        if not log.buffered:
            return portions
        portions.append(log.take(min(portion_lines, log.buffered)))


LINES: list[Any] = [
    prediction("a", at(5)),
    b"not json",
    prediction("b", at(3)),
    b"",
    prediction("c", at(7), score=1.7),
    prediction("d", at(6)),
    b"\xff\xfe",
]


@pytest.mark.parametrize("portion_lines", [1, 2, 3, 100])
def test_a_topic_file_gives_rows_and_rejected_lines_with_their_line_numbers(
    tmp_path: Path, portion_lines: int
) -> None:
    log = TopicLog(
        write(tmp_path / "predictions.jsonl", LINES), (decode_predictions, decode_predictions)
    )
    portions = read_all(log, portion_lines)
    assert [row.prediction_id for portion in portions for row in portion.rows] == ["a", "b", "d"]
    assert [line for portion in portions for line in portion.line.tolist()] == [0, 2, 5]
    assert [offset for portion in portions for offset in portion.offset.tolist()] == [0, 2, 5]
    # The rejected row at 7 minutes does not advance the key.
    assert [key for portion in portions for key in portion.key.tolist()] == [
        at(5),
        at(5),
        at(6),
    ]
    assert [line for portion in portions for line in portion.reject_line] == [1, 3, 4, 6]
    assert [reject.raw for portion in portions for reject in portion.rejects] == [
        b"not json",
        b"",
        json.dumps(LINES[4]).encode(),
        b"\xff\xfe",
    ]
    assert [reject.offset for portion in portions for reject in portion.rejects] == [1, 3, 4, 6]
    assert log.position == Position(
        (tmp_path / "predictions.jsonl").stat().st_size, len(LINES), at(6)
    )


def test_a_topic_file_resumes_at_any_position(tmp_path: Path) -> None:
    path = write(tmp_path / "predictions.jsonl", LINES)
    for stop in range(len(LINES) + 1):
        first = TopicLog(path, (decode_predictions, decode_predictions))
        first.fill(len(LINES))
        head = first.take(stop) if stop else None
        first.close()
        rest = read_all(
            TopicLog(path, (decode_predictions, decode_predictions), position=first.position), 2
        )
        portions = [head, *rest] if head else rest
        assert [row.prediction_id for portion in portions for row in portion.rows] == [
            "a",
            "b",
            "d",
        ]
        assert [key for portion in portions for key in portion.key.tolist()] == [
            at(5),
            at(5),
            at(6),
        ]
        assert [line for portion in portions for line in portion.reject_line] == [1, 3, 4, 6]


def exported(offset: int, value: Any, partition: int | None = None, **more: Any) -> bytes:
    where = {} if partition is None else {"partition": partition}
    if isinstance(value, bytes):
        return json.dumps(
            {**where, "offset": offset, "value_base64": base64.b64encode(value).decode(), **more}
        ).encode()
    return json.dumps({**where, "offset": offset, "value": value, **more}).encode()


def test_an_exported_log_keeps_partitions_offsets_and_rejects_of_the_live_run(
    tmp_path: Path,
) -> None:
    ahead = prediction("c", at(9_000))
    path = write(
        tmp_path / "predictions.jsonl",
        [
            exported(17, prediction("a", at(1)), partition=3),
            exported(4, prediction("b", at(2)), partition=0),
            exported(18, b"{not json", partition=3),
            exported(
                19,
                ahead,
                partition=3,
                refused={"reason": "too_far_ahead", "error": "rejected live"},
            ),
            b"{}",
            exported(20, prediction("d", at(3))),
            b'{"offset": 21, "partition": 3}',
            exported(22, b"", partition=3),
        ],
    )
    (portion,) = read_all(TopicLog(path, (decode_truths, decode_predictions)), 100)
    assert [
        (row.prediction_id, p, o)
        for row, p, o in zip(portion.rows, portion.partition, portion.offset, strict=True)
    ] == [
        ("a", 3, 17),
        ("b", 0, 4),
        ("d", -1, 20),
    ]
    assert [
        (r.reason, p, r.offset)
        for r, p in zip(portion.rejects, portion.reject_partition, strict=True)
    ] == [
        ("not_json", 3, 18),
        ("too_far_ahead", 3, 19),
        ("not_json", 0, 4),
        ("tombstone", 3, 21),
        ("empty", 3, 22),
    ]
    assert portion.rejects[1].error == "rejected live"
    assert [reject.raw for reject in portion.rejects] == [
        b"{not json",
        json.dumps(ahead).encode(),
        b"{}",
        b"",
        b"",
    ]
    assert portion.key.tolist() == [at(1), at(2), at(3)]


@pytest.mark.parametrize("seed", range(20))
def test_merged_ranks_sort_by_key_then_by_sequence_then_by_place(seed: int) -> None:
    draw = random.Random(seed)
    keys = [
        np.array(sorted(draw.randrange(10) for _ in range(draw.randrange(8))), np.int64)
        for _ in range(3)
    ]
    expected = sorted(
        (int(key), sequence, place)
        for sequence, items in enumerate(keys)
        for place, key in enumerate(items)
    )
    got = {
        (sequence, place): int(rank)
        for sequence, ranks in enumerate(merged_ranks(keys))
        for place, rank in enumerate(ranks)
    }
    assert [got[sequence, place] for _, sequence, place in expected] == list(range(len(expected)))


def merge_of(
    folder: Path, *, partitions: int, positions: dict[str, Position] | None = None, **state: Any
) -> Merge:
    decoders: dict[str, Any] = {
        PREDICTIONS: decode_predictions,
        GROUND_TRUTH: decode_truths,
        TICKS: decode_ticks,
    }
    columns = columns_by_topic(lambda model: None)
    logs = {
        topic: TopicLog(
            path,
            (decode, decode),
            columns=columns.get(topic),
            position=(positions or {}).get(topic),
        )
        for topic, decode in decoders.items()
        if (path := folder / f"{topic}.jsonl").exists()
    }
    return Merge(logs, partitions=partitions, pane_ms=MINUTE, **state)


def rows_of(steps: Sequence[Step]) -> list[tuple[Any, ...]]:
    """(topic, id, partition, tick) of all rows in merged order."""
    rows: list[tuple[int, int, Any]] = []
    for number, step in enumerate(steps):
        for batch in step.batches:
            for topic, columns in (
                (PREDICTIONS, batch.predictions),
                (GROUND_TRUTH, batch.ground_truth),
            ):
                for i in range(len(columns) if columns is not None else 0):
                    assert columns is not None
                    rows.append(
                        (
                            number,
                            int(columns.rank[i]),
                            (
                                topic,
                                columns.ids[i].decode(),
                                batch.partition,
                                int(columns.tick_ms[i]),
                            ),
                        )
                    )
    return [row for _, _, row in sorted(rows)]


def steps_of(merge: Merge, lines: int) -> list[Step]:
    steps = []
    while (step := merge.step(lines)) is not None:
        steps.append(step)
    return steps


def test_topics_are_merged_by_running_maximum_of_event_time_and_never_sorted(
    tmp_path: Path,
) -> None:
    #   predictions  a1 b5 c2      c follows b although it is earlier: its key is 5
    #   truths       x1 y4 z6
    write(
        tmp_path / "predictions.jsonl",
        [prediction("a", at(1)), prediction("b", at(5)), prediction("c", at(2))],
    )
    write(
        tmp_path / "ground-truth.jsonl",
        [truth("x", at(1)), truth("y", at(4)), truth("z", at(6))],
    )
    rows = rows_of(steps_of(merge_of(tmp_path, partitions=1), 100))
    assert [id_ for _, id_, _, _ in rows] == ["a", "x", "y", "b", "c", "z"]
    assert [minute_of(tick) for _, _, _, tick in rows] == [1, 1, 4, 5, 5, 6]


def random_log(folder: Path, seed: int) -> None:
    draw = random.Random(seed)
    for name, make in (("predictions", prediction), ("ground-truth", truth)):
        time_ms = 0
        values: list[Any] = []
        for i in range(draw.randrange(60)):
            time_ms += draw.choice([0, 1_000, 20_000, 600_000])
            kind = draw.random()
            values.append(
                b"bad"
                if kind < 0.1
                else make(f"{i}", max(time_ms - draw.choice([0, 0, 90_000]), 1))
            )
        write(folder / f"{name}.jsonl", values)


@pytest.mark.parametrize("seed", range(15))
def test_order_and_ticks_are_the_same_for_any_step_size_and_after_any_resume(
    tmp_path: Path, seed: int
) -> None:
    random_log(tmp_path, seed)
    draw = random.Random(seed)
    whole = rows_of(steps_of(merge_of(tmp_path, partitions=3), 1_000))
    for lines in (1, 2, 7, 50):
        assert rows_of(steps_of(merge_of(tmp_path, partitions=3), lines)) == whole, (
            f"seed {seed}, {lines} lines per step"
        )
    merge, steps = merge_of(tmp_path, partitions=3), []
    while (step := merge.step(draw.randrange(1, 9))) is not None:
        steps.append(step)
        merge.close()
        merge = merge_of(tmp_path, partitions=3, positions=merge.positions, ticks=merge.ticks)
    assert rows_of(steps) == whole, f"seed {seed}, resumed after every step"
    one = [(topic, id_, tick) for topic, id_, _, tick in whole]
    assert [
        (topic, id_, tick)
        for topic, id_, _, tick in rows_of(steps_of(merge_of(tmp_path, partitions=1), 10))
    ] == one


@pytest.mark.parametrize("seed", range(5))
def test_order_is_the_same_with_little_read_ahead(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random_log(tmp_path, seed)
    whole = rows_of(steps_of(merge_of(tmp_path, partitions=3), 1_000))
    monkeypatch.setattr(topic_log, "MAX_AHEAD_BYTES", 1)
    monkeypatch.setitem(LineFile.__init__.__kwdefaults__, "chunk_bytes", 250)
    assert rows_of(steps_of(merge_of(tmp_path, partitions=3), 1_000)) == whole, f"seed {seed}"


def test_every_partition_is_ticked_at_each_step_even_without_rows(tmp_path: Path) -> None:
    write(
        tmp_path / "predictions.jsonl",
        [prediction("a", at(1) + 30_000), prediction("b", at(3) + 20_000)],
    )
    write(tmp_path / "ground-truth.jsonl", [])
    steps = steps_of(merge_of(tmp_path, partitions=4), 1)
    assert [[batch.tick_ms for batch in step.batches] for step in steps] == [
        [at(1)] * 4,
        [at(3)] * 4,
    ]


def test_recorded_ticks_replace_those_of_the_driver(tmp_path: Path) -> None:
    write(tmp_path / "predictions.jsonl", [prediction("a", at(10)), prediction("b", at(20))])
    write(tmp_path / "ground-truth.jsonl", [])
    write(
        tmp_path / "ticks.jsonl",
        [{"timestamp": at(5)}, {"timestamp": at(10)}, {"timestamp": at(8)}],
    )
    for lines in (1, 2, 100):
        steps = steps_of(merge_of(tmp_path, partitions=1), lines)
        assert [minute_of(tick) for _, _, _, tick in rows_of(steps)] == [5, 10], (
            f"{lines} lines per step"
        )
        assert steps[-1].batches[0].tick_ms == at(10)


#   partition 1    offset  0   1   2   3
#   prediction at min     10  20   5  30
#   The tick at 25 min was written after rows 0 and 1: row 2 is late because of it, although it is
#   the first by event time. A tick without positions is a request and advances nothing.
@pytest.mark.parametrize("lines", [1, 2, 100])
def test_an_exported_tick_applies_to_the_rows_of_its_partition_from_its_positions_on(
    tmp_path: Path, lines: int
) -> None:
    rows = [(0, 3, 1), (1, 0, 10), (1, 1, 20), (1, 2, 5), (1, 3, 30)]
    write(
        tmp_path / "predictions.jsonl",
        [exported(o, prediction(f"{p}{o}", at(minute)), partition=p) for p, o, minute in rows],
    )
    write(tmp_path / "ground-truth.jsonl", [])
    ticks = [
        {"timestamp": at(25), "after": {"predictions": 2, "ground-truth": 0}},
        {"timestamp": at(90)},
    ]
    write(
        tmp_path / "ticks.jsonl", [exported(i, tick, partition=1) for i, tick in enumerate(ticks)]
    )
    recorded = RecordedTicks(tmp_path / "ticks.jsonl", (decode_ticks, decode_ticks), 2)
    (tmp_path / "ticks.jsonl").unlink()
    merge, steps, offsets, positions = (
        merge_of(tmp_path, partitions=2, recorded=recorded),
        [],
        {},
        {},
    )
    while (step := merge.step(lines)) is not None:
        steps.append(step)
        offsets, positions = merge.offsets, merge.positions
        merge.close()
        merge = merge_of(
            tmp_path, partitions=2, recorded=recorded, positions=positions, offsets=offsets
        )
    assert [(id_, minute_of(tick)) for _, id_, _, tick in rows_of(steps)] == [
        ("03", 0),
        ("10", 0),
        ("11", 0),
        ("12", 25),
        ("13", 25),
    ]
    advanced = [[minute_of(batch.tick_ms or 0) for batch in step.batches] for step in steps]
    # The partition advances in the step that reads the last row before the tick.
    assert (
        advanced
        == {
            1: [[0, 0], [0, 0], [0, 25], [0, 25], [0, 25]],
            2: [[0, 0], [0, 25], [0, 25]],
            100: [[0, 25]],
        }[lines]
    )
    assert [minute_of(batch.tick_ms or 0) for batch in merge.last_batches(recorded)] == [0, 25]


#   partition 0    topic made anew    offset  0   1   2
#   prediction at min                        50  20  60
#   The tick at 40 min was written at offset 7 of the old topic, before all rows of the new one.
@pytest.mark.parametrize(
    ("fault", "late"),
    [("made_anew", [40, 40, 40]), ("truncated", [40, 40, 40]), ("deleted", [0] * 3)],
)
def test_ticks_of_a_topic_that_is_gone_apply_to_all_rows_of_the_new_one(
    tmp_path: Path, fault: str, late: list[int]
) -> None:
    write(
        tmp_path / "predictions.jsonl",
        [
            exported(o, prediction(f"{o}", at(minute)), partition=0)
            for o, minute in enumerate((50, 20, 60))
        ],
    )
    write(tmp_path / "ground-truth.jsonl", [])
    loss = {
        "topic": "predictions",
        "fault": fault,
        "position": 7,
        "resumed_at": 0,
        "from": at(39),
        "until": format_time(at(51)),
        "records": None,
    }
    ticks = [
        {"timestamp": at(40), "after": {"predictions": 7, "ground-truth": 0}},
        # A loss has two parts if a tick came before the first row.
        {"timestamp": 0, "after": {"predictions": 0}, "lost": [loss]},
        {"timestamp": 0, "after": {"predictions": 3}, "lost": [loss | {"from": at(41)}]},
    ]
    write(
        tmp_path / "ticks.jsonl", [exported(i, tick, partition=0) for i, tick in enumerate(ticks)]
    )
    recorded = RecordedTicks(tmp_path / "ticks.jsonl", (decode_ticks, decode_ticks), 1)
    assert recorded.rejects == []
    assert recorded.losses == [
        LostSpan("predictions", 0, 0, at(39), at(51), None),
        LostSpan("predictions", 0, 0, at(41), at(51), None),
    ]
    floors = recorded.floors(PREDICTIONS, 0, np.array([0, 1, 2]))
    assert [minute_of(floor) for floor in floors.tolist()] == late
    assert recorded.last_ms == at(40)


def test_an_exported_partition_that_the_run_does_not_have_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "predictions.jsonl", [exported(0, prediction("a", at(1)), partition=5)])
    write(tmp_path / "ground-truth.jsonl", [])
    merge = merge_of(tmp_path, partitions=4)
    with pytest.raises(
        LogError,
        match="has rows of partition 5, but this run has 4 partitions; pass --partitions 6",
    ):
        merge.step(10)
    merge.close()
