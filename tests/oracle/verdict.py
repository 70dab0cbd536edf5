"""Does the output folder of a run say what the oracle says? Integer for integer, and nothing
announced twice.

Reads `metrics.jsonl` and the dead-letter files as anybody would, as JSON.
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
    """What a run over `log` says differently in `out`, one sentence each; empty if all is well."""
    expected = {place: figure for place, figure in figures.items() if filled(figure)}
    found = figure_differences(_records(out / "metrics.jsonl"), figures, settings)
    found += histograms(_records(out / "histograms.jsonl"), expected)
    for topic, refused in (
        ("predictions", joined.refused_predictions),
        ("ground-truth", joined.refused_truths),
    ):
        found += refusals(log / f"{topic}.jsonl", out / f"{topic}.dlq.jsonl", refused)
    return found


def figure_differences(
    records: Iterable[dict[str, Any]], figures: dict[Place, Figure], settings: Settings
) -> list[str]:
    """What `metrics` records, none of them provisional, say differently, one sentence each."""
    announced: dict[Place, dict[str, Any]] = {}
    found: list[str] = []
    for record in records:
        if record["kind"] in WINDOWS:
            place = place_of(record)
            if place in announced:
                found.append(f"{place} is announced twice")
            announced[place] = record
    expected = {place: figure for place, figure in figures.items() if filled(figure)}
    for place in sorted(expected.keys() - announced.keys()):
        found.append(f"{place} is not announced; it holds {filled(expected[place])}")
    labels = labels_by_model(figures)
    for place, record in announced.items():
        figure, positive = expected.get(place, Figure()), settings.of(place.model).positive_label
        wanted, said = (
            integers(figure, labels.get(place.model, set()), positive),
            announced_integers(record),
        )
        if wanted != said:
            names = [
                name
                for name in sorted({*wanted, *said}, key=str)
                if wanted.get(name, 0) != said.get(name, 0)
            ]
            found += [
                f"{place}: {name} is {said.get(name, 0)}, the oracle has {wanted.get(name, 0)}"
                for name in names
            ]
        found += [f"{place}: {fault}" for fault in ratios(record)]
    return found


def filled(figure: Figure) -> dict[Any, int]:
    """Everything in the figure that is not zero."""
    return {name: n for name, n in [*figure.counts.items(), *figure.cells.items()] if n}


def integers(figure: Figure, labels: set[str], positive: str | None) -> dict[Any, int]:
    """The integers that a `metrics` record must give."""
    cells = resolved(figure.cells, labels, positive)
    wanted: dict[Any, int] = {name: n for name, n in figure.counts.items() if n}
    wanted["n"] = figure.n
    return {name: n for name, n in [*wanted.items(), *cells.items()] if n}


def announced_integers(record: dict[str, Any]) -> dict[Any, int]:
    """The integers that a `metrics` record gives, under the oracle's names."""
    said: dict[Any, int] = {name: n for name, n in record.get("counts", {}).items() if n}
    said["n"] = record["n"]
    if record["lane"] != "arrivals":  # where it is the number of outcomes once more
        said["predictions"] = record["n_predictions"]
    labels = record.get("labels", [])
    for i, row in enumerate(record.get("matrix", [])):
        for j, n in enumerate(row):
            said[labels[i], labels[j]] = n
    return {name: n for name, n in said.items() if n}


def histograms(records: Iterable[dict[str, Any]], expected: dict[Place, Figure]) -> Iterator[str]:
    """Score histograms that are not the oracle's, or missing in a series of windows that has some."""
    said: dict[Place, dict[tuple[str, int], int]] = {}
    for record in records:
        scores: Counter[tuple[str, int]] = Counter()
        for half in ("fit", "holdout"):
            for label, bins in record[half].items():
                scores.update({(label, int(number)): n for number, n in bins.items()})
        said[place_of(record)] = dict(scores)
    series = {place._replace(rung="", start=0) for place in said}
    for place, figure in expected.items():
        if place._replace(rung="", start=0) in series:
            wanted = {score: n for score, n in figure.scores.items() if n}
            if wanted != said.pop(place, {}):
                yield f"{place}: the histogram is not {wanted}"
    yield from (f"{place} has a histogram, the oracle has nothing there" for place in said)


def ratios(record: dict[str, Any]) -> Iterator[str]:
    """What does not follow from the record's own integers."""
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
        yield "a replay announces nothing provisionally"


def refusals(log: Path, letters: Path, refused: dict[int, str]) -> Iterator[str]:
    """Lines that are missing in a dead-letter file, too many there, or not the bytes that came."""
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
            yield f"{letters.name}: line {line} is not what came"
        if (letter["dlq_reason"] == "conflict") != (refused.get(line) == "conflict") or not letter[
            "dlq_error"
        ]:
            yield f"{letters.name}: line {line} is there because of {letter['dlq_reason']}, the oracle says {refused.get(line)}"
    for line in sorted(refused.keys() | seen.keys()):
        if seen[line] != (line in refused):
            yield f"{letters.name}: line {line} is there {seen[line]} times, the oracle says {refused.get(line, 'it is valid')}"


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
