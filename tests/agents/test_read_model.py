"""The read model of an output folder gives what its files hold, whenever and however it is read."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest

import driftline
from driftline.agents.output_folder import LOG_FILE, ReadError
from driftline.agents.read_model.drift_reads import DriftFilter
from driftline.agents.read_model.figure_reads import Series, SeriesFilter, Span
from driftline.agents.read_model.folder_source import FolderSource
from driftline.agents.read_model.index import FORMAT, Index, UnusableIndex
from driftline.agents.read_model.intake import INDEXED, Intake
from driftline.agents.read_model.packed import pack, unpack
from driftline.agents.read_model.read_model import INDEX_FILE, ReadModel, open_folder
from driftline.agents.read_model.retention import Limits
from driftline.schemas.results import (
    Alert,
    Drift,
    Histogram,
    RegistryEvent,
    WindowFigures,
    decoder,
    encode,
)
from driftline.schemas.topics import ALERTS, DRIFT, HISTOGRAMS, METRICS, REGISTRY_EVENTS, TOPICS
from tests.agents.sample_output import sample_lines, sample_output

EVERY = SeriesFilter()
WHOLE = Span(provisional=True)


def structs(topic: str) -> list[Any]:
    kind = TOPICS[topic].type
    assert kind is not None
    return [decoder(kind).decode(line) for line in sample_lines()[topic]]


def newest_by_key(records: list[Any]) -> dict[str, Any]:
    return {record.key(): record for record in records}


def everything(model: ReadModel) -> dict[str, list[bytes]]:
    """All records of a read model, encoded, in an order of their own."""
    with model.reading() as reads:
        found = {
            METRICS: [encode(record) for record in reads.figures.between(EVERY, WHOLE)],
            DRIFT: [encode(record) for record in reads.drift.between(DriftFilter(), Span())],
            HISTOGRAMS: [
                encode(record)
                for series in reads.figures.series(EVERY)
                for record in reads.figures.histograms(series, Span())
            ],
        }
        for topic in INDEXED:
            kind = TOPICS[topic].type
            assert kind is not None
            if topic not in found:
                found[topic] = [encode(record) for record in reads.records.all(topic, kind)]
    return found


def expected() -> dict[str, list[bytes]]:
    """The same by slow code: the last record of each key of a window, all others as they are."""
    found = {}
    for topic, lines in sample_lines().items():
        if topic in (METRICS, DRIFT, HISTOGRAMS):
            found[topic] = sorted(map(encode, newest_by_key(structs(topic)).values()))
        else:
            found[topic] = list(lines)
    return found


def series_of(record: WindowFigures) -> tuple[str | None, ...]:
    names = (record.model_name, record.model_version, record.segment, record.lane)
    return *names, record.window, record.maturity


def in_order(found: dict[str, list[bytes]]) -> dict[str, list[bytes]]:
    windows = (METRICS, DRIFT, HISTOGRAMS)
    return {topic: sorted(lines) if topic in windows else lines for topic, lines in found.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the sample's output folder."""
    return Path(shutil.copytree(sample_output(), tmp_path / "out"))


@pytest.fixture
def model(folder: Path) -> Iterator[ReadModel]:
    opened = open_folder(folder)
    yield opened
    opened.close()


def test_the_sample_has_records_of_every_table() -> None:
    lines = sample_lines()
    assert all(len(lines[topic]) > 1 for topic in (METRICS, DRIFT, HISTOGRAMS))
    assert all(lines[topic] for topic in (ALERTS, REGISTRY_EVENTS))


def test_all_records_are_there(model: ReadModel) -> None:
    assert in_order(everything(model)) == expected()


@pytest.mark.parametrize("seed", range(4))
def test_a_folder_that_grows_ends_in_the_same_index(tmp_path: Path, seed: int) -> None:
    """Files grow by any number of bytes between two refreshes, also by a part of a line."""
    random = Random(seed)
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / LOG_FILE).write_text("{}", encoding="utf-8")
    left = {
        topic: b"".join(line + b"\n" for line in lines) for topic, lines in sample_lines().items()
    }
    model = open_folder(folder)
    refreshes = 0
    while any(left.values()):
        for topic, rest in left.items():
            size = random.choice((0, 1, random.randrange(5_000), random.randrange(500_000)))
            with (folder / f"{topic}.jsonl").open("ab") as file:
                file.write(rest[:size])
            left[topic] = rest[size:]
        model.refresh()
        refreshes += 1
        if random.random() < 0.2:
            model.close()
            model = open_folder(folder)
    assert refreshes > 3
    assert in_order(everything(model)) == expected()
    assert model.refresh() == set()
    model.close()


