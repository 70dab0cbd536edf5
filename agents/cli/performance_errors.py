"""`driftline performance errors`: where a model is wrong, by segment and by pair of labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from driftline.agents.cli.alert_source import source_options
from driftline.agents.cli.chosen_window import chosen_windows, moment_options
from driftline.agents.cli.output import example, json_option, minute, model_options, number, share
from driftline.agents.cli.result_source import place_of, read_results
from driftline.agents.cli.tables import print_table, print_wrapped
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from driftline.agents.read_model.figure_reads import FigureReads
    from driftline.schemas.results import WindowFigures


@dataclass(frozen=True, kw_only=True)
class SegmentErrors:
    """Wrong predictions of a segment.

    Attributes
    ----------
    n, wrong
        Rows in the confusion matrix, and those off its diagonal.
    share, low, high
        wrong / n with its 95 % interval (Wilson).
    difference, difference_low, difference_high
        The share less that of all other rows of the window, with its 95 % interval; null without
        other rows.
    """

    segment: str
    n: int
    wrong: int
    share: float
    low: float
    high: float
    difference: float | None
    difference_low: float | None
    difference_high: float | None


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Rows with one label that were predicted as another one.

    Attributes
    ----------
    share_of_errors, share_of_actual
        Of all wrong predictions, and of the rows with this actual label.
    """

    actual: str
    predicted: str
    n: int
    share_of_errors: float
    share_of_actual: float


@dataclass(frozen=True, kw_only=True)
class Errors:
    """The errors of one window of a model version.

    Attributes
    ----------
    figures
        The record of all rows.
    segments
        The worst first, by the lower end of the interval.
    too_small
        Number of segments with too few rows.
    confusions
        The most frequent first.
    """

    figures: WindowFigures
    segments: list[SegmentErrors]
    too_small: int
    confusions: list[Confusion]


@click.command(
    "errors",
    epilog=example(
        "driftline performance errors --model churn",
        "driftline performance errors --window 6h --maturity 6h --min-rows 50 --top 3",
        "driftline performance errors --json --broker broker:9092",
    ),
)
@model_options
@moment_options
@click.option(
    "--min-rows",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="Least number of labelled rows of a segment.",
)
@click.option(
    "--top", type=click.IntRange(min=1), default=10, show_default=True, help="How many are shown."
)
@source_options
@json_option
def errors(
    out: Path,
    broker: str | None,
    config: Path | None,
    model_name: str | None,
    model_version: str | None,
    window: str | None,
    start: str | None,
    maturity: str,
    min_rows: int,
    top: int,
    as_json: bool,
) -> None:
    """Show where a model is wrong: the segments with the largest share of wrong predictions, and
    the most frequent confusions of labels.

    Segments are in the order of the lower end of the 95 % interval, so that a few rows do not
    make a segment the worst one. The difference is that to all other rows of the window. By
    default the newest whole window of the largest size up to a day.
    """
    with read_results(out, broker, config) as reads:
        records = chosen_windows(
            reads.figures,
            model_name=model_name,
            model_version=model_version,
            segment="all",
            lane="decisions",
            window=window,
            start=start,
            maturity=maturity,
        )
        found = [_errors(reads.figures, each, min_rows, top) for each in records]
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo(f"no complete window in {place_of(out, broker)}")
    for each in found:
        _print(each, min_rows)


def _errors(figures: FigureReads, whole: WindowFigures, min_rows: int, top: int) -> Errors:
    from driftline.agents.read_model.figure_reads import segments_of

    of_segments = segments_of(figures, whole)
    enough = [each for each in of_segments if _rows(each.matrix) >= min_rows]
    worst = sorted(
        (segment_errors(each.segment, each.matrix, whole.matrix) for each in enough),
        key=lambda each: (-each.low, each.segment),
    )
    return Errors(
        figures=whole,
        segments=worst[:top],
        too_small=len(of_segments) - len(enough),
        confusions=confusions(whole.labels, whole.matrix)[:top],
    )


