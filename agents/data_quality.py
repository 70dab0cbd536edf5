"""How good the data of each model version are: rows that did not count as they should, features
that are missing, of another kind or with new texts, and checks that could not be made.

How features are distributed is drift, not quality.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from driftline.agents.counted_rows import counted_arrivals, tumbling_window
from driftline.agents.doctor.feature_shares import SHARES
from driftline.agents.read_model.drift_reads import DriftFilter
from driftline.agents.read_model.figure_reads import Series, SeriesFilter, Span
from driftline.agents.uncounted_rows import MAX_LOST_SHARE
from driftline.schemas.results import Drift
from driftline.schemas.times import EpochMs
from driftline.streams.lanes import ALL

if TYPE_CHECKING:
    from driftline.agents.read_model.read_model import Reads

ROWS: Final = {
    "late_predictions": "late predictions",
    "dropped_predictions": "predictions too late to count",
    "conflicting_predictions": "predictions that repeat an id with other content",
    "duplicate_predictions": "predictions that came before",
}
"""Counters of rows that do not count as they should, with their words."""
_HARMLESS: Final = "duplicate_predictions"
_FEATURE: Final = "feature:"
_NO_VERDICT: Final = "insufficient_data"


class QualityCheck(msgspec.Struct, kw_only=True):
    """A check of the data of a version.

    Attributes
    ----------
    subject
        The feature, or the rows.
    check
        "missing", "kind", "unseen", or the name of a counter.
    outcome
        Whether it was passed or failed, or why there is no verdict.
    what
        What was found, or why there is no verdict.
    """

    subject: str
    check: str
    outcome: Literal["passed", "failed", "not possible"]
    what: str


class DataQuality(msgspec.Struct, kw_only=True, rename={"since_ms": "since", "until_ms": "until"}):
    """The data of a model version in a span.

    Attributes
    ----------
    n_predictions
        Predictions of the span.
    counts
        Rows that did not count as they should, by counter.
    checks
        Those of rows, then those of features in the newest detection window.
    """

    model_name: str
    model_version: str
    since_ms: EpochMs
    until_ms: EpochMs
    n_predictions: int
    counts: dict[str, int]
    checks: list[QualityCheck]


def data_quality(
    reads: Reads, *, model_name: str | None, model_version: str | None, span_ms: int
) -> list[DataQuality]:
    """The data of each version with traffic, in the last `span_ms` before the end of its newest
    window; features in the newest detection window that data cover as a whole.
    """
    wanted = SeriesFilter(
        model_name=model_name, model_version=model_version, segment=ALL, lane="traffic"
    )
    versions: dict[tuple[str, str], list[Series]] = {}
    for each in reads.figures.series(wanted):
        versions.setdefault((each.model_name, each.model_version), []).append(each)
    found = []
    for (name, version), series in versions.items():
        window = tumbling_window(series)
        of_window = [each for each in series if each.window == window]
        if of_window:
            found.append(_of_version(reads, name, version, of_window[0], span_ms))
    return found


def _of_version(reads: Reads, name: str, version: str, series: Series, span_ms: int) -> DataQuality:
    from driftline.agents.read_model.figure_reads import only

    newest = next(reads.figures.newest(only(series)), None)
    until = 0 if newest is None else newest.window_end_ms
    span = Span(since_ms=until - span_ms, until_ms=until)
    predictions = sum(each.n_predictions for each in reads.figures.between(only(series), span))
    counted = counted_arrivals(reads.figures, name, version, span)
    counts = {counter: counted[counter] for counter in ROWS}
    drift = reads.drift.newest(DriftFilter(model_name=name, model_version=version, segment=ALL))
    return DataQuality(
        model_name=name,
        model_version=version,
        since_ms=EpochMs(span.since_ms),
        until_ms=EpochMs(until),
        n_predictions=predictions,
        counts=counts,
        checks=[*_row_checks(counts, predictions), *_feature_checks(drift)],
    )


def _row_checks(counts: dict[str, int], predictions: int) -> Iterator[QualityCheck]:
    """Whether few enough rows were late, dropped or conflicting."""
    for counter, words in ROWS.items():
        if counter == _HARMLESS:
            continue
        rows = counts[counter]
        if not predictions:
            yield QualityCheck(
                subject="rows", check=counter, outcome="not possible", what="no prediction came"
            )
            continue
        failed = rows > MAX_LOST_SHARE * predictions
        yield QualityCheck(
            subject="rows",
            check=counter,
            outcome="failed" if failed else "passed",
            what=f"{rows:,} {words} ({rows / predictions:.2%})",
        )


def _feature_checks(results: Iterable[Drift]) -> Iterator[QualityCheck]:
    """The tests of each feature. One without missing values has no test of them, and passes."""
    features: dict[str, dict[str, Drift]] = {}
    for result in results:
        if result.target.startswith(_FEATURE):
            name = result.target.removeprefix(_FEATURE)
            features.setdefault(name, {})[result.method] = result
    for name, methods in features.items():
        for method in SHARES:
            if method in methods:
                yield _verdict(name, methods[method])
            elif method == "missing":
                result = next(iter(methods.values()))
                if result.details.get("missing_share") == 0 and result.level != _NO_VERDICT:
                    yield QualityCheck(
                        subject=name,
                        check=method,
                        outcome="passed",
                        what=_words(method, result),
                    )


def _verdict(name: str, result: Drift) -> QualityCheck:
    if result.level == _NO_VERDICT:
        return QualityCheck(
            subject=name,
            check=result.method,
            outcome="not possible",
            what=result.reason or "no verdict",
        )
    return QualityCheck(
        subject=name,
        check=result.method,
        outcome="passed" if result.level == "none" else "failed",
        what=f"{_words(result.method, result)} ({result.level})",
    )


def _words(method: str, result: Drift) -> str:
    """The share of a method beside that of the reference."""
    share = SHARES[method][0]
    now, before = result.details[share], result.details[f"reference_{share}"]
    return f"{now:.2%}, in the reference {before:.2%}"
