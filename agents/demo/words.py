"""The summary of a run in plain words.

Every figure comes from `summary.py`; nothing is known here beforehand.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from driftline.agents.demo.summary import Maturity, Period, RuleStory, Summary
from driftline.streams.decide.wording import metric_name

STRONG = 0.6  # a correlation that is worth a sentence
MISLEADING = 0.5  # an early figure that misleads on more days than that is named
RELIABLE = 0.05  # and one that misleads on at most so many can be relied on


def tell(summary: Summary) -> Iterator[str]:
    """Lines of text, ready to print."""
    yield from _heading(f"What happened to {summary.model_name} {summary.model_version}")
    yield from _career(summary)
    yield from _table_of_periods(summary)
    yield from _extremes(summary)
    yield from _heading("What the early figures got wrong")
    yield from _early(summary)
    yield from _heading("Alerts")
    yield from _alerts(summary)
    yield from _heading("Drift")
    yield from _drift(summary)
    yield from _heading("Threshold")
    yield from _recommendations(summary)
    yield from _heading("Where the output lies")
    yield from _output(summary)


def broken_at_words(line: str, width: int) -> str:
    """A line for a terminal of that width: sentences go on below their own beginning; tables and
    commands stay as they are.

    Examples
    --------
    >>> print(broken_at_words("  F1 was 0.5 in May, by far the best", 20))
      F1 was 0.5 in May,
      by far the best
    >>> broken_at_words("  driftline alerts list --out there", 20)
    '  driftline alerts list --out there'
    """
    text = line.lstrip(" ")
    indent = line[: len(line) - len(text)]
    if "  " in text or text.startswith("driftline "):
        return line
    return textwrap.fill(
        text,
        max(width, 20),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _heading(text: str) -> Iterator[str]:
    yield ""
    yield text
    yield "-" * len(text)


def _career(summary: Summary) -> Iterator[str]:
    whole = [summary.before, summary.production] if summary.before else [summary.production]
    predictions = sum(period.predictions for period in whole)
    labelled = sum(period.labelled for period in whole)
    yield (
        f"{predictions:,} predictions from {summary.first_day} to {summary.last_day}; "
        f"the truth came for {share(labelled / predictions if predictions else None)} of them."
    )
    if summary.before and summary.in_production_since:
        yield f"Until {summary.in_production_since[:10]} it ran as a rehearsal: {described(summary.before, summary)}."
        yield f"Since then it is in production: {described(summary.production, summary)}."
    else:
        yield f"In all: {described(summary.production, summary)}."
    if summary.refused_lines:
        yield (
            "Refused lines: "
            + ", ".join(f"{count:,} of {topic}" for topic, count in summary.refused_lines.items())
            + "."
        )


def described(period: Period, summary: Summary) -> str:
    """One period in a phrase."""
    what = f'"{summary.positive_label}"' if summary.positive_label else "positive"
    return (
        f"F1 {figure(period.f1)}, precision {figure(period.precision)}, recall {figure(period.recall)}, "
        f"ROC AUC {figure(period.roc_auc)}, {share(period.positive_share)} {what}"
    )


def _table_of_periods(summary: Summary) -> Iterator[str]:
    yield ""
    yield f"  {'':10}  {'predictions':>11}  {'positive':>8}  {'F1':>6}  {'ROC AUC':>7}"
    highest = max((period.f1 or 0.0 for period in summary.periods), default=0.0) or 1.0
    for period in summary.periods:
        bar = "█" * round(20 * (period.f1 or 0.0) / highest)
        yield (
            f"  {period.name:10}  {period.predictions:11,}  {share(period.positive_share):>8}  "
            f"{figure(period.f1):>6}  {figure(period.roc_auc):>7}  {bar}"
        )
    yield ""


def _extremes(summary: Summary) -> Iterator[str]:
    known = [period for period in summary.periods if period.f1 is not None]
    if len(known) < 2:
        return
    best, worst = (
        max(known, key=lambda period: period.f1 or 0.0),
        min(known, key=lambda period: period.f1 or 0.0),
    )
    yield (
        f"F1 was best in {best.name} ({figure(best.f1)}, {share(best.positive_share)} positive) "
        f"and worst in {worst.name} ({figure(worst.f1)}, {share(worst.positive_share)} positive)."
    )
    by_f1, by_auc = summary.f1_follows_positive_share, summary.auc_follows_positive_share
    if by_f1 is not None and by_auc is not None and by_f1 >= STRONG > abs(by_auc):
        yield (
            f"F1 follows the share of positives from day to day (correlation {by_f1:.2f}), ROC AUC much less ({by_auc:.2f}): "
            "a low F1 in a quiet time does not mean that the model got worse. So the default rules judge ROC AUC."
        )


def _early(summary: Summary) -> Iterator[str]:
    yield "The same days, judged with the truths that were known within a time of each prediction:"
    yield ""
    yield f"  {'known within':12}  {'coverage':>8}  {'positive':>8}  {'F1':>6}  {'off by':>7}  days with the last F1 outside its interval"
    for rung in summary.maturities:
        error = "-" if rung.f1_error is None else f"{rung.f1_error:+.3f}"
        yield (
            f"  {rung.rung:12}  {share(rung.coverage):>8}  {share(rung.positive_share):>8}  "
            f"{figure(rung.f1):>6}  {error:>7}  {share(rung.days_misleading)}"
        )
    yield ""
    final = summary.maturities[-1]
    wrong = [rung for rung in summary.maturities[:-1] if (rung.days_misleading or 0.0) > MISLEADING]
    if wrong:
        yield from _misled(wrong[-1], final)
    useful = next(
        (rung for rung in summary.maturities if (rung.days_misleading or 0.0) <= RELIABLE), final
    )
    yield f"From {useful.rung} on it can be relied on: coverage {share(useful.coverage)}, F1 {figure(useful.f1)}."


def _misled(rung: Maturity, final: Maturity) -> Iterator[str]:
    direction = "low" if (rung.f1_error or 0.0) < 0 else "high"
    yield (
        f"At {rung.rung} F1 reads {figure(rung.f1)} where it turns out to be {figure(final.f1)}: too {direction}, since of the truths "
        f"known by then {share(rung.positive_share)} are positive, and {share(final.positive_share)} in the end."
    )
    yield f"On {share(rung.days_misleading)} of the days its 95 % interval misses the last value: it knows nothing of truths still to come."


def _alerts(summary: Summary) -> Iterator[str]:
    if not summary.alerts:
        yield "None fired."
    loud = [story for story in summary.alerts if story.severity != "info"]
    quiet = [story for story in summary.alerts if story.severity == "info"]
    for story in loud:
        yield from _rule(story)
    if quiet:
        count = sum(story.episodes for story in quiet)
        rules = ", ".join(sorted({story.rule for story in quiet}))
        yield f"For information only: {times(count)} ({rules}), for example: {quiet[0].first_summary}"
    if quiet and not loud:
        yield "Nothing above information."
    if summary.alerts_after_the_end:
        yield f"({summary.alerts_after_the_end} more after the end of the log, when no prediction came any more.)"


def _rule(story: RuleStory) -> Iterator[str]:
    still = f", {story.still_firing} still firing" if story.still_firing else ", all resolved"
    where = "all rows" if story.segments == ["all"] else ", ".join(story.segments)
    yield f"{story.severity}: {story.rule} fired {times(story.episodes)} ({where}){still}; first on {story.first_at[:10]}:"
    yield f"  {story.first_summary}"


def _drift(summary: Summary) -> Iterator[str]:
    moved = [story for story in summary.drift if story.notable]
    still = [story.target for story in summary.drift if story.windows and not story.notable]
    for story in moved:
        strongest = ""
        if story.strongest_effect is not None and story.strongest_at is not None:
            strongest = f", most by {story.strongest_at[:10]} ({story.strongest_method} {figure(story.strongest_effect)})"
        yield f"{story.target} was notably away from the reference in {story.notable} of {story.windows} windows{strongest}."
    if still:
        yield f"Never notably: {', '.join(still)}."
    for story in summary.drift:
        if not story.windows:
            yield f"Not judged: {story.target} ({'; '.join(story.no_verdict) or 'no reason given'})."
    if not summary.drift:
        yield "Not judged: no window could be compared with a reference."


def _recommendations(summary: Summary) -> Iterator[str]:
    given = summary.recommendations
    if not given:
        yield "No other threshold was recommended: none gained enough on rows that had no part in choosing it."
        return
    known = [(advice, advice.realised) for advice in given if advice.realised is not None]
    yield (
        f"Another threshold was recommended {times(len(given))}, from {given[0].at[:10]} to {given[-1].at[:10]}, "
        f"for {share(_mean(advice.relative_gain for advice in given))} more {metric_name(given[0].metric)} on average."
    )
    if known:
        better = sum(realised.to > realised.from_ for _, realised in known)
        yield (
            f"In the time after, that would have brought {share(_mean(realised.relative_gain for _, realised in known))} "
            f"on average; it was better {times(better)} out of {len(known)}."
        )
        if 2 * better < len(known):  # fewer than half kept their promise
            yield "So it did not pay to follow them: what was best in one window was not in the next. They are not applied by themselves."
        best, _ = max(known, key=lambda item: item[1].relative_gain or 0.0)
        yield f"The one that brought most, of {best.at[:10]}:"
        yield f"  {best.reason}"
        yield f"  {best.realised_reason}"
    last = given[-1]
    if last.status == "open":
        yield f"Still open, of {last.at[:10]}:"
        yield f"  {last.reason}"


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _output(summary: Summary) -> Iterator[str]:
    folder = Path(summary.out)
    yield f"{folder}: figures, drift, alerts, recommendations and the registry, one JSON record a line. Look further with"
    yield f"  driftline performance summary --out {folder} --window 1d --maturity all"
    yield f"  driftline alerts list --out {folder}"
    yield f"  driftline registry history --out {folder}"
    yield f"The recorded log and its configuration lie in {folder.parent}."


def figure(value: float | None) -> str:
    """A metric with three digits.

    Examples
    --------
    >>> figure(0.12345), figure(None)
    ('0.123', '-')
    """
    return "-" if value is None else f"{value:.3f}"


def share(value: float | None) -> str:
    """A share in percent.

    Examples
    --------
    >>> share(0.1234), share(None)
    ('12.3 %', '-')
    """
    return "-" if value is None else f"{100 * value:.1f} %"


def times(count: int) -> str:
    """How often.

    Examples
    --------
    >>> times(0), times(1), times(2), times(1200)
    ('never', 'once', 'twice', '1,200 times')
    """
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count:,} times")
