"""False alarms and delay of the default rule `data_quality` on simulated features.

    python -m tests.bench.feature_faults

A model has ten features: six whose values go missing independently (0, 0.1, 1, 1, 5, 20 % of the
rows), one that loses whole hours (2 % of them, each row of such an hour in half of the cases), and
three of texts (10 values alike, a geometric tail, a Zipf tail with exponent 2). The reference are
the first 30 days, the window the last 7, judged each day, by the functions that stage 2 uses. A
false alarm is an episode within the year after the reference. A delay counts from the change to the
end of the window with which the alert fires.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from math import inf
from time import perf_counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from driftline.schemas.settings import ModelConfig
from driftline.schemas.times import DAY_MS
from driftline.streams.decide.alert_lifecycle import AlertState, next_state
from driftline.streams.decide.detectors.share_evidence import Tracks
from driftline.streams.decide.judgement import DriftWindow, Shift, Situation
from driftline.streams.decide.rules.data_quality import DataQualityRule
from driftline.streams.drift.comparison import DriftResult
from driftline.streams.drift.effective_size import effective_size
from driftline.streams.drift.false_discovery import adjusted
from driftline.streams.measure.drift.feature_shares import (
    KIND,
    MISSING,
    UNSEEN,
    ShareSizes,
    missing_rows,
    other_kind,
    share_results,
    unseen_texts,
    usually_unseen,
)
from driftline.streams.summaries.feature_summary import FeatureSummary
from driftline.streams.summaries.text_summary import StringSummary
from tests.bench.simulated_outcomes import YEAR

HOURS, REFERENCE, WINDOW = 24, 30, 7
INDEPENDENT = (0.0, 0.001, 0.01, 0.01, 0.05, 0.2)
LOST_HOURS = 0.02
TEXTS = ("uniform", "geometric", "zipf")
FALSE_ALARMS = 0.25
FOLLOWED = 130
"""Days that a model with a fault is followed."""
SITUATION = Situation(config=ModelConfig())

Grains = NDArray[np.int64]


class Fault(NamedTuple):
    """A change from a day on.

    Parameters
    ----------
    name
        In the table.
    feature
        Index of the feature.
    share
        Share of its rows that are missing from then on, or have a text never seen before.
    """

    name: str
    feature: int
    share: float


FAULTS = (
    Fault("5 % missing where there was 1 %", 2, 0.05),
    Fault("5 % missing where there was none", 0, 0.05),
    Fault("30 % missing where there was none", 0, 0.30),
    Fault("a feature stops", 2, 1.0),
    Fault("a new category in 5 % of the rows, of 10 values", 7, 0.05),
    Fault("a new category in 5 % of the rows, Zipf tail", 9, 0.05),
)


class Feature(NamedTuple):
    """Rows of a feature by hour: those without a value, those with; and its texts by day."""

    missing: Grains
    present: Grains
    texts: list[Counter[str]]

    def summary(self, begin: int, end: int) -> FeatureSummary:
        """Of the days from `begin` to before `end`."""
        hours = slice(begin * HOURS, end * HOURS)
        texts = sum(self.texts[begin:end], Counter[str]())
        if not texts:
            texts = Counter({"value": int(self.present[hours].sum())})
        return FeatureSummary(
            texts=StringSummary.of_counts(texts), missing=int(self.missing[hours].sum())
        )

    def sizes(self) -> ShareSizes:
        """Of the reference."""
        grains = np.stack([self.missing, self.present], axis=1)[: REFERENCE * HOURS]
        if not grains[:, 0].any():
            return ShareSizes()
        return ShareSizes(missing=round(effective_size(grains, period=HOURS), 3))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.feature_faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=200, help="models of each kind")
    parser.add_argument("--seed", type=int, default=101, help="seed of the first kind")
    options = parser.parse_args(arguments)
    begin, seed = perf_counter(), options.seed
    print("| predictions a day | false alarms a year | budget | seed |\n|---|---|---|---|")
    for rows in (50, 5000):
        count = sum(
            len(episodes(model)) for model in models(rows, REFERENCE + YEAR, options.runs, seed)
        )
        rate = count / options.runs
        print(
            f"| {rows:,} | {rate:.3f} | {FALSE_ALARMS}"
            f"{'' if rate <= FALSE_ALARMS else ' NOT KEPT'} | {seed} |",
            flush=True,
        )
        seed += 1
    print(
        "\n| fault on day 40 | predictions a day | delay, days: median | 95 % | found | seed |"
        "\n|---|---|---|---|---|---|"
    )
    for fault in FAULTS:
        for rows in (50, 5000):
            delays = [
                next((day - 40 for day, _ in episodes(model) if day > 40), inf)
                for model in models(rows, FOLLOWED, options.runs, seed, fault)
            ]
            found = sum(delay < inf for delay in delays)
            median, most = np.quantile(delays, [0.5, 0.95], method="inverted_cdf")
            print(
                f"| {fault.name} | {rows:,} | {median:g} | {most:g} "
                f"| {found} of {options.runs} | {seed} |",
                flush=True,
            )
            seed += 1
    print(f"\n{options.runs} models of each kind, {perf_counter() - begin:.0f} s")


def models(
    rows: int, days: int, runs: int, seed: int, fault: Fault | None = None, day: int = 40
) -> Iterator[list[Feature]]:
    """Simulated models; a fault begins on `day`."""
    rng = np.random.default_rng(seed)
    for _ in range(runs):
        yield _model(rng, rows, days, fault, day)


def episodes(features: Sequence[Feature]) -> list[tuple[int, str]]:
    """Day of the end of the window with which each alert fires, and its finding."""
    rule, state = DataQualityRule().bound(SITUATION.config), AlertState()
    tracks: Tracks = {}
    references = [(feature.summary(0, REFERENCE), feature.sizes()) for feature in features]
    days = len(features[0].missing) // HOURS
    found = []
    for end in range(REFERENCE + 1, days + 1):
        results = [
            (number, result, reference, current)
            for number, (feature, (reference, sizes)) in enumerate(
                zip(features, references, strict=True)
            )
            for current in (feature.summary(max(end - WINDOW, 0), end),)
            for result in share_results(reference, sizes, current, None)
        ]
        tracks, judged = rule.judge_next(_window(end, results), SITUATION, tracks)
        state, change = next_state(
            state, judged, is_long_enough=rule.is_long_enough, step_ms=DAY_MS
        )
        if change == "firing":
            found.append((end, judged.finding))
    return found


def _window(
    end: int, results: Sequence[tuple[int, DriftResult, FeatureSummary, FeatureSummary]]
) -> DriftWindow:
    after = adjusted([result for _, result, _, _ in results])
    return DriftWindow(
        model_name="simulated",
        model_version="1",
        segment="all",
        window="7d/1d",
        window_start_ms=(end - WINDOW) * DAY_MS,
        window_end_ms=end * DAY_MS,
        shifts=tuple(
            _shift(number, reference, current, result, now.level)
            for (number, result, reference, current), now in zip(results, after, strict=True)
        ),
    )


def _shift(
    number: int,
    reference: FeatureSummary,
    current: FeatureSummary,
    result: DriftResult,
    level: str,
) -> Shift:
    """A result as the rule reads it; `level` is the one after the adjustment."""
    before, now = {
        MISSING: (missing_rows(reference), missing_rows(current)),
        KIND: (other_kind(reference, reference), other_kind(reference, current)),
        UNSEEN: (usually_unseen(reference), unseen_texts(reference, current)),
    }[result.method]
    return Shift(
        f"feature:f{number}",
        result.method,
        level,
        result.statistic,
        result.p_value,
        now.share if now else None,
        before.share if before else None,
        result.n_current,
        result.n_reference,
        result.n_effective,
    )


def _model(
    rng: np.random.Generator, rows: int, days: int, fault: Fault | None, fault_day: int
) -> list[Feature]:
    total = rng.poisson(rows / HOURS, days * HOURS)
    features = []
    for number in range(len(INDEPENDENT) + 1 + len(TEXTS)):
        share = np.full(days * HOURS, INDEPENDENT[number] if number < len(INDEPENDENT) else 0.0)
        if number == len(INDEPENDENT):
            share = np.where(rng.random(days * HOURS) < LOST_HOURS, 0.5, 0.0)
        kind = number - len(INDEPENDENT) - 1
        broken = np.arange(days * HOURS) >= fault_day * HOURS
        is_faulty = fault is not None and fault.feature == number
        if fault is not None and is_faulty and kind < 0:
            share = np.where(broken, fault.share, share)
        missing = rng.binomial(total, share)
        present = total - missing
        texts: list[Counter[str]] = []
        if kind >= 0:
            for day in range(days):
                count = int(present[day * HOURS : (day + 1) * HOURS].sum())
                new = 0
                if fault is not None and is_faulty and day >= fault_day:
                    new = int(rng.binomial(count, fault.share))
                of_day = Counter(map(str, _texts(rng, TEXTS[kind], count - new).tolist()))
                if new:
                    of_day["new"] = new
                texts.append(of_day)
        features.append(Feature(missing, present, texts))
    return features


def _texts(rng: np.random.Generator, kind: str, count: int) -> Grains:
    if kind == "uniform":
        return rng.integers(0, 10, count)
    if kind == "geometric":
        return rng.geometric(0.05, count)
    return np.minimum(rng.zipf(2.0, count), 10**9)


if __name__ == "__main__":
    main()
