"""Comparison of the output folder of a run with the oracle: equal integers, no figure twice.

It reads `metrics.jsonl`, `histograms.jsonl` and the dead-letter files as JSON.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.oracle.figures import Figure, Place, newest
from tests.oracle.joining import Joined
from tests.oracle.label_sets import Judged, due, labels_of
from tests.oracle.recorded import EPOCH, read_label_commands
from tests.oracle.settings import Settings

WINDOWS = ("tumbling", "sliding")
NEED_POSITIVE = ("precision", "recall", "roc_auc", "brier")
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
    labels = labels_of(figures, newest(joined, settings), settings, read_label_commands(log))
    sentences = figure_differences(_records(out / "metrics.jsonl"), figures, labels)
    sentences += histograms(_records(out / "histograms.jsonl"), figures, labels, settings)
    for topic, rejected in (
        ("predictions", joined.rejected_predictions),
        ("ground-truth", joined.rejected_truths),
    ):
        sentences += dead_letters(log / f"{topic}.jsonl", out / f"{topic}.dlq.jsonl", rejected)
    return sentences


def figure_differences(
    records: Iterable[dict[str, Any]], figures: dict[Place, Figure], labels: dict[Place, Judged]
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
    for place, record in emitted.items():
        wanted = integers(expected.get(place, Figure()), labels.get(place))
        actual = emitted_integers(record)
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
        if place in labels:
            sentences += [f"{place}: {fault}" for fault in meanings(record, labels[place])]
        sentences += [f"{place}: {fault}" for fault in ratios(record)]
    return sentences


def filled(figure: Figure) -> dict[Any, int]:
    """Everything in the figure that is not zero."""
    return {name: n for name, n in [*figure.counts.items(), *figure.cells.items()] if n}


def integers(figure: Figure, labels: Judged | None) -> dict[Any, int]:
    """The integers that a `metrics` record must have."""
    wanted: dict[Any, int] = {name: n for name, n in figure.counts.items() if n}
    if labels is None or not labels.counted:
        wanted["n"] = figure.n
    else:
        cells, strays = labels.cells(figure)
        wanted |= cells | {f"stray {label}": n for label, n in strays.items()}
        wanted["n"] = cells.total()
    return {name: n for name, n in wanted.items() if n}


def emitted_integers(record: dict[str, Any]) -> dict[Any, int]:
    """The integers of a `metrics` record, under the oracle's names."""
    actual: dict[Any, int] = {name: n for name, n in record.get("counts", {}).items() if n}
    actual["n"] = record["n"]
    if record["lane"] != "arrivals":  # where it repeats the number of outcomes
        actual["predictions"] = record["n_predictions"]
    actual |= {f"stray {label}": n for label, n in record.get("strays", {}).items()}
    labels = record.get("labels", [])
    for i, row in enumerate(record.get("matrix", [])):
        for j, n in enumerate(row):
            actual[labels[i], labels[j]] = n
    return {name: n for name, n in actual.items() if n}


def meanings(record: dict[str, Any], labels: Judged) -> Iterator[str]:
    """Classes and positive label of a record, and the figures that need them."""
    counted = labels.counted and record["lane"] != "traffic"
    wanted = (
        (labels.names, labels.positive, labels.basis)
        if counted and labels.names
        else ([], None, None)
    )
    names = record.get("labels", [])
    found = names, record.get("positive_label"), record.get("positive_basis")
    if found != wanted:
        yield f"labels, positive label and its basis are {found}, the oracle has {wanted}"
        return
    cells = [record.get(name) for name in ("tn", "fp", "fn", "tp")]
    if found[1] is None:
        if cells != [None] * 4:
            yield f"tn, fp, fn, tp are {cells} without a positive label"
        figure = next(
            (name for name in NEED_POSITIVE if record["metrics"].get(name) is not None), None
        )
        if figure is not None and record["lane"] != "traffic":
            yield f"{figure} is {record['metrics'][figure]} without a positive label"
    else:
        yes = names.index(found[1])
        matrix, no = record["matrix"], 1 - yes
        if cells != [matrix[no][no], matrix[no][yes], matrix[yes][no], matrix[yes][yes]]:
            yield f"tn, fp, fn, tp are {cells}, with {found[1]} as positive label of {matrix}"
    if not counted and record["metrics"].get("accuracy") is not None:
        yield "accuracy is there, and figures by label are withheld"


def histograms(
    records: Iterable[dict[str, Any]],
    figures: dict[Place, Figure],
    labels: dict[Place, Judged],
    settings: Settings,
) -> Iterator[str]:
    """Score histograms that differ from the oracle or are missing."""
    actual: dict[Place, dict[tuple[str, str], int]] = {}
    for record in records:
        scores: Counter[tuple[str, str]] = Counter()
        for half in ("fit", "holdout"):
            for label, bins in record[half].items():
                scores.update({(label, text): n for text, n in bins.items()})
        place = place_of(record)
        actual[place] = dict(scores)
        if place in labels and record["positive_label"] != labels[place].positive:
            yield f"{place}: the histogram has the positive label {record['positive_label']}"
    for place, figure in figures.items():
        if (place.lane, place.segment, place.window) != (
            "decisions",
            "all",
            settings.of(place.model).histogram_window,
        ):
            continue
        judged = labels[place]
        is_told = judged.counted and judged.positive is not None
        wanted = judged.scores(figure) if is_told else {}
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
