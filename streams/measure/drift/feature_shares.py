"""Three shares of a feature: of its rows without a value, of its values of the other kind, such as
texts among numbers, and of its texts that the reference never had.

Missing rows depend on each other. How much they are worth is taken from the reference alone:
without drift the window resembles it, and so a column that becomes null in the middle of a window
is found in that window, not a week later. Of windows of 7 days whose values go missing in bursts as
in the 30 days of the reference, 0 to 5 % were moderate or severe; with the dependence of the window
too, 0 to 1 % (300 runs each of six kinds of bursts, measured).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from driftline.streams.drift.comparison import DriftResult
from driftline.streams.drift.effective_size import effective_size
from driftline.streams.drift.share_shift import ShareOfRows, share_shift
from driftline.streams.measure.drift.targets import FeatureTarget
from driftline.streams.summaries.feature_summary import FeatureSummary
from driftline.streams.summaries.numeric_bins import NumericSummary
from driftline.streams.summaries.text_summary import StringSummary

MISSING: Final = "missing"
KIND: Final = "kind"
UNSEEN: Final = "unseen"
"""Names of the results, in place of the name of a test."""
MOST_UNSEEN: Final = 3
"""Unseen texts that a record names."""


class ShareSizes(msgspec.Struct, frozen=True, omit_defaults=True):
    """Number of independent rows of a reference, as far as it is not the number of rows.

    Attributes
    ----------
    missing
        Of its rows, with and without a value.
    kind
        Of its values, numbers and texts.
    """

    missing: float | None = None
    kind: float | None = None


def share_sizes(target: FeatureTarget, period: int) -> ShareSizes:
    """The sizes of a feature in the span of a reference; `period` is the number of grains in a day,
    or 0.
    """
    summary = target.summary
    missing = kind = None
    if summary.missing and summary.n:
        missing = round(effective_size(target.missing_by_grain(), period=period), 3)
    if summary.kind == "mixed":
        kind = round(effective_size(target.kinds_by_grain(), period=period), 3)
    return ShareSizes(missing, kind)


def share_results(
    reference: FeatureSummary,
    sizes: ShareSizes,
    current: FeatureSummary,
    effective: float | None,
) -> Iterator[DriftResult]:
    """The results MISSING and KIND, each where one side has a row of that sort, and UNSEEN where
    the window has such a text.

    Parameters
    ----------
    effective
        Number of independent values of the reference; None for as many as there are.
    """
    for method, before, now, independent in (
        (MISSING, missing_rows(reference), missing_rows(current), sizes.missing),
        (KIND, other_kind(reference, reference), other_kind(reference, current), sizes.kind),
    ):
        if before.hits or now.hits:
            worth = 1.0 if independent is None else independent / before.rows
            yield share_shift(
                method,
                before._replace(effective=before.rows * worth),
                now._replace(effective=now.rows * worth),
            )

    usual, unseen = usually_unseen(reference), unseen_texts(reference, current)
    if usual is not None and unseen is not None and unseen.hits:
        worth = 1.0 if effective is None else min(effective / usual.rows, 1.0)
        yield share_shift(
            UNSEEN,
            usual._replace(effective=usual.rows * worth),
            unseen._replace(effective=unseen.rows * worth),
            growth_only=True,
        )


def usually_unseen(reference: FeatureSummary) -> ShareOfRows | None:
    """The share of texts that further rows without drift bring for the first time: that of the
    texts that the reference has once. None where texts are not judged.

    References
    ----------
    I. J. Good (1953), The population frequencies of species and the estimation of population
    parameters, Biometrika 40, 237-264.
    """
    texts = reference.judged
    if not isinstance(texts, StringSummary) or texts.identifier or not texts.total:
        return None
    once = sum(count == 1 for count in texts.values.values())
    return ShareOfRows(once, texts.total, float(texts.total))


def unseen_texts(reference: FeatureSummary, summary: FeatureSummary) -> ShareOfRows | None:
    """Texts of `summary` that the reference never had, of all its texts; None where its texts are
    an identifier.
    """
    texts = summary.texts
    if texts.identifier or not texts.total:
        return None
    hits = sum(count for _, count in _unseen(reference, summary))
    return ShareOfRows(hits, texts.total, float(texts.total))


def named_unseen(reference: FeatureSummary, summary: FeatureSummary) -> dict[str, int]:
    """The most frequent of these texts with their counts, at most MOST_UNSEEN."""
    return dict(_unseen(reference, summary)[:MOST_UNSEEN])


def _unseen(reference: FeatureSummary, summary: FeatureSummary) -> list[tuple[str, int]]:
    known = reference.texts.values
    return [(text, count) for text, count in summary.texts.ranked() if text not in known]


def missing_rows(summary: FeatureSummary) -> ShareOfRows:
    """Rows without a value, of all rows."""
    rows = summary.n + summary.missing
    return ShareOfRows(summary.missing, rows, float(rows))


def other_kind(reference: FeatureSummary, summary: FeatureSummary) -> ShareOfRows:
    """Values of `summary` that are texts where most of the reference are numbers, or numbers where
    most are texts, of all values.
    """
    are_numbers = isinstance(reference.judged, NumericSummary)
    others = summary.texts.total if are_numbers else summary.numbers.total
    return ShareOfRows(others, summary.n, float(summary.n))