def segment_errors(
    segment: str, matrix: Sequence[Sequence[int]], whole: Sequence[Sequence[int]]
) -> SegmentErrors:
    """Wrong predictions of a segment beside those of the rest of the window.

    Parameters
    ----------
    matrix, whole
        Shape (K, K): the confusion matrix of at least one row of the segment, and of all rows.

    Examples
    --------
    >>> found = segment_errors("plan=pro", [[60, 20], [20, 0]], [[160, 30], [30, 80]])
    >>> found.n, found.wrong, found.share, round(found.difference, 6)
    (100, 40, 0.4, 0.3)
    """
    import numpy as np

    from driftline.streams.intervals import square_and_add, wilson

    n, wrong = _rows(matrix), _wrong(matrix)
    rest, wrong_rest = _rows(whole) - n, _wrong(whole) - wrong
    low, high = wilson(np.array([wrong, wrong_rest]), np.array([n, rest]))
    difference: dict[str, Any] = dict.fromkeys(("difference", "difference_low", "difference_high"))
    if 0 <= wrong_rest <= rest > 0:
        estimates = np.array([[wrong / n, -wrong_rest / rest]])
        least, most = square_and_add(
            estimates,
            np.array([[low[0], -high[1]]]),
            np.array([[high[0], -low[1]]]),
            np.ones((1, 2)),
        )
        values = (float(estimates.sum()), float(least[0]), float(most[0]))
        difference = dict(zip(difference, values, strict=True))
    return SegmentErrors(
        segment=segment,
        n=n,
        wrong=wrong,
        share=wrong / n,
        low=float(low[0]),
        high=float(high[0]),
        **difference,
    )


def confusions(labels: Sequence[str], matrix: Sequence[Sequence[int]]) -> list[Confusion]:
    """The pairs of labels that were taken for each other, the most frequent first.

    Examples
    --------
    >>> [(each.actual, each.predicted, each.n) for each in confusions("ab", [[5, 1], [3, 9]])]
    [('b', 'a', 3), ('a', 'b', 1)]
    """
    all_wrong = _wrong(matrix)
    found = [
        Confusion(
            actual=labels[actual],
            predicted=labels[predicted],
            n=n,
            share_of_errors=n / all_wrong,
            share_of_actual=n / sum(row),
        )
        for actual, row in enumerate(matrix)
        for predicted, n in enumerate(row)
        if actual != predicted and n
    ]
    return sorted(found, key=lambda each: (-each.n, each.actual, each.predicted))


def _rows(matrix: Iterable[Iterable[int]]) -> int:
    return sum(map(sum, matrix))


def _wrong(matrix: Sequence[Sequence[int]]) -> int:
    return _rows(matrix) - sum(row[place] for place, row in enumerate(matrix))


def _print(found: Errors, min_rows: int) -> None:
    from driftline.streams.label_vocabulary import quoted

    record = found.figures
    n, wrong = _rows(record.matrix), _wrong(record.matrix)
    rung = f", maturity {record.maturity}" if record.maturity else ""
    print_wrapped(
        f"{record.model_name} {record.model_version}, {record.window} from "
        f"{minute(record.window_start_ms)}{rung}{'' if record.final else ', not final'}: "
        + (
            f"{number(wrong)} of {number(n)} predictions were wrong ({share(wrong / n)})"
            if n
            else "no labelled row yet"
        )
    )
    if not n:
        return
    print_table(
        ["Segment", ">Rows", ">Wrong", ">Share", ">95 % interval", ">More than others"],
        [
            (
                each.segment,
                number(each.n),
                number(each.wrong),
                share(each.share),
                f"{share(each.low)} to {share(each.high)}",
                _difference(each),
            )
            for each in found.segments
        ],
        empty=f"no segment has {min_rows:,} labelled rows",
    )
    if found.too_small and found.segments:
        few = "1 segment has" if found.too_small == 1 else f"{found.too_small:,} segments have"
        click.echo(f"{few} fewer than {min_rows:,} labelled rows")
    print_table(
        ["Actual", "Predicted", ">Rows", ">Of all errors", ">Of the actual label"],
        [
            (
                quoted(each.actual),
                quoted(each.predicted),
                number(each.n),
                share(each.share_of_errors),
                share(each.share_of_actual),
            )
            for each in found.confusions
        ],
        empty="no prediction was wrong",
    )


def _difference(errors: SegmentErrors) -> str:
    if errors.difference is None or errors.difference_low is None or errors.difference_high is None:
        return "-"
    low, high = 100 * errors.difference_low, 100 * errors.difference_high
    return f"{100 * errors.difference:+.1f} points [{low:+.1f}, {high:+.1f}]"
