"""Stage 1 alone against the oracle, pane by pane, and planted faults that the comparison finds."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

import driftline.streams.join.batch_rows
import driftline.streams.join.code_book
import driftline.streams.join.entry
import driftline.streams.join.sequential_join
from driftline.streams.lanes import NO_LABEL
from tests.oracle.figures import count
from tests.oracle.joining import join
from tests.oracle.settings import Settings
from tests.oracle.verdict import filled
from tests.simulation import stage_one
from tests.simulation.histories import write

SEEDS = range(1_000, 1_030)
FAULT_SEEDS = range(1_100, 1_106)


def differing(folder: Path, seed: int) -> dict[Any, Any]:
    """Panes in which stage 1 and the oracle differ, with the counts of both."""
    log = folder / f"log-{seed}"
    write(log, seed)
    random = Random(seed)
    partitions, batch = random.choice((1, 2, 7, 8)), random.choice((1, 7, 40, 10_000))
    settings = Settings.from_toml((log / "driftline.toml").read_text(encoding="utf-8"))
    joined = join(log, settings, partitions=partitions, now=time.time_ns() // 1_000_000)
    wanted = {
        place: filled(figure) for place, figure in count(joined, settings, panes=True).items()
    }
    counted = stage_one.run(log, folder / f"out-{seed}", partitions=partitions, batch=batch)
    actual = {place: filled(figure) for place, figure in counted.items()}
    assert sum(map(len, wanted.values())) > 100, "the history is too small to show a fault"
    both = {
        place: (wanted.get(place, {}), actual.get(place, {}))
        for place in sorted({*wanted, *actual})
    }
    # Entries of rows that are dated far ahead of all others have not expired at the end. Those of
    # the last pane need not, since no window of it is announced.
    end = settings.end_of_time(joined.last)
    return {
        place: (ours, theirs)
        for place, (ours, theirs) in both.items()
        if ours != theirs and (place.lane != "arrivals" or place.start + settings.pane <= end)
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_stage_one_has_the_counts_of_the_oracle(tmp_path: Path, seed: int) -> None:
    assert differing(tmp_path, seed) == {}, f"history {seed}"


def exclusive_rungs(monkeypatch: pytest.MonkeyPatch) -> None:
    def rung_of(self: Any, delay_ms: Any, name: Any) -> Any:
        beyond = (delay_ms[:, None] >= self.ladder_ms[name]).sum(axis=1)
        return np.minimum(beyond, self.ladder_ms.shape[1] - 1)

    monkeypatch.setattr(driftline.streams.join.code_book.CodeBook, "rung_of", rung_of)


def retractions_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = driftline.streams.join.entry.resolve

    def skipping(prediction: Any, truths: Any, horizons: Any, labels: Any) -> Any:
        return resolve(
            prediction, [truth for truth in truths if truth.label != NO_LABEL], horizons, labels
        )

    monkeypatch.setattr(driftline.streams.join.sequential_join, "resolve", skipping)


def revisions_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = driftline.streams.join.entry.resolve

    def forgetful(prediction: Any, truths: Any, horizons: Any, labels: Any) -> Any:
        plain = [
            driftline.streams.join.entry.TruthPart(
                0, t.label, t.timestamp_ms, t.known_ms, t.repeats
            )
            for t in truths
        ]
        return resolve(prediction, plain, horizons, labels)

    monkeypatch.setattr(driftline.streams.join.sequential_join, "resolve", forgetful)


def copies_are_conflicts(monkeypatch: pytest.MonkeyPatch) -> None:
    of = driftline.streams.join.batch_rows.Predictions.of.__func__  # type: ignore[attr-defined]

    def numbered(cls: Any, *arguments: Any) -> Any:
        rows = of(cls, *arguments)
        rows.fingerprint = rows.fingerprint + rows.rank.astype(np.uint64)
        return rows

    monkeypatch.setattr(driftline.streams.join.batch_rows.Predictions, "of", classmethod(numbered))


def truths_are_never_late(monkeypatch: pytest.MonkeyPatch) -> None:
    of = driftline.streams.join.batch_rows.Truths.of.__func__  # type: ignore[attr-defined]

    def trusting(cls: Any, *arguments: Any) -> Any:
        rows = of(cls, *arguments)
        rows.known_ms = rows.timestamp_ms
        return rows

    monkeypatch.setattr(driftline.streams.join.batch_rows.Truths, "of", classmethod(trusting))


def corrections_never_end(monkeypatch: pytest.MonkeyPatch) -> None:
    learn = driftline.streams.join.code_book.CodeBook._learn

    def patient(self: Any) -> None:
        learn(self)
        self.horizons = [
            driftline.streams.join.entry.Horizons(h.ladder_ms, h.correction_ms * 2)
            for h in self.horizons
        ]

    monkeypatch.setattr(driftline.streams.join.code_book.CodeBook, "_learn", patient)


@pytest.mark.parametrize(
    "plant",
    [
        exclusive_rungs,
        retractions_are_skipped,
        revisions_are_ignored,
        copies_are_conflicts,
        truths_are_never_late,
        corrections_never_end,
    ],
    ids=lambda plant: plant.__name__,
)
def test_comparison_finds_a_planted_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    plant(monkeypatch)
    assert any(differing(tmp_path, seed) for seed in FAULT_SEEDS)
