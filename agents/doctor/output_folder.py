"""Checks of a run's output folder: its state, and whether its data suffice for the figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from driftline.agents.doctor.data_findings import (
    known_labels,
    labelled_predictions,
    stray_labels,
)
from driftline.agents.inprocess.replay import STATE_FOLDER
from driftline.agents.inprocess.run_identity import RunRefused, locked
from driftline.agents.input_rules import with_rules
from driftline.agents.marked_windows import MarkedWindows
from driftline.agents.output_folder import latest
from driftline.agents.results import Results
from driftline.agents.rules_without_rows import rules_without_rows
from driftline.agents.state.rocks import RocksState, StateError
from driftline.schemas.check_result import CheckResult
from driftline.schemas.results import Drift, RegistryEntry, WindowFigures
from driftline.schemas.settings import Config
from driftline.streams.label_vocabulary import quoted

FEW_ROWS = 100  # labelled rows below which a verdict means little; the default of min_samples
MANY_REJECTED = 0.01  # share of the predictions
# Counts of the arrivals lane: name, what it counts, what to do about it.
FAULTS = (
    (
        "unmatched",
        "truths without a prediction",
        with_rules(
            "compare the prediction ids in both files; lengthen park if predictions arrive later",
            "Ids and names",
        ),
    ),
    (
        "late_predictions",
        "predictions later than prediction_grace",
        with_rules(
            "lengthen it if that is usual; they count at the rung of their delay",
            "Times",
        ),
    ),
    (
        "late_truths",
        "truths too late to change a figure",
        with_rules(
            "lengthen label_horizon or correction_horizon if that is usual",
            "Times",
        ),
    ),
    (
        "conflicting_predictions",
        "predictions that repeat an id with other content",
        with_rules("make ids unique; the rows are in predictions.dlq.jsonl", "Ids and names"),
    ),
)
RUN_MARK = "run"  # key under which a run commits its progress


def check_state(out: Path) -> Iterator[CheckResult]:
    """Whether the state of the run can be opened and has a commit."""
    try:
        with locked(out):
            if not (out / STATE_FOLDER).is_dir():
                raise StateError(f"{out} has no folder {STATE_FOLDER}")
            database = RocksState(out / STATE_FOLDER, tasks=1)
            committed = database.mark(RUN_MARK) is not None
            database.close()
    except RunRefused:
        yield CheckResult(
            check="state",
            level="note",
            message=f"a run is writing to {out}",
            remedy="check again when it has ended",
        )
        return
    except StateError as error:
        yield CheckResult(
            check="state",
            level="problem",
            message=str(error),
            remedy="delete the output folder and replay",
        )
        return
    if not committed:
        yield CheckResult(
            check="state",
            level="problem",
            message=f"{out} has no committed step",
            remedy="run the same replay again",
        )
        return
    yield CheckResult(
        check="state", level="ok", message=f"the state in {out / STATE_FOLDER} can be read"
    )


def check_config(output: Results, config: Config) -> Iterator[CheckResult]:
    """Whether the run was made with this configuration."""
    if output.run().get("config") != config.fingerprint():
        yield CheckResult(
            check="configuration",
            level="note",
            message=f"{output.folder} was made with another configuration",
            remedy="pass that configuration with --config, or replay into a new folder",
        )


def check_rejected_rows(output: Results, metrics: list[WindowFigures]) -> Iterator[CheckResult]:
    """Yield the number of dead letters of each input topic."""
    predictions = sum(
        record.n_predictions
        for record in metrics
        if record.lane == "traffic" and record.kind == "since_deployment"
    )
    for topic, count in output.rejected.items():
        is_problem = predictions and count > MANY_REJECTED * predictions
        yield CheckResult(
            check="input",
            level="problem" if is_problem else "note",
            message=f"rejected rows of {topic}: {count:,}",
            remedy=with_rules(
                f"the reasons are in {output.folder / (topic + '.dlq.jsonl')}; driftline schema "
                "validate explains each line of the log",
                "Values of an event",
            ),
        )


def check_faults(metrics: list[WindowFigures]) -> Iterator[CheckResult]:
    """Yield the number of valid rows that were late, unmatched or conflicting."""
    counted: Counter[str] = Counter()
    sizes = {
        record.window
        for record in metrics
        if record.kind == "tumbling" and record.lane == "arrivals"
    }
    for size in sorted(sizes)[:1]:  # windows of one size do not overlap
        for record in metrics:
            if record.window == size and record.lane == "arrivals":
                counted.update(record.counts)
    for name, message, remedy in FAULTS:
        if counted[name]:
            yield CheckResult(
                check="input", level="note", message=f"{message}: {counted[name]:,}", remedy=remedy
            )


def check_losses(metrics: list[WindowFigures]) -> Iterator[CheckResult]:
    """Whether windows lack rows that a live run lost before it read them."""
    marked = MarkedWindows()
    for record in metrics:
        marked.add(record)
    lacking = marked.message()
    if lacking is not None:
        yield CheckResult(
            check="input",
            level="note",
            message=lacking,
            remedy="do not take these figures as whole; if the rows can be had, add them to the "
            "log and replay it",
        )


def check_data(output: Results, metrics: list[WindowFigures]) -> Iterator[CheckResult]:
    """Whether the data of each model version suffice for figures and drift results."""
    versions = sorted(
        {(record.model_name, record.model_version) for record in metrics if record.model_name}
    )
    if not versions:
        yield CheckResult(
            check="data",
            level="problem",
            message="no prediction was accepted",
            remedy="run driftline schema validate",
        )
    entries = {
        (entry.model_name, entry.model_version): entry
        for entry in latest(output.registry.structs(), group=lambda entry: entry.key())
    }
    undecided: Counter[tuple[str, str]] = Counter()
    judged: Counter[tuple[str, str]] = Counter()
    for result in output.drift.structs():
        _count_drift(result, undecided, judged)
    for version in versions:
        own = [record for record in metrics if (record.model_name, record.model_version) == version]
        name = " ".join(version)
        yield from _check_truths(
            name,
            [
                record
                for record in own
                if record.lane == "decisions" and record.final and record.n_predictions
            ],
        )
        yield from _check_reference(name, entries.get(version))
        if undecided[version] and not judged[version]:
            yield CheckResult(
                check="drift",
                level="note",
                message=f"{name}: every drift result is insufficient_data",
                remedy=with_rules(
                    "widen detection_window, or wait for more predictions",
                    "Windows that data cover in part",
                ),
            )


def check_rules(output: Results) -> Iterator[CheckResult]:
    """Name the rules that cannot judge a version for lack of rows."""
    for version, reasons in sorted(rules_without_rows(output.rule_windows.structs()).items()):
        by_reason: dict[str, list[str]] = {}
        for name, reason in reasons.items():
            by_reason.setdefault(reason, []).append(name)
        for reason, names in by_reason.items():
            verb = "cannot judge: it" if len(names) == 1 else "cannot judge: each"
            yield CheckResult(
                check="rules",
                level="note",
                message=f"{' '.join(version)}: {', '.join(names)} {verb} {reason}",
                remedy="add a longer window to windows, or set a smaller min_samples for the rule",
            )


def _count_drift(
    result: Drift, undecided: Counter[tuple[str, str]], judged: Counter[tuple[str, str]]
) -> None:
    version = (result.model_name, result.model_version)
    (undecided if result.level == "insufficient_data" else judged)[version] += 1


def _check_truths(name: str, final: list[WindowFigures]) -> Iterator[CheckResult]:
    windows = [record for record in final if record.kind == "tumbling"]
    if not windows:
        yield CheckResult(
            check="data",
            level="note",
            message=f"{name}: no window is final yet",
            remedy="figures of earlier rungs may still change",
        )
        return
    predictions, labelled = (
        sum(record.n_predictions for record in windows),
        sum(record.n for record in windows),
    )
    yield from labelled_predictions(name, predictions, labelled)
    if not labelled:
        return
    for size in sorted({record.window for record in windows}):
        own = [record for record in windows if record.window == size]
        few = sum(1 for record in own if record.n < FEW_ROWS)
        if few:
            yield CheckResult(
                check="data",
                level="note",
                message=f"{name}: {few} of {len(own)} windows of {size} have fewer than {FEW_ROWS} "
                "labelled rows",
                remedy="rules on such a window do not fire (min_samples); use a longer window",
            )
    yield from _check_labels(name, windows)
    reasons = {record.null_reasons.get("roc_auc") for record in windows}
    if reasons == {"no score"}:
        yield CheckResult(
            check="data",
            level="note",
            message=f"{name}: predictions have no score, so there is no ROC AUC, no Brier score "
            "and no recommended threshold",
            remedy=with_rules('send "score", the probability of the positive class', "Scores"),
        )


def _check_labels(name: str, windows: Sequence[WindowFigures]) -> Iterator[CheckResult]:
    """Whether all labels are in the figures, and whether the positive one is known."""
    newest = max(windows, key=lambda record: record.window_end_ms)
    reason = newest.null_reasons.get("accuracy") if newest.n else None
    yield from known_labels(
        name, newest.labels, newest.positive_label, newest.positive_basis, reason
    )
    strays: Counter[str] = Counter()
    smallest = min({(record.window_end_ms - record.window_start_ms) for record in windows})
    for record in windows:
        if record.window_end_ms - record.window_start_ms == smallest:
            strays.update(record.strays)
    if strays:
        listed = ", ".join(f"{quoted(label)} {n:,}" for label, n in strays.most_common(5))
        yield stray_labels(name, listed)


def _check_reference(name: str, entry: RegistryEntry | None) -> Iterator[CheckResult]:
    if entry is not None and entry.reference_id is None:
        yield CheckResult(
            check="drift",
            level="note",
            message=f"{name}: no reference profile yet, so drift is not tested",
            remedy="it is built at the end of the reference span; set models.NAME.reference for a "
            "shorter one",
        )
