"""Comparison of the output folder of a run with the oracle: equal integers, no figure twice.

It reads `metrics.jsonl`, `histograms.jsonl` and the dead-letter files as JSON.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

from tests.oracle.figures import Figure, Place, labels_by_model, resolved
from tests.oracle.joining import Joined
from tests.oracle.recorded import EPOCH
from tests.oracle.settings import Settings

WINDOWS = ("tumbling", "sliding")
ROUNDED = 0.501e-6  # ratios have six decimals


def differences(
    log: Path, out: Path, joined: Joined, figures: dict[Place, Figure], settings: Settings
) -> list[str]:
    """Differences between the output of a run over `log` and the oracle, one sentence each."""
    # Windows of rows that are dated far ahead of all others are not announced.
    announced = {
        place_of(record) for record in _records(out / "metrics.jsonl") if record["kind"] in WINDOWS
    }
    end = settings.end_of_time(joined.last)
    figures = {
        place: figure
        for place, figure in figures.items()
        if place in announced or due(place, settings) <= end
    }
    expected = {place: figure for place, figure in figures.items() if filled(figure)}
    sentences = figure_differences(_records(out / "metrics.jsonl"), figures, settings)
    sentences += histograms(_records(out / "histograms.jsonl"), expected)
    for topic, rejected in (
        ("predictions", joined.rejected_predictions),
        ("ground-truth", joined.rejected_truths),
    ):
        sentences += dead_letters(log / f"{topic}.jsonl", out / f"{topic}.dlq.jsonl", rejected)
    return sentences


def due(place: Place, settings: Settings) -> int:
    """Event time at which a figure is announced at the latest, the grace apart: the first edge of
    a pane at or after its rung.
    """
    model = settings.of(place.model)
    size = next(size for name, size, _ in model.window_sizes if name == place.window)
    complete = place.start + size + dict(model.rungs).get(place.rung, 0)
    return -(-complete // settings.pane) * settings.pane


def figure_differences(
    records: Iterable[dict[str, Any]], figures: dict[Place, Figure], settings: Settings
) -> list[str]:
    """Differences of `metrics` records, none of them provisional, one sentence each."""
    emitted: dict[Place, dict[str, Any]] = {}
    sentences: list[str] = []
    for record in records:
        if record["kind"] in WINDOWS:
            place = place_of(record)
            if place in emitted:
                sentences.append(f"{place} is emitted twice")
            emitted[place] = record
    expected = {place: figure for place, figure in figures.items() if filled(figure)}
    for place in sorted(expected.keys() - emitted.keys()):
        sentences.append(f"{place} is not emitted; it has {filled(expected[place])}")
    labels = labels_by_model(figures)
    for place, record in emitted.items():
        figure, positive = expected.get(place, Figure()), settings.of(place.model).positive_label
        wanted, actual = (
            integers(figure, labels.get(place.model, set()), positive),
            emitted_integers(record),
        )
        if wanted != actual:
            names = [
                name
                for name in sorted({*wanted, *actual}, key=str)
                if wanted.get(name, 0) != actual.get(name, 0)
            ]
            sentences += [
                f"{place}: {name} is {actual.get(name, 0)}, the oracle has {wanted.get(name, 0)}"
                for name in names
            ]
        sentences += [f"{place}: {fault}" for fault in ratios(record)]
    return sentences


def filled(figure: Figure) -> dict[Any, int]:
    """Everything in the figure that is not zero."""
    return {name: n for name, n in [*figure.counts.items(), *figure.cells.items()] if n}


def integers(figure: Figure, labels: set[str], positive: str | None) -> dict[Any, int]:
    """The integers that a `metrics` record must have."""
    cells = resolved(figure.cells, labels, positive)
    wanted: dict[Any, int] = {name: n for name, n in figure.counts.items() if n}
    wanted["n"] = figure.n
    return {name: n for name, n in [*wanted.items(), *cells.items()] if n}


def emitted_integers(record: dict[str, Any]) -> dict[Any, int]:
    """The integers of a `metrics` record, under the oracle's names."""
    actual: dict[Any, int] = {name: n for name, n in record.get("counts", {}).items() if n}
    actual["n"] = record["n"]
    if record["lane"] != "arrivals":  # where it repeats the number of outcomes
        actual["predictions"] = record["n_predictions"]
    labels = record.get("labels", [])
    for i, row in enumerate(record.get("matrix", [])):
        for j, n in enumerate(row):
            actual[labels[i], labels[j]] = n
    return {name: n for name, n in actual.items() if n}


