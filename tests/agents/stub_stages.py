"""Small stages for tests of the in-process driver, which use all of its interfaces.

Stage 1 joins by id, records how late each row was, rejects a second prediction with the same id,
and expires entries after an hour. The rest closes panes by the smallest watermark, counts the
commands in force at each pane, and answers each command with an event.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from driftline.agents.inprocess.replay import Stages
from driftline.schemas.rejects import Reject
from driftline.schemas.results import Outcome, RegistryEvent, WindowFigures
from driftline.schemas.times import EpochMs
from driftline.streams.measure.counts.labels import LabelReport
from driftline.streams.pipeline import UpstreamResult
from driftline.streams.stage import Batch, Record, State

HOUR = 3_600_000


class StubUpstream:
    """Stage 1: a count of joined rows per pane, and one outcome for each truth."""

    def __init__(self, partition: int) -> None:
        self.partition = partition

    def process(self, batch: Batch, state: State) -> UpstreamResult:
        stored = state.get(b"watermark")
        watermark = int(stored) if stored else 0
        rows: list[tuple[int, str, Any, int]] = []
        for kind, columns in (("p", batch.predictions), ("t", batch.ground_truth)):
            for i in range(len(columns) if columns is not None else 0):
                rows.append((int(columns.rank[i]), kind, columns, i))  # type: ignore[union-attr]
        counts: dict[int, int] = {}
        result = UpstreamResult([], [], [])
        for rank, kind, columns, i in sorted(rows, key=lambda row: row[:2]):
            watermark = max(watermark, int(columns.tick_ms[i]))
            time_ms, key = int(columns.timestamp_ms[i]), columns.ids[i]
            late_ms = max(0, watermark - time_ms)
            entry = state.get(b"e" + key)
            if entry is not None and json.loads(entry)[0] // HOUR < watermark // HOUR - 1:
                entry = None  # expired, whether its bucket has been cleared yet or not
            watermark = max(watermark, time_ms)
            if kind == "p":
                if entry is not None:
                    conflict = Reject(
                        int(columns.offset[i]),
                        "conflict",
                        f"predictions@{int(columns.offset[i])}: conflict",
                    )
                    result.conflicts.append(conflict)
                    continue
                state.put(b"e" + key, json.dumps([time_ms, late_ms]).encode())
                bucket = b"b%013d" % (time_ms // HOUR)
                state.put(bucket, (state.get(bucket) or b"") + key + b" ")
                if not late_ms:
                    counts[time_ms // HOUR] = counts.get(time_ms // HOUR, 0) + 1
            elif entry is not None:
                predicted_ms, predicted_late_ms = json.loads(entry)
                outcome = Outcome(
                    prediction_id=key.decode(),
                    model_name="m",
                    model_version="1",
                    timestamp_ms=EpochMs(predicted_ms),
                    known_at_ms=EpochMs(time_ms),
                    prediction=f"late by {predicted_late_ms}",
                    label=f"late by {late_ms}",
                    correct=True,
                    delay_ms=time_ms - predicted_ms,
                )
                result.outcomes.append(Record("outcomes", outcome, rank))
        watermark = max(watermark, batch.tick_ms or 0)
        state.put(b"watermark", b"%d" % watermark)
        self._expire(watermark, state)
        if counts or watermark > int(stored or 0):
            partial = (self.partition, watermark, counts)
            result.partials.append(Record("window-partials", partial))
        return result

    def _expire(self, watermark: int, state: State) -> None:
        last = int(state.get(b"expired") or 0)
        upto = watermark // HOUR - 1
        if last == 0:
            last = upto
        for bucket in range(last, upto):
            for key in (state.get(b"b%013d" % bucket) or b"").split():
                entry = state.get(b"e" + key)
                if entry is not None and json.loads(entry)[0] // HOUR == bucket:
                    state.delete(b"e" + key)
        if upto > last:
            state.delete_range(b"b%013d" % last, b"b%013d" % upto)
        state.put(b"expired", b"%d" % max(upto, last))


class StubDownstream:
    """Stages 2 to 4 in one: a count for each complete hour, with the commands in force."""

    def __init__(self, states: Callable[[str], State], partitions: int) -> None:
        self.partitions = partitions
        self.measure, self.registry = states("measure"), states("registry")

    def _load(self) -> dict[str, Any]:
        stored = self.measure.get(b"all")
        return json.loads(stored) if stored else {"watermarks": {}, "counts": {}, "next": None}

    def merge(self, partials: Sequence[Any]) -> None:
        all_ = self._load()
        for partition, watermark, counts in partials:
            all_["watermarks"][str(partition)] = watermark
            for hour, count in counts.items():
                all_["counts"][str(hour)] = all_["counts"].get(str(hour), 0) + count
        if all_["next"] is None and all_["counts"]:
            all_["next"] = min(map(int, all_["counts"]))
        self.measure.put(b"all", json.dumps(all_).encode())

    def due_after_quiet(self, command_ms: int | None) -> int | None:
        all_ = self._load()
        if all_["next"] is None or len(all_["watermarks"]) < self.partitions:
            return None
        end: int = (all_["next"] + 1) * HOUR
        return end if min(all_["watermarks"].values()) >= end else None

    def next_ms(self) -> int:
        return (min(self._load()["watermarks"].values(), default=0) // HOUR + 1) * HOUR

    def advance(self, commands: Sequence[Record], decided: Sequence[Record]) -> list[Record]:
        records = self.finish(commands, decided)
        all_ = self._load()
        hour = all_["next"]
        all_["next"] += 1
        count = all_["counts"].pop(str(hour), 0)
        self.measure.put(b"all", json.dumps(all_).encode())
        metric = WindowFigures(
            model_name="m",
            model_version="1",
            segment="all",
            lane="traffic",
            window="1h",
            kind="tumbling",
            window_start_ms=EpochMs(hour * HOUR),
            window_end_ms=EpochMs((hour + 1) * HOUR),
            maturity=None,
            final=True,
            provisional=False,
            revision=1,
            registry_revision=int(self.registry.get(b"revision") or 0),
            n_predictions=count,
            n=0,
            label_coverage=None,
            completeness=None,
            metrics={},
            complete_at_ms=EpochMs((hour + 1) * HOUR),
        )
        return [*records, Record("metrics", metric)]

    def label_reports(self) -> list[LabelReport]:
        return []

    def finish(self, commands: Sequence[Record], decided: Sequence[Record]) -> list[Record]:
        records: list[Record] = list(decided)
        for command in commands:
            revision = int(self.registry.get(b"revision") or 0) + 1
            self.registry.put(b"revision", b"%d" % revision)
            event = RegistryEvent(
                event=command.value.command,
                model_name="m",
                revision=revision,
                command_id=command.value.command_id,
                at=command.value.timestamp,
                requested_by="test",
            )
            records.append(Record("registry-events", event))
        return records


def stub_stages(partitions: int) -> Stages:
    """The stub stages for a run."""
    return Stages(
        [StubUpstream(partition) for partition in range(partitions)],
        lambda states: StubDownstream(states, partitions),
    )
