"""The journal without a broker: a restore gives the committed state, however the journal was
compacted.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import msgspec
import pytest
from rocksdict import WriteBatch

from driftline.agents.kafka.changelog import journal, journal_compaction
from driftline.agents.kafka.changelog.cache import Checkpoint
from driftline.agents.kafka.changelog.journal import Assembly, Commit, JournalError, records_of
from driftline.agents.kafka.changelog.ledger import Ledger, PendingCommit
from driftline.agents.kafka.changelog.state_format import state_format
from driftline.agents.state import task_state
from driftline.agents.state.overlay import Overlay
from driftline.agents.state.rocks import RocksState
from driftline.agents.state.task_state import Cut, TaskState
from driftline.streams.join import Join

Tables = dict[str, dict[bytes, bytes]]
STAGES = ("measure", "decide")
KEYS = [b"%03d" % number for number in range(150)]
EMPTY = Checkpoint("cluster", "topic", state_format("join"), 0, -1, {}, 0, 0, 0)


class Log:
    """One partition of a changelog: records, and a marker after every commit."""

    def __init__(self) -> None:
        self.low = self.end = 0
        self.records: list[tuple[int, bytes, bytes]] = []

    def append(self, records: list[tuple[bytes, bytes]]) -> int:
        """Write a commit; returns the offset after its last record."""
        for key, value in records:
            self.records.append((self.end, key, value))
            self.end += 1
        self.end += 1
        return self.end - 1

    def delete_before(self, offset: int) -> None:
        self.low = max(self.low, offset)
        self.records = [record for record in self.records if record[0] >= offset]

    def read(self, start: int, after: int | None) -> Iterator[Commit]:
        assembly = Assembly("log", after)
        for offset, key, value in self.records:
            if offset >= start and (commit := assembly.add(offset, key, value)) is not None:
                yield commit


def restored(log: Log) -> tuple[Tables, Commit | None]:
    """State that a restore without a local copy reads from a log."""
    overlays = {
        stage: Overlay(lambda keys: [None] * len(keys), store_is_empty=True) for stage in STAGES
    }
    last = None
    for commit in log.read(log.low, None):
        last = commit
        for stage, record in commit.changes.items():
            overlays[stage].apply(record)
    return {stage: found(overlay) for stage, overlay in overlays.items()}, last


def found(overlay: Overlay) -> dict[bytes, bytes]:
    return {
        key: value
        for key, value in zip(KEYS, overlay.get_many(KEYS), strict=True)
        if value is not None
    }


def change(draw: random.Random, overlay: Overlay, table: dict[bytes, bytes], step: int) -> None:
    key, action = draw.choice(KEYS), draw.random()
    if action < 0.55:
        table[key] = b"%d" % step * draw.randrange(1, 30)
        overlay.put(key, table[key])
    elif action < 0.7:
        several = {draw.choice(KEYS): b"%d" % step for _ in range(5)}
        table.update(several)
        overlay.put_many(list(several), list(several.values()))
    elif action < 0.9:
        gone = [key, draw.choice(KEYS)]
        overlay.pop_many(gone)
        for one in gone:
            table.pop(one, None)
    else:
        end = b"%03d" % min(int(key) + draw.randrange(30), 150)
        overlay.delete_range(key, end)
        for one in [one for one in table if key <= one < end]:
            del table[one]


def written_until(
    batches: int | None, rocks: RocksState, cuts: list[Cut], marks: dict[str, bytes]
) -> bool:
    """Write to a copy, or only its first `batches` write batches; returns whether it is whole."""
    given = 0

    class Ended(Exception):
        pass

    def write(batch: WriteBatch) -> None:
        nonlocal given
        if given == batches:
            raise Ended
        given += 1
        RocksState._write(rocks, batch)

    with mock.patch.object(rocks, "_write", write):
        try:
            rocks.write(cuts, marks)
        except Ended:
            return False
    return True


@pytest.mark.parametrize(
    "memory_bytes", [0, 30_000, 1 << 30], ids=["spills always", "spills", "never spills"]
)
@pytest.mark.parametrize("seed", range(3))
def test_a_compacted_journal_restores_the_state_of_the_whole_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, memory_bytes: int
) -> None:
    monkeypatch.setattr(journal_compaction, "LEAST_LOG_BYTES", 6_000)
    monkeypatch.setattr(journal_compaction, "KEYS_PER_SLICE", 7)
    monkeypatch.setattr(journal_compaction, "SPILLED_BYTES_PER_SLICE", 300)
    monkeypatch.setattr("driftline.agents.kafka.changelog.ledger.LEAST_SLICE_BYTES", 200)
    monkeypatch.setattr(journal, "PIECE_BYTES", 300)
    monkeypatch.setattr(task_state, "SLICE_BYTES", 150)
    draw = random.Random(seed)
    log, whole = Log(), Log()
    current: Tables = {stage: {} for stage in STAGES}
    committed: Tables = {stage: {} for stage in STAGES}
    checkpoint = EMPTY
    compacted = restarts = interrupted = 0

    def opened() -> tuple[RocksState, dict[str, TaskState], Ledger]:
        """Restore as after a start: from the copy and the rest of the journal."""
        rocks = RocksState(tmp_path / "state", memory_bytes=memory_bytes)
        held = rocks.mark("checkpoint")
        copy = EMPTY if held is None else msgspec.msgpack.decode(held, type=Checkpoint)
        states = {stage: rocks.task_state(number, 0) for number, stage in enumerate(STAGES)}
        assert copy.next >= log.low or copy is EMPTY
        assert all(
            extent.is_covered_by(states[stage].stored_extent)
            for stage, extent in copy.extents.items()
        )
        for commit in log.read(copy.next, copy.number if copy.number >= 0 else None):
            for stage, record in commit.changes.items():
                states[stage].overlay.apply(record)
        cuts = [state.cut() for state in states.values() if state.overlay.changed]
        reached = msgspec.structs.replace(
            checkpoint, extents={stage: state.extent for stage, state in states.items()}
        )
        rocks.write(
            cuts, {"checkpoint": msgspec.msgpack.encode(reached)} if checkpoint.number >= 0 else {}
        )
        for cut in cuts:
            cut.task.settle(cut)
        return rocks, states, Ledger(states, checkpoint, log.low)

    rocks, states, ledger = opened()
    in_flight: tuple[PendingCommit, Tables] | None = None

    def land(batches: int | None = None) -> None:
        """Commit the transaction in flight; write the copy, or only some write batches of it."""
        nonlocal in_flight, checkpoint, committed, compacted, interrupted
        if in_flight is None:
            return
        entry, tables = in_flight
        in_flight = None
        records = records_of(entry.closing, entry.changes)
        following = log.append(records)
        assert whole.append(records) == following
        checkpoint = msgspec.structs.replace(entry.checkpoint, next=following)
        committed = tables
        if written_until(
            batches, rocks, entry.cuts, {"checkpoint": msgspec.msgpack.encode(checkpoint)}
        ):
            ledger.settle(entry, following)
        else:
            interrupted += 1
        if entry.closing.restorable_from > log.low and draw.random() < 0.8:
            compacted += 1
            log.delete_before(entry.closing.restorable_from)

    for step in range(300):
        for _ in range(draw.randrange(8)):
            stage = draw.choice(STAGES)
            change(draw, states[stage].overlay, current[stage], step)
        if ledger.changed:
            entry = ledger.cut({"predictions": step})
            land()
            in_flight = entry, {stage: dict(table) for stage, table in current.items()}
        if draw.random() < 0.15:
            # The process ends after the transaction in flight, before it, or between it and the
            # write of the copy.
            if in_flight is not None and draw.random() < 0.7:
                land(draw.choice([None, 0, 0, 1, 2, 4]))
            in_flight = None
            restarts += 1
            rocks.close()
            current = {stage: dict(table) for stage, table in committed.items()}
            if checkpoint.number >= 0 and draw.random() < 0.3:
                for path in (tmp_path / "state").iterdir():
                    path.unlink()
            rocks, states, ledger = opened()
        assert {stage: found(state.overlay) for stage, state in states.items()} == current, (
            f"seed {seed}, step {step}"
        )
        if step % 4:
            continue
        tables, last = restored(log)
        assert tables == committed, f"seed {seed}, step {step}"
        if last is not None:
            assert last.closing.number == checkpoint.number
            assert last.closing.positions == checkpoint.positions
            assert last.closing.restorable_from >= log.low
    assert restored(whole)[0] == committed, "the test's own account"
    assert compacted > 2
    assert restarts > 10
    assert interrupted > 1
    held_bytes, whole_bytes = (
        sum(len(value) for _, _, value in each.records) for each in (log, whole)
    )
    assert held_bytes < 0.6 * whole_bytes
    rocks.close()


@pytest.mark.parametrize("memory_bytes", [0, 1 << 30], ids=["spilled", "in memory"])
def test_compaction_repeats_a_few_large_values_in_each_commit(
    tmp_path: Path, memory_bytes: int
) -> None:
    rocks = RocksState(tmp_path / "state", memory_bytes=memory_bytes)
    states = {"join": rocks.task_state(0, 0)}
    overlay = states["join"].overlay
    for _ in range(2):
        overlay.put_many([b"%03d" % number for number in range(300)], [b"x" * 100_000] * 300)
        rocks.commit({})
    sweep = journal_compaction.Sweep(states, 0, 0)
    commits = 0
    while not sweep.done:
        sweep.repeat(journal_compaction.LEAST_SLICE_BYTES)
        assert len(overlay.record()) < (33 * 100_000 if memory_bytes else 3 * 100_000)
        commits += 1
    assert sweep.live_bytes == 300 * 100_003
    assert commits >= (10 if memory_bytes else 150)
    rocks.close()


def test_compaction_at_most_doubles_a_commit_however_long_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_compaction, "LEAST_LOG_BYTES", 6_000)
    rocks = RocksState(tmp_path / "state")
    states = {"join": rocks.task_state(0, 0)}
    overlay = states["join"].overlay
    ledger = Ledger(states, EMPTY, 0)
    sizes = []
    for step in range(300):
        # 200 kB in each commit, of which 180 stay, so that ever more is to be repeated.
        overlay.put_many([b"%03d/%03d" % (step, row) for row in range(200)], [b"x" * 1_000] * 200)
        overlay.pop_many([b"%03d/%03d" % (step - 1, row) for row in range(20)])
        entry = ledger.cut({"predictions": step})
        rocks.write(entry.cuts, {})
        ledger.settle(entry, step + 1)
        sizes.append(entry.size)
    repeating = [size for size in sizes if size > 300_000]
    assert len(repeating) > 100
    largest_portion = journal_compaction.SPILLED_BYTES_PER_SLICE + 1_007
    assert max(sizes) < 203_000 + 204_000 + largest_portion
    rocks.close()


def commit_of(number: int, changes: dict[str, bytes]) -> list[tuple[bytes, bytes]]:
    closing = journal.Closing(
        journal.FORMAT, state_format("join"), number, 0, {"predictions": 7}, 0, 0, 0, b""
    )
    return records_of(closing, changes)


def test_changes_larger_than_a_record_are_split_and_assembled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal, "PIECE_BYTES", 100)
    changes = {"join": bytes(range(256)), "other": b""}
    records = commit_of(3, changes)
    assert [key for key, _ in records] == [b"3/0", b"3/1", b"3/commit"]
    assembly = Assembly("log")
    assert [assembly.add(offset, *record) for offset, record in enumerate(records[:-1])] == [
        None,
        None,
    ]
    commit = assembly.add(9, *records[-1])
    assert commit is not None
    assert (commit.changes, commit.next, commit.closing.number, commit.closing.positions) == (
        changes,
        10,
        3,
        {"predictions": 7},
    )


def test_a_journal_with_a_missing_record_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "PIECE_BYTES", 100)
    first, second = (commit_of(number, {"join": b"x" * 250}) for number in (4, 5))
    assert len(first) == 3
    for missing in (first[1:], first[:1] + first[2:], first[:1] + second):
        assembly = Assembly("log[0]")
        with pytest.raises(JournalError, match=r"records of the changelog are missing|pieces"):
            for offset, record in enumerate(missing):
                assembly.add(offset, *record)
    with pytest.raises(
        JournalError, match=r"log\[0\]@0: has record 5/0, expected piece 0 of commit 4"
    ):
        Assembly("log[0]", after=3).add(0, *second[0])


@pytest.mark.parametrize(
    "record", [(None, b"x"), (b"1/commit", None), (b"hello", b"x"), (b"1/x", b"x")]
)
def test_a_foreign_record_in_the_journal_is_refused(
    record: tuple[bytes | None, bytes | None],
) -> None:
    with pytest.raises(JournalError, match="only the tasks of this program may write there"):
        Assembly("log").add(0, *record)


def test_the_format_of_a_task_names_the_formats_of_its_stages() -> None:
    assert state_format("join") == "join " + ".".join(map(str, Join.state_format))
    later = [text.split()[0] for text in state_format("downstream").split(", ")]
    assert later == ["measure", "decide", "registry"]