def histograms(records: Iterable[dict[str, Any]], expected: dict[Place, Figure]) -> Iterator[str]:
    """Score histograms that differ from the oracle, or are missing in a series that has others."""
    actual: dict[Place, dict[tuple[str, str], int]] = {}
    for record in records:
        scores: Counter[tuple[str, str]] = Counter()
        for half in ("fit", "holdout"):
            for label, bins in record[half].items():
                scores.update({(label, text): n for text, n in bins.items()})
        actual[place_of(record)] = dict(scores)
    series = {place._replace(rung="", start=0) for place in actual}
    for place, figure in expected.items():
        if place._replace(rung="", start=0) in series:
            wanted = {score: n for score, n in figure.scores.items() if n}
            if wanted != actual.pop(place, {}):
                yield f"{place}: the histogram is not {wanted}"
    yield from (f"{place} has a histogram, the oracle has none" for place in actual)


def ratios(record: dict[str, Any]) -> Iterator[str]:
    """Figures of a record that do not follow from its own integers."""
    n, total = record["n"], record["n_predictions"]
    matrix, labels = record.get("matrix", []), record.get("labels", [])
    if (
        record["lane"] == "decisions"
        and total
        and abs(record["label_coverage"] - n / total) > ROUNDED
    ):
        yield f"label_coverage is {record['label_coverage']}, not {n}/{total}"
    right = sum(matrix[i][i] for i in range(len(labels)))
    accuracy = record["metrics"].get("accuracy")
    if n > 0 and accuracy is not None and abs(accuracy - right / n) > ROUNDED:
        yield f"accuracy is {accuracy}, not {right}/{n}"
    if record.get("tp") is not None:
        tp, fp, fn = record["tp"], record["fp"], record["fn"]
        for name, part, whole in (
            ("precision", tp, tp + fp),
            ("recall", tp, tp + fn),
            ("f1", 2 * tp, 2 * tp + fp + fn),
        ):
            value = record["metrics"].get(name)
            if value is not None and (not whole or abs(value - part / whole) > ROUNDED):
                yield f"{name} is {value}, not {part}/{whole}"
    if record.get("tp") is not None and sorted(
        (record["tn"], record["fp"], record["fn"], record["tp"])
    ) != sorted(chain(*matrix)):
        yield "tn, fp, fn, tp are not the cells of the matrix"
    if record["provisional"]:
        yield "a replay emits nothing provisional"


def dead_letters(log: Path, letters: Path, rejected: dict[int, str]) -> Iterator[str]:
    """Lines that are missing in a dead-letter file, repeated there, or different from the log."""
    lines = log.read_bytes().split(b"\n")
    seen: Counter[int] = Counter()
    for letter in _records(letters) if letters.exists() else []:
        line = letter["dlq_offset"]
        seen[line] += 1
        raw = (
            base64.b64decode(letter["value_base64"])
            if "value_base64" in letter
            else letter["value"].encode()
        )
        if raw != lines[line]:
            yield f"{letters.name}: line {line} differs from the log"
        if (letter["dlq_reason"] == "conflict") != (rejected.get(line) == "conflict") or not letter[
            "dlq_error"
        ]:
            yield (
                f"{letters.name}: line {line} has reason {letter['dlq_reason']},"
                f" the oracle {rejected.get(line)}"
            )
    for line in sorted(rejected.keys() | seen.keys()):
        if seen[line] != (line in rejected):
            yield (
                f"{letters.name}: line {line} is there {seen[line]} times, for the oracle it is"
                f" {rejected.get(line, 'valid')}"
            )


def _records(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def place_of(record: dict[str, Any]) -> Place:
    start = (datetime.fromisoformat(record["window_start"]) - EPOCH).total_seconds()
    return Place(
        record["model_name"],
        record["model_version"],
        record["segment"],
        record["lane"],
        record["window"],
        record["maturity"] or "-",
        round(start * 1000),
    )
