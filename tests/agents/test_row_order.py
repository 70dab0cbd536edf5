"""The order of a plain log: recognised, sorted with a word, and kept on demand."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import driftline
from driftline.agents.cli.program import driftline as program
from driftline.agents.inprocess.replay import ReplaySummary, replay
from driftline.agents.inprocess.run_identity import RunRefused
from driftline.agents.recorded import row_order
from driftline.agents.recorded.event_times import event_times
from driftline.agents.recorded.row_order import RowOrder, look, sort_file
from driftline.agents.recorded.sort_by_time import LinesByTime
from driftline.schemas.config import parse_config
from driftline.schemas.decode import decode_predictions, decode_truths
from driftline.schemas.times import DAY_MS, HOUR_MS, MINUTE_MS, format_time
from tests.seeds import quick_and_slow

START = 1_767_571_200_000  # 2026-01-05T00:00:00Z
NOW = START + 400 * DAY_MS
TOML = """
[run]
outcomes = true
park = "1d"
[defaults]
windows = ["1h", "1d"]
label_horizon = "1d"
correction_horizon = "1d"
maturity = ["1h", "1d"]
"""
DAYS, PER_DAY = 5, 40
STEP_MS = DAY_MS // PER_DAY
FOREVER = 10**14
Lines = list[bytes]

_forks = multiprocessing.get_context("forkserver")


def prediction(i: int, at_ms: int, **fields: Any) -> bytes:
    value = {
        "prediction_id": f"p{i:05d}",
        "model_name": "m",
        "model_version": "1",
        "timestamp": format_time(at_ms),
        "score": (i * 37 % 100) / 100,
    }
    return json.dumps(value | fields).encode()


def truth(i: int, at_ms: int) -> bytes:
    return json.dumps(
        {"prediction_id": f"p{i:05d}", "label": i % 2, "timestamp": format_time(at_ms)}
    ).encode()


def in_order(rows: int = DAYS * PER_DAY, step_ms: int = STEP_MS) -> tuple[Lines, Lines]:
    """Predictions one step apart, and their truths one minute after each."""
    at = [START + i * step_ms for i in range(rows)]
    return (
        [prediction(i, at[i]) for i in range(rows)],
        [truth(i, at[i] + MINUTE_MS) for i in range(rows)],
    )


def newest_first(lines: Lines) -> Lines:
    return lines[::-1]


def shards(lines: Lines) -> Lines:
    """Two hosts wrote every second row each; their files one after the other."""
    return lines[::2] + lines[1::2]


def lagging_host(lines: Lines) -> Lines:
    """Two hosts wrote every second row each; the second one is 20 rows, 12 hours, behind."""
    first, second = lines[::2], lines[1::2]
    merged = first[:10]
    for i, line in enumerate(second):
        merged += [line, *first[10 + i : 11 + i]]
    return merged


def shuffled(lines: Lines) -> Lines:
    mixed = list(lines)
    random.Random(5).shuffle(mixed)
    return mixed


KINDS = [newest_first, shards, lagging_host, shuffled]


def write(folder: Path, predictions: Lines, truths: Lines) -> Path:
    folder.mkdir(parents=True)
    for name, lines in (("predictions", predictions), ("ground-truth", truths)):
        (folder / f"{name}.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    return folder


def run(log: Path, out: Path, *, partitions: int = 8, **options: Any) -> ReplaySummary:
    return replay(log, out, parse_config(TOML), partitions=partitions, clock=lambda: NOW, **options)


def outputs(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.jsonl"))}


def records(out: Path, topic: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / f"{topic}.jsonl").read_bytes().splitlines()]


def by_day(out: Path) -> dict[str, tuple[int, int]]:
    """Predictions and labelled predictions of each final day."""
    return {
        record["window_start"][:10]: (record["n_predictions"], record["n"])
        for record in records(out, "metrics")
        if (record["window"], record["lane"], record["segment"]) == ("1d", "decisions", "all")
        and record["final"]
    }


@pytest.mark.parametrize("partitions", [1, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_an_unordered_log_gives_what_the_sorted_log_gives(
    kind: Callable[[Lines], Lines], partitions: int, tmp_path: Path
) -> None:
    predictions, truths = in_order()
    right = run(
        write(tmp_path / "right", predictions, truths), tmp_path / "a", partitions=partitions
    )
    assert (right.notes, right.uncounted) == ([], [])
    assert right.order == {
        topic: RowOrder(rows=200, behind=0, most_ms=0, sorted=False)
        for topic in ("predictions", "ground-truth")
    }
    log = write(tmp_path / "log", kind(predictions), kind(truths))
    summary = run(log, tmp_path / "b", partitions=partitions)
    assert outputs(tmp_path / "b") == outputs(tmp_path / "a")
    assert by_day(tmp_path / "b") == {f"2026-01-{5 + i:02d}": (40, 40) for i in range(DAYS)}
    assert all(order.sorted for order in summary.order.values())
    assert len(summary.notes) == 2
    assert (summary.uncounted, summary.uncounted_share) == (
        [],
        {"predictions": 0.0, "ground-truth": 0.0},
    )
    assert not (tmp_path / "b" / "sorted-log").exists()


def test_two_shards_of_a_thousand_rows(tmp_path: Path) -> None:
    # Ten days, 100 rows a day, the rows of two hosts one after the other.
    predictions, truths = in_order(1000, DAY_MS // 100)
    log = write(tmp_path / "log", shards(predictions), shards(truths))
    summary = run(log, tmp_path / "out")
    assert by_day(tmp_path / "out") == {f"2026-01-{5 + i:02d}": (100, 100) for i in range(10)}
    # Row 2j of the first shard is at 2j steps; the tenth largest time is at step 998 - 18 = 980.
    # Behind it are the rows at steps 1, 3, ..., 979 of the second shard: 490.
    assert summary.order["predictions"] == RowOrder(
        rows=1000, behind=490, most_ms=979 * DAY_MS // 100, sorted=True
    )
    assert summary.notes[0] == (
        "490 of 1,000 rows of predictions lay up to 9.8 days behind rows before them and would have"
        " been late, so the rows were sorted by event time (--keep-order takes the order of the "
        'file as the order of arrival) (see "Order and loss of a recorded log" in docs/inputs.md)'
    )


def test_kept_order_is_the_order_of_arrival(tmp_path: Path) -> None:
    predictions, truths = in_order(1000, DAY_MS // 100)
    log = write(tmp_path / "log", shards(predictions), shards(truths))
    summary = run(log, tmp_path / "out", keep_order=True)
    # The second shard is read when the watermark is at step 998. A row more than a day and a minute
    # (the horizon and the grace) before the start of the hour is dropped.
    reached = START + 998 * DAY_MS // 100
    dropped = [i for i in range(1, 1000, 2) if START + i * DAY_MS // 100 < reached - DAY_MS]
    counted = sum(n for n, _ in by_day(tmp_path / "out").values())
    assert counted == 1000 - len(dropped) + 1  # the row within the minute of the grace
    assert summary.order == {}
    assert summary.notes == []
    assert summary.lost_too_much


def test_only_the_topic_that_is_out_of_order_is_sorted(tmp_path: Path) -> None:
    predictions, truths = in_order()
    right = write(tmp_path / "right", predictions, truths)
    run(right, tmp_path / "a")
    log = write(tmp_path / "log", predictions, newest_first(truths))
    summary = run(log, tmp_path / "b")
    assert outputs(tmp_path / "b") == outputs(tmp_path / "a")
    assert {topic: order.sorted for topic, order in summary.order.items()} == {
        "predictions": False,
        "ground-truth": True,
    }


def test_equal_times_keep_their_order_and_duplicates_stay(tmp_path: Path) -> None:
    predictions = [prediction(i, START + (20 - i // 2) * HOUR_MS) for i in range(40)]
    lines = [*predictions, *predictions[:3]]
    run(write(tmp_path / "log", lines, []), tmp_path / "kept", keep_order=True)
    summary = run(tmp_path / "log", tmp_path / "out")
    assert [row.rows for row in summary.uncounted if row.reason == "duplicate_prediction"] == [3]
    sort_file(
        tmp_path / "log" / "predictions.jsonl",
        "predictions",
        tmp_path / "sorted" / "predictions.jsonl",
        latest_ms=FOREVER,
    )
    written = (tmp_path / "sorted" / "predictions.jsonl").read_bytes().splitlines()
    numbered = [(int(line[:12]), line[12:]) for line in written]
    at = sorted(range(43), key=lambda i: (json.loads(lines[i])["timestamp"], i))
    assert numbered == [(i, lines[i]) for i in at]


def test_dead_letters_and_examples_name_the_line_of_the_users_file(tmp_path: Path) -> None:
    predictions, truths = in_order(100)
    lines = newest_first(predictions)
    lines[3] = b"{"  # no time: keeps its place after line 2
    lines[50] = prediction(49, START + 49 * STEP_MS, score=1.7)
    lines[70] = b"\xff\xfe"
    lines[80] = b' {"prediction_id": "x", "timestamp": "2026-01-06T00:00:00Z"} \r'
    lines.append(prediction(90, START + 90 * STEP_MS, score=0.5))  # another content of an id
    log = write(tmp_path / "log", lines, truths)
    summary = run(log, tmp_path / "out")
    letters = {
        letter["dlq_offset"]: letter for letter in records(tmp_path / "out", "predictions.dlq")
    }
    assert sorted(letters) == [3, 50, 70, 80, 100]
    assert letters[50]["dlq_error"].startswith('predictions@50: field "score" is 1.7')
    assert letters[80]["value"].encode() == lines[80]
    assert letters[100]["dlq_reason"] == "conflict"
    assert letters[100]["dlq_error"].startswith("predictions@100:")
    refused = {row.reason: row.example for row in summary.uncounted}
    assert refused["out_of_range"].startswith("predictions@50:")


def test_a_log_without_a_line_feed_at_its_end_and_with_crlf(tmp_path: Path) -> None:
    predictions, truths = in_order(50)
    run(write(tmp_path / "right", predictions, truths), tmp_path / "a")
    log = write(tmp_path / "log", [], truths)
    (log / "predictions.jsonl").write_bytes(b"\r\n".join(newest_first(predictions)))
    run(log, tmp_path / "b")
    assert outputs(tmp_path / "b") == outputs(tmp_path / "a")


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_tiny_logs_are_not_judged(rows: int, tmp_path: Path) -> None:
    predictions, truths = in_order(rows)
    log = write(tmp_path / "log", newest_first(predictions), newest_first(truths))
    order = run(log, tmp_path / "out").order
    assert [(topic.rows, topic.sorted) for topic in order.values()] == [(rows, False)] * 2


def test_the_rule_by_hand(tmp_path: Path) -> None:
    # 20 rows an hour apart, newest first. A row is compared with the second largest time before it,
    # which from the third row on is that of the second row: 18 rows are 1 h to 18 h behind.
    path = tmp_path / "predictions.jsonl"
    path.write_bytes(b"\n".join(prediction(i, START - i * HOUR_MS) for i in range(20)))
    found = look(path, "predictions", grace_ms=MINUTE_MS, latest_ms=FOREVER)
    assert found == RowOrder(rows=20, behind=18, most_ms=18 * HOUR_MS, sorted=True)
    # With a grace of 5 h, those that are 6 h to 18 h behind remain.
    found = look(path, "predictions", grace_ms=5 * HOUR_MS, latest_ms=FOREVER)
    assert (found.behind, found.sorted) == (13, True)


@pytest.mark.parametrize("ahead", [1, 9])
@pytest.mark.parametrize("place", [0, 91, 450])
def test_misdated_rows_ahead_do_not_make_a_log_unordered(
    ahead: int, place: int, tmp_path: Path
) -> None:
    lines = [prediction(i, START + i * HOUR_MS) for i in range(900)]
    lines[place:place] = [
        prediction(10_000 + i, START + 240 * DAY_MS + i * HOUR_MS) for i in range(ahead)
    ]
    (tmp_path / "predictions.jsonl").write_bytes(b"\n".join(lines))
    found = look(
        tmp_path / "predictions.jsonl", "predictions", grace_ms=MINUTE_MS, latest_ms=FOREVER
    )
    assert found == RowOrder(rows=900 + ahead, behind=0, most_ms=0, sorted=False)


@pytest.mark.parametrize(
    ("late", "is_sorted"),
    [(1, False), (10, False), (11, True)],
    ids=["one row", "one in a hundred", "more"],
)
def test_a_few_late_rows_are_rows_that_arrived_late(
    late: int, is_sorted: bool, tmp_path: Path
) -> None:
    # 1,000 rows an hour apart; the last of them are 100 days behind.
    lines = [prediction(i, START + i * HOUR_MS) for i in range(1000 - late)]
    lines += [prediction(5000 + i, START - 100 * DAY_MS) for i in range(late)]
    (tmp_path / "predictions.jsonl").write_bytes(b"\n".join(lines))
    found = look(
        tmp_path / "predictions.jsonl", "predictions", grace_ms=MINUTE_MS, latest_ms=FOREVER
    )
    assert (found.behind, found.sorted) == (late, is_sorted)


def test_times_that_were_never_set_say_nothing_about_the_order(tmp_path: Path) -> None:
    lines = [prediction(i, START + i * HOUR_MS) for i in range(20)]
    lines[5:5] = [prediction(50 + i, 0, timestamp=0) for i in range(4)]
    (tmp_path / "predictions.jsonl").write_bytes(b"\n".join(lines))
    found = look(
        tmp_path / "predictions.jsonl", "predictions", grace_ms=MINUTE_MS, latest_ms=FOREVER
    )
    assert found == RowOrder(rows=20, behind=0, most_ms=0, sorted=False)


def test_rows_ahead_of_the_clock_say_nothing_about_the_order(tmp_path: Path) -> None:
    lines = [prediction(i, START + i * HOUR_MS) for i in range(30)]
    lines[5:5] = [prediction(50 + i, START + 300 * DAY_MS) for i in range(15)]
    (tmp_path / "predictions.jsonl").write_bytes(b"\n".join(lines))
    latest_ms = START + 100 * DAY_MS
    found = look(
        tmp_path / "predictions.jsonl", "predictions", grace_ms=MINUTE_MS, latest_ms=latest_ms
    )
    assert found == RowOrder(rows=30, behind=0, most_ms=0, sorted=False)


@pytest.mark.parametrize("seed", quick_and_slow(range(40), 8))
def test_the_look_counts_as_the_slow_rule_does(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(seed)
    rows = draw.choice([3, 30, 300, 1500])
    times = [START + i * HOUR_MS for i in range(rows)]
    for _ in range(draw.choice([0, 1, 5, rows // 10])):
        times[draw.randrange(rows)] += draw.choice([-1, 1]) * draw.randrange(60 * DAY_MS)
    if draw.random() < 0.3:
        draw.shuffle(times)
    (tmp_path / "predictions.jsonl").write_bytes(
        b"\n".join(prediction(i, at) for i, at in enumerate(times))
    )
    grace_ms = draw.choice([0, MINUTE_MS, 3 * DAY_MS])
    monkeypatch.setattr(row_order, "LineFile", _small_reads)
    found = look(
        tmp_path / "predictions.jsonl", "predictions", grace_ms=grace_ms, latest_ms=FOREVER
    )
    k = min(2 + rows // 100, 10)
    behind = [
        before - at
        for i, at in enumerate(times)
        if i >= k and (before := sorted(times[:i])[-k]) - at > grace_ms
    ]
    expected = RowOrder(
        rows=rows,
        behind=len(behind),
        most_ms=max(behind, default=0),
        sorted=len(behind) >= 2 and len(behind) / rows > 0.01,
    )
    assert found == expected, f"seed {seed}"


def test_of_a_large_file_in_order_a_sample_is_looked_at(tmp_path: Path) -> None:
    lines = [prediction(i, START + i * MINUTE_MS) for i in range(100_000)]
    path = tmp_path / "predictions.jsonl"
    path.write_bytes(b"\n".join(lines))
    found = look(path, "predictions", grace_ms=MINUTE_MS, latest_ms=FOREVER)
    assert 10_000 <= found.rows <= 12_500
    assert (found.behind, found.sorted) == (0, False)


@pytest.mark.parametrize("place", [1000, 50_000, 98_500])
@pytest.mark.parametrize("kind", ["together", "scattered"])
def test_rows_behind_are_found_in_a_large_file(kind: str, place: int, tmp_path: Path) -> None:
    # 1,500 of 100,000 rows, 1.5 %, are 10 days behind.
    times = [START + i * MINUTE_MS for i in range(100_000)]
    at = range(place, place + 1500) if kind == "together" else range(place % 60 + 30, 100_000, 66)
    for i in at:
        times[i] -= 10 * DAY_MS
    path = tmp_path / "predictions.jsonl"
    path.write_bytes(b"\n".join(prediction(i, at_ms) for i, at_ms in enumerate(times)))
    found = look(path, "predictions", grace_ms=MINUTE_MS, latest_ms=FOREVER)
    assert (found.rows, found.behind, found.sorted) == (100_000, len(at), True)


def _small_reads(path: Path) -> Any:
    from driftline.agents.recorded.lines import LineFile

    return LineFile(path, chunk_bytes=1000)


@pytest.mark.parametrize("seed", quick_and_slow(range(60), 15))
def test_times_are_those_of_the_decoders(seed: int) -> None:
    draw = random.Random(seed)
    forms: list[Callable[[int], Any]] = [
        format_time,
        lambda ms: ms,
        lambda ms: format_time(ms - ms % 1000),
        lambda ms: format_time(ms - ms % 1000).replace("Z", f".{draw.randrange(10**6):06d}Z"),
        lambda ms: format_time(ms - ms % 1000).replace("Z", ".5+00:00"),
        lambda ms: format_time(ms).replace("Z", draw.choice(["+05:30", "-08:00"])),
        lambda ms: format_time(ms).replace("Z", "-00:30"),
        lambda ms: format_time(ms).replace("T", draw.choice("Tt ")).replace("Z", draw.choice("Zz")),
        lambda ms: format_time(ms)[:10],
        lambda ms: format_time(ms).replace(":", "."),
        lambda ms: format_time(ms).replace("T1", "T3"),
        lambda ms: format_time(ms).replace("-0", "-1"),
        lambda ms: draw.choice([None, True, 1.5, "", "é", "2026-01-05T00:00:00.Z", -1, 10**15]),
    ]
    usual = draw.sample(forms[:7], draw.choice([1, 2]))
    names = draw.choice([["timestamp"], ["timestamp", "ts", "event_time", "timestamp_ms"]])
    odd = draw.choice([0.0, 0.1])
    lines = []
    for i in range(200):
        at_ms = START + i * 70_000 + draw.randrange(DAY_MS)
        form = draw.choice(forms if draw.random() < odd else usual)
        value: Any = json.loads(prediction(i, 0))
        del value["timestamp"]
        value[draw.choice(names)] = form(at_ms)
        if draw.random() < odd / 10:
            value = {"specversion": "1.0", "timestamp": 7, "data": value}
        line = json.dumps(value).encode()
        if draw.random() < odd / 10:
            line = draw.choice([b"", b"{", b"[1]", b"\xef\xbb\xbf" + line, b"\0\0\0\0\1" + line])
        lines.append(line)
    for topic in ("predictions", "ground-truth"):
        if topic == "ground-truth":
            lines = [line.replace(b'"score"', b'"label"') for line in lines]
        decode = decode_predictions if topic == "predictions" else decode_truths
        rows, good, _ = decode(lines, range(len(lines)))
        times = event_times(lines, topic)
        assert len(times) == len(lines)
        # A row that is rejected for another field may have a time.
        assert times[good].tolist() == [row.timestamp_ms for row in rows], f"seed {seed}"


def test_sorting_holds_few_lines_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shuffled(in_order(5000, 60_000)[0])
    (tmp_path / "predictions.jsonl").write_bytes(b"\n".join(lines))
    most = 0
    add = LinesByTime.add

    def counted(self: LinesByTime, time_ms: int, line: bytes) -> None:
        nonlocal most
        add(self, time_ms, line)
        most = max(most, self.buffered)

    monkeypatch.setattr(LinesByTime, "add", counted)
    target = tmp_path / "sorted" / "predictions.jsonl"
    run_bytes = 20_000
    sort_file(
        tmp_path / "predictions.jsonl",
        "predictions",
        target,
        latest_ms=FOREVER,
        run_bytes=run_bytes,
    )
    assert 0 < most <= run_bytes // min(map(len, lines)) + 1 < len(lines) // 20
    written = [line[12:] for line in target.read_bytes().splitlines()]
    assert written == sorted(lines, key=lambda line: json.loads(line)["timestamp"])
    assert [path.name for path in target.parent.iterdir()] == ["predictions.jsonl"]


def run_until_killed(log: Path, out: Path, point: str, at: int) -> bool:
    """Run in a process that is killed with SIGKILL at the `at`-th `point`; False if it ended."""
    child = _forks.Process(target=_run_and_die, args=(log, out, point, at))
    child.start()
    child.join()
    assert child.exitcode in (0, -signal.SIGKILL)
    return child.exitcode != 0


def _run_and_die(log: Path, out: Path, point: str, at: int) -> None:
    left = at

    def reached(now: str) -> None:
        nonlocal left
        left -= now == point
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    run(log, out, batch=500, reached=reached)


@pytest.mark.parametrize(
    "kill",
    quick_and_slow(
        [
            ("sorting", 1),
            ("sorted", 2),
            ("committed", 1),
            ("checking", 1),
            ("sorted", 1),
            ("appended", 1),
            ("committed", 5),
        ],
        3,
    ),
)
def test_a_killed_and_resumed_run_ends_with_the_same_bytes(
    kill: tuple[str, int], tmp_path: Path
) -> None:
    point, at = kill
    # More than one part of the file, so that a run can be killed in the middle of sorting.
    predictions, truths = in_order(3000, MINUTE_MS)
    log, out = write(tmp_path / "log", shuffled(predictions), shards(truths)), tmp_path / "out"
    whole = run(log, tmp_path / "whole", batch=500)
    assert whole.lines == {"predictions": 3000, "ground-truth": 3000}
    assert run_until_killed(log, out, point, at)
    if point == "sorting":  # a kill while the file is written leaves a part of it
        (out / "sorted-log").mkdir(exist_ok=True)
        (out / "sorted-log" / "predictions.jsonl.partial").write_bytes(b"000000000000{")
    resumed = run(log, out, batch=500)
    assert outputs(out) == outputs(tmp_path / "whole")
    assert (resumed.order, resumed.uncounted) == (whole.order, whole.uncounted)
    assert resumed.notes == whole.notes
    assert not (out / "sorted-log").exists()


def test_a_finished_run_says_the_same_again_and_sorts_nothing(tmp_path: Path) -> None:
    predictions, truths = in_order(100)
    log = write(tmp_path / "log", newest_first(predictions), truths)
    first = run(log, tmp_path / "out")
    points: list[str] = []
    again = run(log, tmp_path / "out", reached=points.append)
    assert (again.already_finished, points) == (True, [])
    assert (again.notes, again.order, again.lines) == (first.notes, first.order, first.lines)
    with pytest.raises(RunRefused, match="--keep-order is False, this one's True"):
        run(log, tmp_path / "out", keep_order=True)


def test_ticks_and_exported_files_keep_their_order(tmp_path: Path) -> None:
    predictions, truths = in_order(100)
    log = write(tmp_path / "ticked", newest_first(predictions), truths)
    tick = {"timestamp": format_time(START)}
    (log / "ticks.jsonl").write_text(json.dumps(tick) + "\n", encoding="utf-8")
    assert run(log, tmp_path / "a").order == {}
    exported = [
        json.dumps({"offset": i, "value": json.loads(line)}).encode()
        for i, line in enumerate(newest_first(predictions))
    ]
    log = write(tmp_path / "exported", exported, truths)
    summary = run(log, tmp_path / "b")
    assert list(summary.order) == ["ground-truth"]
    assert summary.lost_too_much


def test_the_python_api_sorts_dictionaries_and_has_the_option(tmp_path: Path) -> None:
    predictions, truths = in_order(100)
    rows = [json.loads(line) for line in newest_first(predictions)]
    known = [json.loads(line) for line in truths]
    config = {"defaults": {"windows": ["1d"], "label_horizon": "1d", "maturity": ["1d"]}}
    with driftline.replay(rows, known, config) as results:
        assert results.uncounted_share == {"predictions": 0.0, "ground-truth": 0.0}
        assert results.summary is not None
        assert "97 of 100 rows of predictions" in results.summary.notes[0]
    with driftline.replay(rows, known, config, keep_order=True) as results:
        assert results.uncounted_share["predictions"] > 0.5
        assert driftline.open(results.folder).uncounted_share == {}


def _command(log: Path, out: Path, *options: str) -> Any:
    config = log.parent / "driftline.toml"
    config.write_text(TOML, encoding="utf-8")
    return CliRunner().invoke(
        program, ["replay", str(log), "--config", str(config), "--out", str(out), *options]
    )


def test_exit_code_of_an_unordered_log(tmp_path: Path) -> None:
    predictions, truths = in_order(100)
    log = write(tmp_path / "log", newest_first(predictions), newest_first(truths))
    done = _command(log, tmp_path / "a")
    assert done.exit_code == 0
    topics = ["predictions", "ground-truth"]
    notes = [f"note: 97 of 100 rows of {topic} lay up to" for topic in topics]
    assert [
        line[: len(note)] for line, note in zip(done.stderr.splitlines(), notes, strict=True)
    ] == notes
    assert all(note in done.stdout for note in notes)
    done = _command(log, tmp_path / "b", "--keep-order")
    assert done.exit_code == 1
    assert "% of predictions did not count" in done.stderr
    assert "--allow-loss accepts it" in done.stderr
    assert _command(log, tmp_path / "b", "--keep-order", "--allow-loss").exit_code == 0


@pytest.mark.parametrize(
    ("refused", "unmatched", "code", "words"),
    [
        (1, 1, 0, None),
        (2, 0, 1, "2 % of predictions did not count"),
        (0, 2, 1, "2 % of ground-truth did not count"),
        (2, 3, 1, "3 % of ground-truth and 2 % of predictions did not count"),
    ],
)
def test_more_than_one_row_in_a_hundred_ends_with_1(
    refused: int, unmatched: int, code: int, words: str | None, tmp_path: Path
) -> None:
    predictions, truths = in_order(100)
    for i in range(refused):
        predictions[40 + i] = b"{"
        truths[40 + i] = truth(i, START + (40 + i) * STEP_MS)  # a repeated truth, which is no loss
    for i in range(unmatched):
        truths[60 + i] = truth(9000 + i, START + (60 + i) * STEP_MS)
    log = write(tmp_path / "log", predictions, truths)
    done = _command(log, tmp_path / "out")
    assert done.exit_code == code, done.output
    if words is None:
        assert done.stderr == ""
    else:
        assert words in done.stderr
    assert _command(log, tmp_path / "out", "--allow-loss").exit_code == 0
    told = json.loads(_command(log, tmp_path / "out", "--json", "--allow-loss").stdout)
    assert told["uncounted_share"] == {
        "predictions": refused / 100,
        "ground-truth": unmatched / 100,
    }
    assert told["order"]["predictions"]["sorted"] is False


def test_expired_and_repeated_rows_are_no_loss(tmp_path: Path) -> None:
    predictions, truths = in_order(100)
    log = write(tmp_path / "log", [*predictions, predictions[-1]], truths[:10])
    done = _command(log, tmp_path / "out")
    assert done.exit_code == 0
    assert "expired_prediction" in done.stdout
