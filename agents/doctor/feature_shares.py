"""Features whose shares in the newest detection window are not those of the reference: of missing
values, of another kind, of texts that the reference never had.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from driftline.agents.input_rules import with_rules
from driftline.schemas.check_result import CheckResult
from driftline.schemas.results import Drift
from driftline.schemas.times import format_time
from driftline.streams.label_vocabulary import quoted

MOST_FEATURES: Final = 10
"""Features of a version that are named one by one."""
SHARES: Final = {
    "missing": ("missing_share", "is missing", "in {:.1%} of the reference"),
    "kind": ("other_kind_share", "is of another kind", "in {:.1%} of the reference"),
    "unseen": ("unseen_share", "has texts that the reference never had", "{:.1%} was expected"),
}
"""By method: the share in `details`, its words, and those of what it is compared with."""


def check_feature_shares(results: Iterable[Drift]) -> Iterator[CheckResult]:
    """Name the features whose share of missing values, of another kind or of unseen texts moved.

    Of each version the newest window counts that any result has judged, so neither a window that
    data cover in part, nor one whose feature has come back since.
    """
    newest: dict[tuple[str, str], list[Drift]] = {}
    for result in results:
        if result.segment != "all" or result.level == "insufficient_data":
            continue
        version = (result.model_name, result.model_version)
        of_version = newest.setdefault(version, [])
        if of_version and result.window_end_ms > of_version[0].window_end_ms:
            of_version.clear()
        if not of_version or result.window_end_ms == of_version[0].window_end_ms:
            of_version.append(result)
    for version, of_version in sorted(newest.items()):
        moved = [
            result for result in of_version if result.method in SHARES and result.level != "none"
        ]
        for result in moved[:MOST_FEATURES]:
            yield _finding(f"{' '.join(version)}: {_words(result)}")
        if len(moved) > MOST_FEATURES:
            further = len(moved) - MOST_FEATURES
            yield _finding(f"{' '.join(version)}: {further} more findings like these")


def _words(result: Drift) -> str:
    share, words, compared = SHARES[result.method]
    now, before = result.details[share], result.details[f"reference_{share}"]
    feature = quoted(result.target.removeprefix("feature:"))
    return (
        f"feature {feature} {words} in {now:.1%} of the window to "
        f"{format_time(result.window_end_ms)}, {compared.format(before)} ({result.level})"
    )


def _finding(message: str) -> CheckResult:
    return CheckResult(
        check="features",
        level="note",
        message=message,
        remedy=with_rules(
            "ask its source; if it is meant to be so, set another reference", "Features that change"
        ),
    )
