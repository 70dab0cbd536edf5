"""Verifies that every row was counted exactly once.

Recomputes all figures from the input topics and compares them with the output topics.

Shares no code with the product: the rules are those of `tests.oracle`, and records are read as
JSON. The topics give the order of rows within their partitions, and the ticks with the offsets from
which they are in force. They do not give the order in which the predictions and truths of a
partition were read, and no figure depends on it.

Where records were lost before they were read, figures count what was read, and those that would be
others without the loss must have `losses`. Lost rows that were late, or were sent again and read,
are no loss (`docs/operations.md`).
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.chaos.losses import FormerTopic, Reading, announcement, reading_of
from tests.chaos.topics import Stored
from tests.oracle.figures import Figure, Place, count, newest
from tests.oracle.joining import FIVE_MINUTES, Joined, walk
from tests.oracle.label_sets import Judged, due, labels_of
from tests.oracle.recorded import Invalid, Row, any_time, prediction, truth
from tests.oracle.settings import Settings
from tests.oracle.verdict import (
    WINDOWS,
    emitted_integers,
    figure_differences,
    integers,
    place_of,
)
from tests.oracle.watermark import Watermark

INPUTS = ("predictions", "ground-truth", "ticks", "registry-commands")
OUTPUTS = (
    "metrics",
    "alerts",
    "registry-events",
    "registry-effects",
    "registry",
    "reference-profiles",
    "predictions.dlq",
    "ground-truth.dlq",
)
Topics = Mapping[str, Iterable[Stored]]
# Fields of a record of `metrics` that are kept; there are many records.
KEPT = {
    *(
        "model_name",
        "model_version",
        "segment",
        "lane",
        "window",
        "window_start",
        "kind",
        "maturity",
        "final",
        "provisional",
        "losses",
    ),
    *(
        "n",
        "n_predictions",
        "label_coverage",
        "labels",
        "matrix",
        "strays",
        "positive_label",
        "positive_basis",
        "tn",
        "fp",
        "fn",
        "tp",
        "metrics",
        "counts",
    ),
}


@dataclass
class Verdict:
    """Result of the verifier.

    Attributes
    ----------
    pairs
        Labelled predictions, counted in the smallest window at the last rung.
    labelled
        By rung, labelled predictions in the compared figures of windows over all segments. One
        counts in each of its windows.
    lost, twice
        How many predictions and outcomes are missing from the final figures, and how many of them
        were counted more than once.
    figures
        Number of figures compared.
    lost_rows
        Records that were gone before they were read.
    marked
        Number of figures with `losses`.
    announced
        Number of those that are others than without the loss. Such a figure without `losses` is a
        fault.
    faults
        All faults, one sentence each.
    """

    rows: int = 0
    pairs: int = 0
    figures: int = 0
    ticks: int = 0
    dead_letters: int = 0
    alerts: int = 0
    registry_events: int = 0
    provisional: int = 0
    lost: int = 0
    twice: int = 0
    lost_rows: int = 0
    marked: int = 0
    announced: int = 0
    labelled: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def is_correct(self) -> bool:
        return not self.faults


def verify(
    topics: Topics,
    configuration: str,
    *,
    now_ms: int,
    former: Sequence[FormerTopic] = (),
    is_finished: bool = True,
) -> Verdict:
    """Verify the topics of a stream with this configuration.

    Parameters
    ----------
    now_ms
        Wall-clock time of the run.
    former
        Topics that were deleted and made anew during the run.
    is_finished
        Whether everything was read and every window is final. Otherwise only what is there is
        verified.
    """
    settings = Settings.from_toml(configuration)
    # There are many metrics, which are read one by one.
    reading = reading_of(
        {name: records for name, records in topics.items() if name != "metrics"}, former
    )
    read = {name: sorted(records, key=place_on_topic) for name, records in reading.topics.items()}
    predictions, rejected_predictions = rows_of(
        read, "predictions", prediction, settings.prediction_grace, now_ms
    )
    truths, rejected_truths = rows_of(read, "ground-truth", truth, settings.truth_grace, now_ms)
    reached = max(
        (
            row.floor + grace
            for rows, grace in (
                (predictions, settings.prediction_grace),
                (truths, settings.truth_grace),
            )
            for row in rows
        ),
        default=0,
    )
    predicted, known = [(False, row) for row in predictions], [(True, row) for row in truths]

    def walked(rows: list[tuple[bool, Row]]) -> Joined:
        return walk(rows, settings, dict(rejected_predictions), dict(rejected_truths))

    joined = walked([*predicted, *known])
    figures = count(joined, settings)
    labels = labels_of(figures, newest(joined, settings), settings)
    verdict = Verdict(rows=joined.rows)
    emitted = EmittedFigures(topics["metrics"])
    in_windows = [record for record in emitted.complete if record["kind"] in WINDOWS]
    verdict.figures, verdict.provisional = len(emitted.complete), emitted.provisional
    # Windows of rows that are dated far ahead of all others are not announced.
    end = settings.end_of_time(reached) if is_finished else 0
    places = {place_of(record) for record in in_windows}
    figures = {
        place: figure
        for place, figure in figures.items()
        if place in places or due(place, settings) <= end
    }
    verdict.faults += figure_differences(emitted.complete, figures, labels)
    for rung, _ in settings.defaults.rungs:
        verdict.labelled[rung] = sum(
            record["n"]
            for record in in_windows
            if (record["lane"], record["segment"], record["maturity"]) == ("decisions", "all", rung)
        )
    _add_up(verdict, emitted.complete, figures, labels, settings)
    verdict.faults += emitted.faults
    if former:
        sent = [
            *(
                (False, row)
                for row in with_lost(reading, "predictions", predictions, read, now_ms, settings)
            ),
            *(
                (True, row)
                for row in with_lost(reading, "ground-truth", truths, read, now_ms, settings)
            ),
        ]
        found = announcement(in_windows, figures, count(walked(sent), settings))
        verdict.faults += reading.faults + found.faults
        verdict.lost_rows = sum(map(len, reading.lost.values()))
        verdict.marked, verdict.announced = found.marked, found.wrong
    for name, rejected in (
        ("predictions", joined.rejected_predictions),
        ("ground-truth", joined.rejected_truths),
    ):
        verdict.faults += dead_letters(
            read[name], read[f"{name}.dlq"], rejected, is_finished=is_finished
        )
        verdict.dead_letters += len(rejected)
    verdict.faults += alerts(read["alerts"])
    verdict.faults += registry(read, is_finished=is_finished)
    verdict.ticks, verdict.alerts, verdict.registry_events = (
        len(read[name]) for name in ("ticks", "alerts", "registry-events")
    )
    return verdict


def with_lost(
    reading: Reading,
    name: str,
    as_read: list[Row],
    topics: Mapping[str, Sequence[Stored]],
    now_ms: int,
    settings: Settings,
) -> list[Row]:
    """The rows of a topic with the lost ones, apart from lost rows that were late, and from those
    that were sent again and read.

    Rows that were read are as late as they were read: without the loss some would have been later,
    but they are not missing in a figure.
    """
    if name not in reading.inputs:
        return as_read
    decode, grace = (
        (prediction, settings.prediction_grace)
        if name == "predictions"
        else (truth, settings.truth_grace)
    )
    records = sorted(reading.inputs[name], key=place_on_topic)
    rows, _ = rows_of({**topics, name: records}, name, decode, grace, now_ms)
    read, lost = {row.id for row in as_read}, reading.lost[name]
    floors = {place_on_topic(topics[name][row.line]): row.floor for row in as_read}
    kept = []
    for row in rows:
        place = place_on_topic(records[row.line])
        if place not in lost:
            kept.append(replace(row, floor=floors[place]))
        elif row.time >= row.floor and row.id not in read:
            kept.append(row)
    return kept


def place_on_topic(record: Stored) -> tuple[int, int]:
    return record.partition, record.offset


def rows_of(
    topics: Topics, name: str, decode: Callable[[bytes], dict[str, Any]], grace: int, now_ms: int
) -> tuple[list[Row], dict[int, str]]:
    """The valid rows of a topic with their floors, and the reasons of rejected records by number.

    The number of a record is its place in the topic.
    """
    rows: list[Row] = []
    rejected: dict[int, str] = {}
    watermarks: dict[int, Watermark] = defaultdict(Watermark)
    ticks = _ticks(topics["ticks"], name)
    for number, record in enumerate(topics[name]):
        partition = record.partition
        due = ticks.get(partition, [])
        while due and due[0][0] <= record.offset:
            watermarks[partition].tick(due.pop(0)[1])
        try:
            value = decode(record.value)
            if value["timestamp"] > now_ms + FIVE_MINUTES:
                raise Invalid("too far ahead")
        except Invalid as why:
            rejected[number] = str(why)
            continue
        mark = watermarks[partition].row(value["timestamp"], value["prediction_id"])
        rows.append(Row(number, partition, value["timestamp"], mark - grace, value))
    return rows, rejected


def _ticks(records: Iterable[Stored], topic: str) -> dict[int, list[tuple[int, int]]]:
    """By partition: (offset of the topic from which the tick is in force, time).

    A record without such offsets is a request, not a tick.
    """
    by_partition: dict[int, list[tuple[int, int]]] = {}
    for record in records:
        value = json.loads(record.value)
        if value.get("after"):
            time = any_time(value["timestamp"])
            by_partition.setdefault(record.partition, []).append(
                (value["after"].get(topic, 0), time)
            )
    return {partition: sorted(ticks) for partition, ticks in by_partition.items()}


def _add_up(
    verdict: Verdict,
    announced: list[dict[str, Any]],
    figures: dict[Place, Figure],
    labels: dict[Place, Judged],
    settings: Settings,
) -> None:
    """Count predictions and outcomes that are missing or counted twice, in the smallest window over
    all segments at the last rung.
    """
    emitted = {
        place_of(record): emitted_integers(record)
        for record in announced
        if record["kind"] == "tumbling"
    }
    for place in figures.keys() | emitted.keys():
        model = settings.of(place.model)
        window, size, _ = min(model.window_sizes, key=lambda sized: sized[1])
        last = model.rungs_of(size)[-1][0]
        if (place.segment, place.window) != ("all", window) or (place.lane, place.rung) not in (
            ("traffic", "-"),
            ("decisions", last),
        ):
            continue
        wanted = integers(figures.get(place, Figure()), labels.get(place))
        actual = emitted.get(place, {})
        for name in wanted.keys() | actual.keys():
            # Predictions in traffic, cells in decisions: sums of cells would count a fault twice.
            if (name == "predictions") if place.lane == "traffic" else isinstance(name, tuple):
                difference = actual.get(name, 0) - wanted.get(name, 0)
                verdict.twice += max(0, difference)
                verdict.lost += max(0, -difference)
        if place.lane == "decisions":
            verdict.pairs += wanted.get("n", 0)


class EmittedFigures:
    """The records of `metrics`: the complete figures, the number of provisional ones, and faults
    (keys whose revision falls, or that have records after their complete one).
    """

    def __init__(self, records: Iterable[Stored]) -> None:
        self.complete: list[dict[str, Any]] = []
        self.provisional = 0
        self.faults: list[str] = []
        newest: dict[bytes | None, tuple[int, str]] = {}
        for record in records:
            value = json.loads(record.value)
            revision, complete = value["revision"], not value["provisional"]
            before, ended = newest.get(record.key, (0, ""))
            if revision < before:
                self.faults.append(f"{record.key!r}: revision {revision} comes after {before}")
            if ended and not complete:
                self.faults.append(
                    f"{record.key!r}: a provisional figure comes after the complete one"
                )
            # After n further outcomes, the key of a last-n window belongs to another figure.
            if complete and ended == value["window_end"]:
                self.faults.append(f"{record.key!r}: is complete a second time")
            newest[record.key] = (revision, value["window_end"] if complete else ended)
            if complete:
                value["metrics"] = {
                    name: number for name, number in value["metrics"].items() if number is not None
                }
                self.complete.append(
                    {name: content for name, content in value.items() if name in KEPT}
                )
            else:
                self.provisional += 1


def dead_letters(
    rows: Sequence[Stored],
    letters: Iterable[Stored],
    rejected: dict[int, str],
    *,
    is_finished: bool = True,
) -> Iterator[str]:
    """Records that a dead-letter topic lacks, has more than once, or has with other bytes.

    Unless the stream is finished, it may lack some.
    """
    numbers = {(row.partition, row.offset): number for number, row in enumerate(rows)}
    seen: Counter[int] = Counter()
    for letter in letters:
        topic = letter.headers["dlq_topic"].decode()
        place = int(letter.headers["dlq_partition"]), int(letter.headers["dlq_offset"])
        if place not in numbers:
            yield f"{topic}.dlq: names a record at {place}, which does not exist"
            continue
        number = numbers[place]
        seen[number] += 1
        if not _holds(letter, rows[number]):
            yield f"{topic}.dlq: the record at {place} has other bytes"
        conflict = letter.headers["dlq_reason"] == b"conflict"
        if conflict != (rejected.get(number) == "conflict"):
            yield (
                f"{topic}.dlq: the record at {place} has the reason "
                f"{letter.headers['dlq_reason']!r}, not {rejected.get(number)}"
            )
    for number in sorted(rejected.keys() | seen.keys()):
        if not seen[number] and not is_finished:
            continue
        if seen[number] != (number in rejected):
            row, why = rows[number], rejected.get(number, "it is valid")
            yield (
                f"dead letter of {row.partition}@{row.offset}: {seen[number]} times; "
                f"by the verifier: {why}"
            )


def _holds(letter: Stored, row: Stored) -> bool:
    """Whether a dead letter has the bytes of the record, or size and hash of too large ones."""
    if row.digest is None or letter.digest is not None:
        return (letter.key, letter.value, letter.digest) == (row.key, row.value, row.digest)
    size, sha256 = row.digest
    described = int(letter.headers.get("dlq_size", b"0")), letter.headers.get("dlq_sha256", b"")
    if b"decompress" in letter.headers["dlq_error"]:  # those of the compressed batch
        return not letter.value and 0 < described[0] < size
    return not letter.value and (letter.key, *described) == (row.key, size, sha256.encode())


def alerts(records: Iterable[Stored]) -> Iterator[str]:
    """Alerts whose episodes do not begin and end in turn; the last one may be open."""
    is_open: dict[str, dict[str, Any]] = {}
    resolved: set[str] = set()
    for record in records:
        alert = json.loads(record.value)
        place, before = alert["fingerprint"], is_open.get(alert["fingerprint"])
        if alert["alert_id"] in resolved:
            yield f"alert {alert['alert_id']}: continues after it was resolved"
        elif before is not None and before["alert_id"] != alert["alert_id"]:
            yield f"alert {alert['alert_id']}: begins before {before['alert_id']} is resolved"
        elif before == alert:
            yield f"alert {alert['alert_id']}: is emitted twice"
        elif before is None and alert["status"] == "resolved":
            yield f"alert {alert['alert_id']}: is resolved and never began"
        is_open[place] = alert
        if alert["status"] == "resolved":
            resolved.add(alert["alert_id"])
            del is_open[place]


def _profiles(topics: Topics) -> Iterator[str]:
    """Reference profiles without exactly one record, or without an entry that names them."""
    entries = (json.loads(record.value) for record in topics["registry"])
    named = {
        (entry["model_name"], entry["reference_id"]) for entry in entries if "reference_id" in entry
    }
    profiles = (json.loads(record.value) for record in topics["reference-profiles"])
    records = Counter((profile["model_name"], profile["reference_id"]) for profile in profiles)
    for place in sorted(named | records.keys()):
        if records[place] != 1 or place not in named:
            named_by = "an entry" if place in named else "no entry"
            yield f"reference profile {place}: has {records[place]} records, {named_by} names it"


def registry(topics: Topics, *, is_finished: bool = True) -> Iterator[str]:
    """Revisions that do not increase by one, and commands without exactly one event.

    Unless the stream is finished, a command may have none yet.
    """
    newest: Counter[str] = Counter()
    answers: Counter[str] = Counter()
    for record in topics["registry-events"]:
        event = json.loads(record.value)
        model, changes = (
            event["model_name"],
            event["event"] != "rejected" and not event.get("dry_run"),
        )
        answers[event["command_id"]] += 1
        if event["revision"] != newest[model] + changes:
            yield (
                f"registry of {model}: revision {event['revision']} ({event['event']}) "
                f"comes after {newest[model]}"
            )
        newest[model] = max(newest[model], event["revision"])
    for name, key in (("registry", "model_version"), ("registry-effects", "model_name")):
        known: Counter[tuple[str, str]] = Counter()
        for record in topics[name]:
            entry = json.loads(record.value)
            place = entry["model_name"], entry[key]
            if entry["revision"] < known[place]:
                yield f"{name} of {place}: revision {entry['revision']} comes after {known[place]}"
            known[place] = entry["revision"]
    yield from _profiles(topics)
    sent = {json.loads(record.value)["command_id"] for record in topics["registry-commands"]}
    # Commands that are not on the topic come from the product itself.
    for command in sorted(sent | answers.keys()):
        if answers[command] > 1 or (is_finished and command in sent and not answers[command]):
            yield f"command {command} has {answers[command]} events"
