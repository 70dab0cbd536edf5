"""Workers with a defect in their commits, which the campaign must find:
`python -m tests.chaos.planted_defects DEFECT worker ...`.

The defect is patched into the task layer of this process only; the product has no switch for it.
Only commits that count rows reach the named points where a kill does harm, so that one kill is
enough.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from driftline.agents.cli import main
from driftline.agents.kafka.broker import failures
from driftline.agents.kafka.broker.outgoing import Outgoing
from driftline.agents.kafka.changelog.journal import records_of
from driftline.agents.kafka.task.task import Task
from driftline.agents.kafka.task.transaction import Transactions
from driftline.schemas.topics import WINDOW_PARTIALS


def has_increments(outgoing: Sequence[Outgoing]) -> bool:
    """Whether a commit sends increments; records with watermarks only have no key."""
    return any(out.topic == WINDOW_PARTIALS and out.key for out in outgoing)


def positions_outside() -> None:
    """Writes the journal, with the applied positions, in a transaction of its own after that of the
    outputs.
    """
    whole, reached = Transactions.run, failures.fault_point
    failures.fault_point = lambda point: None if point == "produced" else reached(point)

    def run(
        self: Transactions,
        outgoing: Sequence[Outgoing],
        journal: str,
        partition: int,
        records: Sequence[tuple[bytes, bytes]],
    ) -> int:
        if outgoing:
            self._producer.begin_transaction()
            for out in outgoing:
                to = -1 if out.partition is None else out.partition
                self._produce(self._connection.name(out.topic), out.value, out.key, to, out.headers)
            self._producer.commit_transaction()
        if has_increments(outgoing):
            reached("produced")
        return whole(self, [], journal, partition, records)

    Transactions.run = run  # type: ignore[method-assign]


def cache_first() -> None:
    """Writes a commit to the local copy once it has been sent, before it is committed."""

    def write(self: Task, prepared: Any) -> int:
        commit, transactions, offsets = prepared.commit, self._transactions, []
        transactions._producer.begin_transaction()
        for out in prepared.outgoing:
            to = -1 if out.partition is None else out.partition
            transactions._produce(
                transactions._connection.name(out.topic), out.value, out.key, to, out.headers
            )
        for key, value in records_of(commit.closing, commit.changes):
            delivered = lambda error, message: offsets.append(message.offset())  # noqa: E731
            transactions._produce(
                self._journal.topic, value, key, self.partition, [], on_delivery=delivered
            )
        failures.fault_point("produced")
        transactions._producer.flush()
        next_offset = max(offsets) + 1
        self._runtime.cache.write(
            self.kind,
            self.partition,
            commit.cuts,
            msgspec.structs.replace(commit.checkpoint, next=next_offset),
        )
        if has_increments(prepared.outgoing):
            failures.fault_point("cached")
        transactions._producer.commit_transaction()
        failures.fault_point("committed")
        return next_offset

    Task._write = write  # type: ignore[method-assign]


DEFECTS = {"positions-outside": positions_outside, "cache-first": cache_first}


if __name__ == "__main__":
    DEFECTS[sys.argv[1]]()
    del sys.argv[1]
    sys.exit(main())