def test_a_file_that_a_resumed_run_has_cut_is_read_anew(folder: Path, model: ReadModel) -> None:
    for topic in (METRICS, ALERTS):
        path = folder / f"{topic}.jsonl"
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[: len(lines) // 2]))
    model.refresh()
    with model.reading() as reads:
        assert len(list(reads.records.all(ALERTS, Alert))) == len(sample_lines()[ALERTS]) // 2
    for topic in (METRICS, ALERTS):
        shutil.copy(sample_output() / f"{topic}.jsonl", folder)
    model.refresh()
    assert in_order(everything(model)) == expected()


def test_another_run_in_the_same_folder_replaces_the_index(folder: Path, model: ReadModel) -> None:
    path = folder / f"{METRICS}.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"churn"', b'"other"'))
    model.refresh()
    with model.reading() as reads:
        names = {series.model_name for series in reads.figures.series(SeriesFilter(lane="traffic"))}
    assert names == {"other"}


def test_an_older_revision_does_not_replace_a_newer_one(folder: Path, model: ReadModel) -> None:
    record = structs(METRICS)[0]
    newer = msgspec.structs.replace(record, revision=7, n_predictions=70)
    older = msgspec.structs.replace(record, revision=6, n_predictions=60)
    with (folder / f"{METRICS}.jsonl").open("ab") as file:
        file.write(encode(newer) + b"\n" + encode(older) + b"\n")
    model.refresh()
    with model.reading() as reads:
        found = newest_by_key(list(reads.figures.between(EVERY, WHOLE)))
    assert found[record.key()] == newer


def test_a_transaction_that_fails_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite")
    intake = Intake(index, Limits())
    lines = sample_lines()[METRICS]
    with pytest.raises(RuntimeError), intake.transaction() as connection:
        intake.add(connection, METRICS, lines[:50])
        raise RuntimeError
    assert index.connection().execute("SELECT count(*) FROM series").fetchone() == (0,)
    for _ in FolderSource(folder, intake).sync():
        pass
    found = ReadModel("", index, FolderSource(folder, intake))
    assert in_order(everything(found)) == expected()
    index.close()


def test_several_threads_and_indexes_of_one_file_add_everything_once(folder: Path) -> None:
    problems: list[BaseException] = []

    def work() -> None:
        try:
            own = open_folder(folder)
            own.refresh()
            own.close()
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    model = open_folder(folder)
    assert in_order(everything(model)) == expected()
    model.close()


def test_reserved_readers_read_on_after_the_folder_was_moved_and_no_other_makes_a_file(
    folder: Path, tmp_path: Path
) -> None:
    with_readers = open_folder(folder)
    with_readers.reserve(2)
    wanted = SeriesFilter(model_name="churn")
    with with_readers.reading() as reads:
        before = reads.figures.series(wanted)
    folder.rename(tmp_path / "moved")
    (tmp_path / "moved" / INDEX_FILE).unlink()
    folder.mkdir()
    with with_readers.reading() as reads:
        assert reads.figures.series(wanted) == before != []
        with with_readers.reading() as others:
            assert others.figures.series(wanted) == before
            with pytest.raises(sqlite3.OperationalError), with_readers.reading():
                pass
    assert list(folder.iterdir()) == []
    with pytest.raises(UnusableIndex, match="make room, or delete it"):
        with_readers.reserve(1)
    with_readers.close()


def test_the_newest_window_of_each_series(model: ReadModel) -> None:
    expected_ends: dict[Any, int] = {}
    for record in structs(METRICS):
        if not record.provisional:
            key = series_of(record)
            expected_ends[key] = max(expected_ends.get(key, 0), record.window_start_ms)
    with model.reading() as reads:
        newest = list(reads.figures.newest(EVERY))
    found = {series_of(record): record.window_start_ms for record in newest}
    assert found == expected_ends
    assert len(newest) == len(found)


def test_a_curve_has_the_values_of_the_records(model: ReadModel) -> None:
    with model.reading() as reads:
        wanted = SeriesFilter(lane="decisions", window="6h", segment="all")
        several = reads.figures.series(wanted)
        assert len(several) >= 1
        for series in several:
            curve = reads.figures.curve(series, ["f1", "roc_auc", "no_such_metric"], Span())
            records = sorted(
                (
                    record
                    for record in newest_by_key(structs(METRICS)).values()
                    if (record.segment, record.lane, record.window) == ("all", "decisions", "6h")
                    and record.maturity == series.maturity
                    and not record.provisional
                ),
                key=lambda record: record.window_start_ms,
            )
            assert curve.start_ms.tolist() == [record.window_start_ms for record in records]
            assert curve.n.tolist() == [record.n for record in records]
            assert np.isnan(curve.value["no_such_metric"]).all()
            for at, record in enumerate(records):
                value = record.metrics["f1"]
                if value is None:
                    assert np.isnan(curve.value["f1"][at])
                    assert curve.null_reasons["f1"][at] == record.null_reasons["f1"]
                else:
                    assert curve.value["f1"][at] == value
                    assert (curve.low["f1"][at], curve.high["f1"][at]) == record.ci["f1"]


def test_a_series_that_is_not_there_has_an_empty_curve(model: ReadModel) -> None:
    series = Series(
        model_name="none",
        model_version="1",
        segment="all",
        lane="traffic",
        window="1h",
        maturity=None,
    )
    with model.reading() as reads:
        assert reads.figures.curve(series, ["f1"], Span()).value["f1"].shape == (0,)


def test_a_span_bounds_ends_and_what_was_known(model: ReadModel) -> None:
    with model.reading() as reads:
        records = list(reads.figures.between(EVERY, Span()))
        ends = sorted({record.window_end_ms for record in records})
        since, until = ends[len(ends) // 3], ends[2 * len(ends) // 3]
        span = Span(since_ms=since, until_ms=until, known_at_ms=until)
        found = list(reads.figures.between(EVERY, span))
    assert found == [
        record
        for record in records
        if since < record.window_end_ms <= until and record.complete_at_ms <= until
    ]
    assert 0 < len(found) < len(records)


def test_predictions_add_up_to_the_rows_of_the_log(model: ReadModel) -> None:
    rows: dict[str, int] = {}
    for record in newest_by_key(structs(METRICS)).values():
        if (record.lane, record.kind, record.segment) == ("traffic", "tumbling", "all"):
            rows[record.window] = rows.get(record.window, 0) + record.n_predictions
    with model.reading() as reads:
        assert {name: n for name, (n, _) in reads.figures.predictions().items()} == {
            ("churn", "1.4.2"): max(rows.values())
        }


def test_the_latest_record_of_each_key(model: ReadModel) -> None:
    with model.reading() as reads:
        latest = list(reads.records.latest(ALERTS, Alert))
    assert {record.key(): record for record in latest} == newest_by_key(structs(ALERTS))


def test_records_of_another_type_are_refused(model: ReadModel) -> None:
    with model.reading() as reads, pytest.raises(TypeError, match="records of alerts are no Drift"):
        list(reads.records.all(ALERTS, Drift))


def test_a_damaged_line_is_counted_and_the_others_are_read(folder: Path) -> None:
    for topic in (METRICS, ALERTS):
        with (folder / f"{topic}.jsonl").open("ab") as file:
            file.write(b'{"model_name": 7}\n\xff\n')
    model = open_folder(folder)
    assert in_order(everything(model)) == expected()
    with model.reading() as reads:
        assert {topic: count for topic, (count, _) in reads.unreadable.items()} == {
            METRICS: 2,
            ALERTS: 2,
        }
    model.close()


@pytest.mark.parametrize(
    ("topic", "field"),
    [(METRICS, "metrics"), (HISTOGRAMS, "fit"), (DRIFT, "details"), (ALERTS, "details")],
)
def test_a_record_with_another_type_in_any_field_is_left_out(
    folder: Path, topic: str, field: str
) -> None:
    record = json.loads(sample_lines()[topic][0]) | {field: 3}
    with (folder / f"{topic}.jsonl").open("ab") as file:
        file.write(json.dumps(record).encode() + b"\n")
    model = open_folder(folder)
    assert in_order(everything(model)) == expected()
    with model.reading() as reads:
        (count, example) = reads.unreadable[topic]
    assert count == 1
    assert f"$.{field}" in example
    model.close()


def test_without_a_place_for_the_index_the_message_says_what_to_set(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(UnusableIndex, match=r"no place for the index: .*; set XDG_CACHE_HOME"):
        open_folder(folder)


def test_an_index_of_another_format_is_made_again(folder: Path) -> None:
    open_folder(folder).close()
    with sqlite3.connect(folder / INDEX_FILE) as connection:
        connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
        connection.execute("DROP TABLE figures")
    model = open_folder(folder)
    assert in_order(everything(model)) == expected()
    model.close()


def test_a_file_that_is_no_index_is_left_alone_with_a_message(folder: Path) -> None:
    other = folder / "notes.txt"
    other.write_bytes(b"not a database" * 100)
    with pytest.raises(UnusableIndex, match=r"notes\.txt cannot be used: .*; make room"):
        open_folder(folder, index=other)
    assert other.read_bytes() == b"not a database" * 100


def test_a_folder_of_something_else_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="not the output of a run"):
        open_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_oldest_windows_go_first(folder: Path, tmp_path: Path) -> None:
    first = structs(METRICS)[0]
    hour = 3_600_000
    with (folder / f"{METRICS}.jsonl").open("wb") as file:
        for number in range(2_500):
            start = first.window_start_ms + number * hour
            file.write(
                encode(
                    msgspec.structs.replace(
                        first,
                        window_start_ms=type(first.window_start_ms)(start),
                        window_end_ms=type(first.window_end_ms)(start + hour),
                    )
                )
                + b"\n"
            )
    model = open_folder(folder, index=tmp_path / "index.sqlite", limits=Limits(windows=300))
    with model.reading() as reads:
        kept = [record.window_start_ms for record in reads.figures.between(EVERY, WHOLE)]
    newest = first.window_start_ms + 2_499 * hour
    # One clean-up comes after the transaction with the last record.
    assert kept == list(range(newest - 299 * hour, newest + 1, hour))
    model.close()


def test_at_least_the_newest_drift_results_are_kept(folder: Path, tmp_path: Path) -> None:
    results = structs(DRIFT)
    day = 86_400_000
    with (folder / f"{DRIFT}.jsonl").open("wb") as file:
        for number in range(1 + 3_000 // len(results)):
            for record in results:
                start = record.window_start_ms + number * 7 * day
                later = msgspec.structs.replace(
                    record,
                    window_start_ms=type(record.window_start_ms)(start),
                    window_end_ms=type(record.window_end_ms)(start + day),
                )
                file.write(encode(later) + b"\n")
    limits = Limits(drift_results=200)
    model = open_folder(folder, index=tmp_path / "index.sqlite", limits=limits)
    with model.reading() as reads:
        starts = sorted(
            record.window_start_ms for record in reads.drift.between(DriftFilter(), Span())
        )
    all_starts = sorted(
        decoder(Drift).decode(line).window_start_ms
        for line in (folder / f"{DRIFT}.jsonl").read_bytes().splitlines()
    )
    # The oldest window that is kept is kept as a whole.
    assert starts == [start for start in all_starts if start >= all_starts[-200]]
    assert len(starts) >= 200
    model.close()


def test_the_newest_record_of_a_key_stays(folder: Path, tmp_path: Path) -> None:
    events = structs(REGISTRY_EVENTS)
    with (folder / f"{REGISTRY_EVENTS}.jsonl").open("wb") as file:
        for number in range(1_500):
            name = "rare" if number == 0 else "often"
            event = msgspec.structs.replace(events[0], model_name=name, revision=number)
            file.write(encode(event) + b"\n")
    model = open_folder(folder, index=tmp_path / "index.sqlite", limits=Limits(records=50))
    with model.reading() as reads:
        kept = list(reads.records.all(REGISTRY_EVENTS, RegistryEvent))
    assert [event.revision for event in kept] == [0, *range(1_450, 1_500)]
    model.close()


@pytest.mark.parametrize("seed", range(20))
def test_packed_records_are_unpacked_to_the_same_bytes(seed: int) -> None:
    random = Random(seed)
    record, sample = (
        bytes(random.choices(b'{"abc:1,}', k=random.choice((0, 1, 900, 9_000, 60_000))))
        for _ in range(2)
    )
    assert unpack(pack(record, sample), sample) == record


def test_tables_of_the_api_and_the_read_model_agree(folder: Path, model: ReadModel) -> None:
    with model.reading() as reads:
        found = list(reads.figures.between(SeriesFilter(lane="traffic"), WHOLE))
    table = driftline.open(folder).metrics.where(lane="traffic").latest().structs()
    assert newest_by_key(found) == newest_by_key(list(table))
    assert all(isinstance(record, WindowFigures) for record in found)


def test_histograms_belong_to_their_series(model: ReadModel) -> None:
    expected_keys = newest_by_key(structs(HISTOGRAMS))
    with model.reading() as reads:
        for series in reads.figures.series(EVERY):
            for record in reads.figures.histograms(series, Span()):
                assert isinstance(record, Histogram)
                assert expected_keys.pop(record.key()) == record
    assert expected_keys == {}
