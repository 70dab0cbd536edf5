"""A history run through the processors on topics in memory, and its export as a recorded log."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from driftline.agents.kafka.broker.outgoing import Outgoing
from driftline.agents.kafka.stages.downstream import downstream_processors
from driftline.agents.kafka.stages.join import DEFERRED_MS, join_processors
from driftline.agents.kafka.tools.finish_protocol import Finish
from driftline.schemas.decode import (
    SIDE_DECODERS,
    decode_predictions,
    decode_ticks,
    decode_truths,
)
from driftline.schemas.settings import Config
from driftline.schemas.times import parse_time
from driftline.schemas.topics import COMMANDS, GROUND_TRUTH, PREDICTIONS, TICKS
from driftline.streams.hashing import partitions_of
from tests.kafka.bus import Bus, BusTask, Stored
from tests.oracle.watermark import keys
from tests.simulation.alert_commands import MODELS
from tests.simulation.histories import rfc3339

MINUTE = 60_000
TOO_FAR_MS = 2_000_000_000_000  # in 2033; some lines of the histories have later times
DECODERS: dict[str, Callable[..., Any]] = {
    PREDICTIONS: decode_predictions,
    GROUND_TRUTH: decode_truths,
    TICKS: decode_ticks,
}
DECODERS |= SIDE_DECODERS
ROUNDS_WITHOUT_NEWS = 200


class Live:
    """Stage 1 and stages 2 to 4 on every partition, driven at random.

    Parameters
    ----------
    config
        The settings; `config.kafka` says how many partitions there are.
    random
        Draws the size of each delivery, the order of tasks, and crashes.
    now_ms
        Wall-clock time at the beginning; set `clock_ms` to advance it.

    Attributes
    ----------
    lost
        Records that were deleted before they were read.
    """

    def __init__(self, config: Config, random: Random, now_ms: int) -> None:
        self.config, self.random, self.clock_ms = config, random, now_ms
        self.lost: list[Stored] = []
        counts = config.kafka
        inputs = dict.fromkeys((PREDICTIONS, GROUND_TRUTH, TICKS), counts.input_partitions)
        self.bus = Bus(lambda topic: inputs.get(topic, counts.partitions), random)

        def clock() -> int:
            return self.clock_ms

        self._join = join_processors(config, clock=clock)
        self._downstream = downstream_processors(config, clock=clock)
        self._now = clock
        self.tasks = [
            BusTask(self.bus, lambda *at: self._join(*at), partition, random, clock)
            for partition in range(counts.input_partitions)
        ]
        self.tasks += [
            BusTask(self.bus, lambda *at: self._downstream(*at), partition, random, clock)
            for partition in range(counts.partitions)
        ]

    def start_again(self, config: Config) -> None:
        """Start all tasks from their last commits with other settings."""
        self.config = config
        self._join = join_processors(config, clock=self._now)
        self._downstream = downstream_processors(config, clock=self._now)
        for task in self.tasks:
            task.start()

    def send(
        self, topic: str, partition: int | None, key: bytes | None, value: bytes | None
    ) -> None:
        """Write a record as a producer does."""
        self.bus.write(Outgoing(topic, partition, key, value))

    def some(self, steps: int) -> None:
        """Run randomly chosen tasks for some steps."""
        for _ in range(steps):
            task = self.random.choice(self.tasks)
            for _ in range(self.random.randrange(4)):
                task.take(self.random.choice((1, 3, 20, 1_000)))
            if self.random.random() < 0.1:
                task.start()
            else:
                task.step()

    def rest(self) -> None:
        """Run all tasks until none has work left, advancing the clock past their deferrals."""
        busy = True
        while busy:
            busy = False
            for task in self.random.sample(self.tasks, len(self.tasks)):
                while task.unread():
                    task.take(self.random.choice((3, 20, 1_000)))
                    busy = True
                self.clock_ms += DEFERRED_MS
                while task.step():
                    busy = True

    def ask(self) -> Finish:
        """Request the watermark of each partition, as the first half of `driftline finish` does."""
        finish = Finish(self.config)
        for outgoing in finish.progress_requests():
            self.bus.write(outgoing)
        self.rest()
        self._note(finish)
        assert not finish.unanswered
        return finish

    def finish(self) -> Finish:
        """Do what `driftline finish` does."""
        finish = self.ask()
        for outgoing in finish.end_requests():
            self.bus.write(outgoing)
        self.some(20)
        self.rest()
        self._note(finish)
        assert (finish.unanswered, finish.unsettled) == ([], [])
        return finish

    def _note(self, finish: Finish) -> None:
        for partition, record in self.bus.all(TICKS):
            rows, _, _ = decode_ticks([record.value], [record.offset])
            for row in rows:
                finish.note(partition, row)

    def export(self, folder: Path, outputs: Iterable[str]) -> None:
        """Write all input topics to a recorded log folder, as an export does."""
        folder.mkdir(parents=True)
        rejects = self.rejects()
        for topic in (PREDICTIONS, GROUND_TRUTH, TICKS, *COMMANDS):
            lines = []
            for partition in range(
                max(self.config.kafka.input_partitions, self.config.kafka.partitions)
            ):
                high = 0
                for record in self.bus.logs.get((topic, partition), []):
                    mark = rejects.get((topic, partition, record.offset))
                    if (
                        topic == TICKS
                        and mark is None
                        and "after" not in json.loads(record.value or b"{}")
                    ):
                        continue
                    rows = [] if mark else DECODERS[topic]([record.value], [0])[0]
                    if topic in COMMANDS and not all(
                        self._at_home(row.model_name, partition) for row in rows
                    ):
                        continue
                    high = max([high, *(time_of(row) for row in rows)])
                    lines.append((high, partition, _exported(partition, record, mark)))
            lines.sort(key=lambda line: line[:2])
            (folder / f"{topic}.jsonl").write_bytes(b"".join(line + b"\n" for _, _, line in lines))
        for topic in outputs:
            (folder / f"{topic}.jsonl").write_bytes(
                b"".join((record.value or b"") + b"\n" for _, record in self.bus.all(topic))
            )

    def _at_home(self, model: str, partition: int) -> bool:
        return int(partitions_of([model.encode()], self.config.kafka.partitions)[0]) == partition

    def rejects(self) -> dict[tuple[str, int, int], dict[str, str]]:
        """Reason and error of rejected records by partition and offset.

        Conflicts are left out: the replay detects them again.
        """
        found = {}
        for topic in (PREDICTIONS, GROUND_TRUTH, TICKS, *COMMANDS):
            for _, record in self.bus.all(f"{topic}.dlq"):
                of = record.headers
                if of["dlq_reason"] != "conflict":
                    place = (of["dlq_topic"], int(of["dlq_partition"]), int(of["dlq_offset"]))
                    found[place] = {"reason": of["dlq_reason"], "error": of["dlq_error"]}
        return found


def _exported(partition: int, record: Stored, refused: dict[str, str] | None) -> bytes:
    line: dict[str, Any] = {"partition": partition, "offset": record.offset}
    if refused is not None:
        line["refused"] = refused
    try:
        msgspec.json.decode(record.value or b"")
        line["value"] = msgspec.Raw(record.value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError):
        line["value_base64"] = base64.b64encode(record.value or b"").decode()
    return msgspec.json.encode(line)


def feed(
    live: Live, log: Path, *, lag: Callable[[str, int], int]
) -> list[tuple[int, str, int, bytes, bytes]]:
    """Lines of a history as (sending time, topic, partition, key, value), in order of time.

    Parameters
    ----------
    lag
        How long after its own time, in ms, a line is sent, by topic and partition.
    """
    timed: list[tuple[int, int, str, int, bytes, bytes]] = []
    for topic in (PREDICTIONS, GROUND_TRUTH):
        lines = (log / f"{topic}.jsonl").read_bytes().split(b"\n")[:-1]
        high: Sequence[int] = [0] * live.config.kafka.input_partitions
        highs = list(high)
        decoded = [DECODERS[topic]([line], [0], TOO_FAR_MS)[0] for line in lines]
        # Misdated rows are sent when they are made, like the rows around them.
        reached = iter(
            keys([(row.timestamp_ms, row.prediction_id) for rows in decoded for row in rows])
        )
        last = 0
        for number, (line, rows) in enumerate(zip(lines, decoded, strict=True)):
            key = rows[0].prediction_id.encode() if rows else f"bad-{number}".encode()
            partition = int(partitions_of([key], live.config.kafka.input_partitions)[0])
            last = next(reached) if rows else last
            highs[partition] = max(highs[partition], last + lag(topic, partition))
            timed.append((highs[partition], number, topic, partition, key, line))
    timed.sort(key=lambda line: line[:3])
    return [(at, topic, partition, key, line) for at, _, topic, partition, key, line in timed]


def time_of(row: Any) -> int:
    """Event time of a row or of a command, in ms."""
    return int(row.timestamp_ms) if hasattr(row, "timestamp_ms") else parse_time(row.timestamp)


def command(random: Random, number: int, at_ms: int) -> tuple[str, bytes]:
    """A registry command; many are invalid, one in twenty is unreadable."""
    model = random.choice(MODELS)
    what = random.choice(
        (
            "register",
            "promote",
            "set_threshold",
            "set_labels",
            "set_rule_level",
            "rollback",
            "archive",
            "delete",
            "unheard-of",
        )
    )
    params: dict[str, Any] = {
        "set_threshold": {"threshold": 0.3},
        "set_labels": {"labels": ["no", "yes", "maybe"]},
        "set_rule_level": {"rule": "throughput", "above": random.choice((0.0001, 0.0004))},
        "register": {},
        "promote": {},
    }.get(what, {})
    value = {
        "command_id": f"{random.randrange(number + 1)}" if random.random() < 0.2 else f"{number}",
        "command": what,
        "model_name": model,
        "model_version": None
        if what in ("set_labels", "set_rule_level")
        else random.choice(("1.4.1", "1.4.2", "2.0.0", "7", "9.9.9")),
        "timestamp": rfc3339(at_ms),
        "requested_by": "somebody",
        "params": params,
    }
    if random.random() < 0.05:
        del value["command"]
    return model, json.dumps(value).encode()
