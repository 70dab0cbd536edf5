"""The tuner: the best threshold, its gain with an interval, recommendations and their outcomes."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from sklearn import metrics as reference

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.results import (
    Histogram,
    LostRows,
    Recommendation,
    RegistryCommand,
    RegistryEntry,
    to_plain,
)
from driftline.schemas.settings import Config, ModelConfig
from driftline.schemas.times import DAY_MS, EpochMs, format_time
from driftline.streams.decide import Decide
from driftline.streams.decide.tuner import build_tuner
from driftline.streams.decide.tuner.best_threshold import best_edge, cells_by_edge
from driftline.streams.decide.tuner.gain import Gain, gain_of, six_cells
from driftline.streams.decide.tuner.objective import Objective
from driftline.streams.decide.tuner.objectives.accuracy import AccuracyObjective
from driftline.streams.decide.tuner.objectives.cost import CostObjective
from driftline.streams.decide.tuner.objectives.f1 import F1Objective
from driftline.streams.decide.tuner.objectives.precision_target import PrecisionTargetObjective
from driftline.streams.decide.tuner.settings import objective_plugins
from driftline.streams.registry import Registry
from driftline.streams.stage import Batch, Record
from tests.streams.figures import START_MS, entry, histogram

LEAST: dict[str, dict[str, Any]] = {
    "cost": {"fp": 1.0, "fn": 4.0, "tp": -0.5},
    "precision_target": {"precision": 0.6},
}
BINS = 1000


def built(kind: str) -> Objective:
    return msgspec.convert({"type": kind} | LEAST.get(kind, {}), objective_plugins()[kind])


def gain_between(
    negatives: np.ndarray, positives: np.ndarray, objective: Objective, from_edge: int, to_edge: int
) -> Gain | None:
    """The gain on one block of rows."""
    six = six_cells(np.atleast_2d(negatives), np.atleast_2d(positives), from_edge, to_edge)
    return gain_of(six, objective, rises=to_edge > from_edge)


def by_hand(kind: str, actual: np.ndarray, predicted: np.ndarray) -> float:
    """Value of an objective from single rows, by scikit-learn or by definition."""
    if kind == "cost":
        costs = {(0, 1): 1.0, (1, 0): 4.0, (1, 1): -0.5, (0, 0): 0.0}
        return sum(
            costs[pair] for pair in zip(actual.tolist(), predicted.tolist(), strict=True)
        ) / len(actual)
    if kind == "precision_target":
        return float(reference.recall_score(actual, predicted))
    scorer = {
        "f1": "f1_score",
        "accuracy": "accuracy_score",
        "balanced_accuracy": "balanced_accuracy_score",
        "mcc": "matthews_corrcoef",
    }
    return float(getattr(reference, scorer[kind])(actual, predicted))


@pytest.mark.parametrize("kind", sorted(objective_plugins()))
def test_the_best_edge_is_that_of_a_search_over_all_thresholds_and_rows(kind: str) -> None:
    objective = built(kind)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        actual = rng.integers(0, 2, 60)
        bins = np.clip(rng.normal(8 + 4 * actual, 4, 60).astype(int), 0, 19)
        negatives, positives = (
            np.bincount(bins[actual == label], minlength=20) for label in (0, 1)
        )
        values = {}
        for edge in range(21):
            predicted = (bins >= edge).astype(int)
            if (
                kind in ("mcc", "precision_target")
                and predicted.min() == predicted.max()
                and not (kind == "precision_target" and predicted.any())
            ):
                continue  # undefined: only one class predicted
            if kind == "precision_target" and reference.precision_score(actual, predicted) < 0.6:
                continue
            if kind == "f1" and not predicted.any() and not actual.any():
                continue
            values[edge] = by_hand(kind, actual, predicted)
        sign = 1 if objective.higher_is_better else -1
        best = max(sign * value for value in values.values())
        nearest = min(
            (edge for edge, value in values.items() if sign * value > best - 1e-12),
            key=lambda edge: (abs(edge - 10), edge),
        )
        assert best_edge(negatives, positives, objective, near=10) == nearest, f"seed {seed}"
        within = {edge: value for edge, value in values.items() if 12 <= edge <= 15}
        best = max((sign * value for value in within.values()), default=0.0)
        found = best_edge(negatives, positives, objective, near=10, lowest=12, highest=15)
        assert found == next(
            (edge for edge, value in within.items() if sign * value > best - 1e-12), None
        ), f"seed {seed}"


def test_cells_at_each_edge_equal_the_counted_ones() -> None:
    rng = np.random.default_rng(5)
    negatives, positives = rng.integers(0, 9, (2, 50))
    tn, fp, fn, tp = cells_by_edge(negatives, positives)
    for edge in range(51):
        assert (tn[edge], fp[edge]) == (negatives[:edge].sum(), negatives[edge:].sum())
        assert (fn[edge], tp[edge]) == (positives[:edge].sum(), positives[edge:].sum())


@pytest.mark.parametrize("kind", sorted(objective_plugins()))
def test_the_interval_of_a_gain_agrees_with_resampling_rows(kind: str) -> None:
    """The delta method and a bootstrap over rows, which share no formula, agree."""
    seed, n, draws = 3, 4000, 2000
    rng = np.random.default_rng(seed)
    actual = rng.random(n) < 0.3
    bins = np.clip(rng.normal(400 + 200 * actual, 150), 0, BINS - 1).astype(int)
    six = np.bincount(3 * actual + (bins >= 450) + (bins >= 520), minlength=6)
    objective = built(kind)
    result = gain_of(six[None], objective, rises=False, metric=objective.metric)
    assert result is not None
    resampled = rng.multinomial(n, six / n, draws).astype(float)
    tn0, tn1, tn2, fn0, fn1, fn2 = resampled.T
    later = objective.value(tn0, tn1 + tn2, fn0, fn1 + fn2)
    earlier = objective.value(tn0 + tn1, tn2, fn0 + fn1, fn2)
    gains = later - earlier if objective.higher_is_better else earlier - later
    low, high = np.quantile(gains, [0.025, 0.975])
    width = high - low
    assert result.gain == pytest.approx(float(gains.mean()), abs=width / 20), f"seed {seed}"
    assert (result.low, result.high) == (
        pytest.approx(low, abs=width / 10),
        pytest.approx(high, abs=width / 10),
    ), f"seed {seed}"


@pytest.mark.parametrize(
    "objective",
    [F1Objective(), AccuracyObjective(), CostObjective(fp=1.0, fn=4.0)],
    ids=lambda objective: objective.name,
)
def test_gain_intervals_cover_the_true_gain(
    objective: Objective, capsys: pytest.CaptureFixture[str]
) -> None:
    """The threshold is chosen on the fit half and judged on the hold-out half; the interval covers
    the true gain of this threshold.
    """
    seed, runs, n = 7, 600, 3000
    rng = np.random.default_rng(seed)
    edges = np.arange(BINS)
    shape_no, shape_yes = (np.exp(-(((edges - middle) / 180.0) ** 2) / 2) for middle in (330, 520))
    truth = np.stack([0.8 * shape_no / shape_no.sum(), 0.2 * shape_yes / shape_yes.sum()])
    population = np.round(truth * 1e9).astype(np.int64)
    covered = judged = 0
    for _ in range(runs):
        fit, holdout = (rng.multinomial(n // 2, truth.ravel()).reshape(2, BINS) for _ in range(2))
        edge = best_edge(fit[0], fit[1], objective, near=600)
        assert edge is not None
        result = gain_between(holdout[0], holdout[1], objective, 600, edge)
        true = gain_between(population[0], population[1], objective, 600, edge)
        if result is not None and true is not None:
            judged += 1
            covered += result.low <= true.gain <= result.high
    share = covered / judged
    with capsys.disabled():
        print(
            f"\n{objective.name}: 95 % gain intervals cover {share:.1%} of {judged} runs "
            f"of {n} rows, seed {seed}"
        )
    # Three standard errors of a share of 95 % over 600 runs are 2.7 points.
    assert 0.923 <= share <= 0.977


@pytest.mark.parametrize("day_sd", [0.0, 0.6])
def test_gain_intervals_cover_the_true_gain_where_days_differ(
    day_sd: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each day has its own base rate, as the flights of the demo have with the weather; an interval
    of independent rows is far too narrow.
    """
    seed, runs, days, n = 19, 400, 28, 200
    rng = np.random.default_rng(seed)
    score = np.array(
        [[0.45, 0.35, 0.2], [0.15, 0.35, 0.5]]
    )  # share of rows below, between and above the thresholds, by label

    def draw(count: int, rows: int) -> np.ndarray:
        late = 1 / (1 + np.exp(-rng.normal(-1.2, day_sd, count)))
        shares = np.concatenate([(1 - late)[:, None] * score[0], late[:, None] * score[1]], axis=1)
        return rng.multinomial(rows, shares)

    objective = F1Objective()
    true = gain_of(draw(40_000, 1_000), objective, rises=False)
    assert true is not None
    by_days = by_rows = 0
    for _ in range(runs):
        six = draw(days, n)
        one, other = (
            gain_of(six, objective, rises=False),
            gain_of(six.sum(axis=0, keepdims=True), objective, rises=False),
        )
        assert one is not None
        assert other is not None
        by_days += one.low <= true.gain <= one.high
        by_rows += other.low <= true.gain <= other.high
    with capsys.disabled():
        text = f"by days {by_days / runs:.1%}, by rows alone {by_rows / runs:.1%}"
        print(
            f"\nF1, sd between days {day_sd}: 95 % gain intervals cover {text} of {runs} runs "
            f"of {days} days, seed {seed}"
        )
    # Three standard errors of a share of 95 % over 400 runs are 3.3 points; where days differ, both
    # sources of variance count and the interval may be wider.
    assert by_days / runs >= 0.917
    if day_sd:
        assert by_rows / runs < 0.85


TOPICS = {RegistryEntry: "registry", Histogram: "histograms"}


class Run:
    """Feeds histograms to stage 3 with spans of 7 days that are evaluated every 7 days."""

    def __init__(self, **tuner: Any) -> None:
        table = {"maturity": "1d", "span": "7d", "expires": "14d"} | tuner
        self.stage, self.state = (
            Decide(Config(defaults=ModelConfig(tuner=table, default_rules=False, threshold=0.6))),
            MemoryState(),
        )

    def feed(self, *records: Any) -> list[Recommendation]:
        by_topic: dict[str, list[Any]] = {}
        for record in records:
            by_topic.setdefault(TOPICS[type(record)], []).append(record)
        return [record.value for record in self.stage.process(Batch(records=by_topic), self.state)]


Half = dict[str, dict[int, int]]


def test_only_thresholds_in_the_range_are_recommended() -> None:
    # F1 by threshold: 0.4 at 0.6, 0.667 up to 0.55, 0.857 up to 0.35.
    half = {"no": {250: 700, 900: 50}, "yes": {700: 100, 550: 100, 350: 100, 50: 50}}
    for limits, found in (([0.0, 1.0], 0.35), ([0.4, 0.8], 0.55), ([0.56, 0.8], None)):
        emitted = Run(range=limits).feed(*week(1, half), *week(2, half))
        assert [each.params["threshold"] for each in emitted if each.status == "open"] == (
            [] if found is None else [found]
        )


def scores(best: int, n: int = 100) -> Half:
    """Histogram of one half of a day: 10 n rows, all but n of which a threshold at bin `best`
    decides correctly.
    """
    return {"no": {best - 50: 7 * n, 900: n // 2}, "yes": {best + 50: 2 * n, 50: n // 2}}


def week(number: int, fit: Half, holdout: Half | None = None, **more: Any) -> list[Any]:
    """The seven days of a week, counted from 1; it starts on a Thursday as the epoch did."""
    days = range(7 * (number - 1) + 1, 7 * number + 1)
    return [
        histogram(START_MS + day * DAY_MS, fit, fit if holdout is None else holdout, **more)
        for day in days
    ]


def test_a_better_threshold_is_recommended_once_with_its_evidence() -> None:
    run = Run()
    (recommendation,) = run.feed(*week(1, scores(400)))
    assert recommendation.params == {
        "threshold": 0.45
    }  # of the edges from 0.351 to 0.45, equally good, the one nearest to 0.6 in force
    assert (
        recommendation.action,
        recommendation.status,
        recommendation.at_ms,
        recommendation.expires_at_ms,
    ) == (
        "set_threshold",
        "open",
        EpochMs.of("2026-01-09T00:00:00Z"),
        EpochMs.of("2026-01-23T00:00:00Z"),
    )
    # At 0.45: tp 1400, fn 350, fp 350. At 0.6: no true positive, F1 0.
    assert (
        recommendation.expected.metric,
        recommendation.expected.from_,
        recommendation.expected.to,
    ) == ("f1", 0.0, 0.8)
    # By hand: a row's influence on F1 is 2(1 - F)/D = 0.8 for tp and -F/D = -1.6 for fp and fn, D =
    # 0.5; variance 0.2 * 0.64 + 0.1 * 2.56.
    half = 1.96 * (0.384 / 7000) ** 0.5
    assert recommendation.expected.ci == (
        pytest.approx(0.8 - half, abs=1e-5),
        pytest.approx(0.8 + half, abs=1e-5),
    )
    assert (recommendation.evidence["n_holdout"], recommendation.evidence["windows"]) == (7000, 7)
    assert recommendation.evidence["cells"]["to"] == {"tn": 4900, "fp": 350, "fn": 350, "tp": 1400}
    assert recommendation.evidence["cells"]["from"] == {"tn": 4900, "fp": 350, "fn": 1750, "tp": 0}
    assert recommendation.reason == (
        "F1 of churn 1.0.0 over the 7 days to 2026-01-08 would have been 0.8 instead of 0 "
        "(gain [0.785, 0.815]) with threshold 0.45 instead of 0.6, judged on 7,000 outcomes "
        "that had no part in choosing it."
    )
    assert "losses" not in recommendation.evidence
    assert run.feed(*week(2, scores(400))) == []  # the same
    assert run.feed(*week(2, scores(405))) == []  # processed already


def test_the_evidence_of_a_recommendation_names_the_rows_that_its_days_may_lack() -> None:
    loss = LostRows(
        topic="predictions",
        from_ms=EpochMs(START_MS + DAY_MS),
        until_ms=EpochMs(START_MS + 2 * DAY_MS),
        records=None,
    )
    days = week(1, scores(400))
    days[1].losses = days[2].losses = [loss]
    (recommendation,) = Run().feed(*days)
    assert recommendation.evidence["losses"] == [to_plain(loss)]


def test_a_small_gain_few_labels_or_another_window_lead_to_no_recommendation() -> None:
    assert (
        Run().feed(*week(1, scores(400, n=0), {"no": {100: 7}, "yes": {700: 7}})) == []
    )  # 98 outcomes
    flat = {"no": {300: 700, 590: 10}, "yes": {700: 300, 580: 12}}
    assert Run().feed(*week(1, flat)) == []
    for other in (
        {"window": "7d/1d"},
        {"segment": "plan=pro"},
        {"maturity": "6h"},
        {"labels": ["a", "b", "c"]},
        {"positive_label": None},
    ):
        assert Run().feed(*week(1, scores(400), **other)) == []
    assert Run(enabled=False).feed(*week(1, scores(400))) == []
    assert (
        Run().feed(*week(1, scores(400))[3:]) == []
    )  # four days are too few for a variance between days


def test_a_gain_on_the_fit_half_alone_leads_to_no_recommendation() -> None:
    assert Run().feed(*week(1, scores(400), {"no": {100: 70}, "yes": {100: 30}})) == []


def test_a_gain_of_a_single_day_leads_to_no_recommendation() -> None:
    quiet = {"no": {300: 700, 700: 50}, "yes": {700: 200, 300: 50}}  # at 0.6 as good as it gets
    stormy = {"no": {300: 700, 700: 50}, "yes": {550: 900, 700: 200}}
    days = week(1, quiet)
    days[3] = histogram(START_MS + 4 * DAY_MS, stormy, stormy)
    assert Run().feed(*days) == []
    assert len(Run().feed(*week(1, stormy))) == 1


def test_a_clearly_better_threshold_supersedes_the_open_recommendation() -> None:
    run = Run()
    (first,) = run.feed(*week(1, scores(400)))
    closed, second = run.feed(*week(2, scores(700)))
    assert (closed.recommendation_id, closed.status) == (first.recommendation_id, "superseded")
    assert (second.status, second.params) == ("open", {"threshold": 0.6505})
    assert second.recommendation_id != first.recommendation_id


def test_a_recommendation_closes_when_it_is_applied_or_expires() -> None:
    run = Run()
    (first,) = run.feed(*week(1, scores(400)))
    (closed,) = run.feed(entry(threshold=0.45), *week(2, scores(400)))
    assert (closed.recommendation_id, closed.status, closed.at_ms) == (
        first.recommendation_id,
        "applied",
        EpochMs.of("2026-01-10T00:00:00Z"),
    )
    run = Run()
    run.feed(*week(1, scores(400)))
    assert [
        recommendation.status
        for number in (2, 3)
        for recommendation in run.feed(*week(number, scores(400)))
    ] == [
        "expired",
        "open",
    ]


def test_the_final_days_after_a_recommendation_give_its_outcome() -> None:
    run = Run()
    (first,) = run.feed(*week(1, scores(400)))
    late = {"maturity": "30d", "final": True}
    assert run.feed(*week(1, scores(400), **late)) == []  # the days of its own span
    after = {"no": {300: 700, 500: 20}, "yes": {500: 100, 700: 100}}
    *days, last = week(2, after, **late)
    assert run.feed(*days) == []
    (outcome,) = run.feed(last)
    assert (outcome.recommendation_id, outcome.status, outcome.at_ms) == (
        first.recommendation_id,
        "outcome",
        EpochMs.of("2026-02-14T00:00:00Z"),
    )
    realised = outcome.evidence["realised"]
    # Both halves of seven days, at 0.6: tp 1400, fp 0, fn 1400; at 0.45: tp 2800, fp 280, fn 0.
    assert realised["from"] == pytest.approx(2 * 1400 / (2 * 1400 + 0 + 1400))
    assert realised["to"] == pytest.approx(2 * 2800 / (2 * 2800 + 280 + 0))
    assert (realised["n"], realised["windows"]) == (12_880, 7)
    assert (realised["window_start"], realised["window_end"]) == (
        "2026-01-08T00:00:00Z",
        "2026-01-15T00:00:00Z",
    )
    assert outcome.reason.startswith(
        "In the 7 days to 2026-01-15, the time after it, F1 was 0.952 instead of 0.667 "
        "(43 % better, 95 % interval"
    )
    assert run.feed(*week(3, after, **late)) == []


def test_archiving_a_version_deletes_the_state_of_its_tuner() -> None:
    run = Run()
    run.feed(*week(1, scores(400)))
    assert len(run.state.values) == 10  # the model, the version, the tuner and seven days
    run.feed(entry("archived"))
    assert run.feed(*week(2, scores(400), maturity="30d", final=True)) == []
    assert len(run.state.values) == 2


def test_a_precision_target_has_to_be_reached_on_both_halves() -> None:
    objective = {"type": "precision_target", "precision": 0.75}
    good = {"no": {300: 700, 500: 10}, "yes": {500: 50, 700: 50}}
    bad = {"no": {300: 700, 500: 40}, "yes": {500: 50, 700: 50}}
    (recommendation,) = Run(objective=objective).feed(*week(1, good))
    assert recommendation.expected.metric == "recall"
    assert (recommendation.expected.from_, recommendation.expected.to) == (0.5, 1.0)
    assert Run(objective=objective).feed(*week(1, good, bad)) == []  # 100 of 140 is less than 0.75
    assert (
        best_edge(
            np.array([10, 10]), np.array([1, 1]), PrecisionTargetObjective(precision=0.9), near=1
        )
        is None
    )


def test_reaching_a_precision_target_above_todays_precision_is_a_gain() -> None:
    # At 0.6 today: tp 100, fp 40, precision 0.714. At 0.6205: tp 80, fp 10, precision 0.889.
    objective = {"type": "precision_target", "precision": 0.8}
    half = {"no": {300: 700, 620: 30, 800: 10}, "yes": {300: 20, 620: 20, 800: 80}}
    run = Run(objective=objective)
    (recommendation,) = run.feed(*week(1, half))
    assert recommendation.params == {"threshold": 0.6205}
    assert recommendation.expected.metric == "precision"
    assert (recommendation.expected.from_, recommendation.expected.to) == (
        pytest.approx(100 / 140),
        pytest.approx(80 / 90),
    )
    low, high = recommendation.expected.ci or (0.0, 0.0)
    assert 0 < low < 80 / 90 - 100 / 140 < high
    assert recommendation.evidence["fit"] == {"from": 100 / 140, "to": 80 / 90}
    assert recommendation.reason.startswith("Precision of churn 1.0.0 over the 7 days")
    # The outcome is in precision too.
    late = {"maturity": "30d", "final": True}
    outcome = run.feed(*week(1, half, **late), *week(2, half, **late))[-1]
    assert (outcome.status, outcome.evidence["realised"]["metric"]) == ("outcome", "precision")
    assert outcome.evidence["realised"]["to"] == pytest.approx(80 / 90)


def test_a_small_step_that_reaches_a_precision_target_is_worth_it_if_it_is_certain() -> None:
    # Precision 0.909 at 0.6 and 0.926 above it, 1.9 % more: less than `min_gain`.
    objective = {"type": "precision_target", "precision": 0.92}
    half = {"no": {300: 700, 610: 20, 800: 80}, "yes": {300: 20, 800: 1000}}
    (recommendation,) = Run(objective=objective).feed(*week(1, half))
    assert recommendation.evidence["relative_gain"] == pytest.approx(1000 / 1080 * 1100 / 1000 - 1)
    # 0.921 and 0.926, by two rows of a week.
    objective["precision"] = 0.924
    days = week(1, {"no": {300: 7, 800: 4}, "yes": {300: 2, 800: 50}})
    one_more = {"no": {300: 7, 610: 1, 800: 4}, "yes": {300: 2, 800: 50}}
    for day in (1, 4):
        days[day] = histogram(START_MS + (day + 1) * DAY_MS, one_more, one_more)
    assert Run(objective=objective).feed(*days) == []


def test_a_precision_target_that_the_hold_out_half_misses_recommends_nothing() -> None:
    objective = {"type": "precision_target", "precision": 0.8}
    fit = {"no": {300: 700, 620: 30, 800: 10}, "yes": {300: 20, 620: 20, 800: 80}}
    holdout = {"no": {300: 700, 620: 30, 800: 25}, "yes": {300: 20, 620: 20, 800: 80}}
    assert Run(objective=objective).feed(*week(1, fit, holdout)) == []


def test_a_model_that_predicts_nothing_positive_gains_recall_at_the_target() -> None:
    objective = {"type": "precision_target", "precision": 0.8}
    (recommendation,) = Run(objective=objective).feed(
        *week(1, {"no": {300: 700}, "yes": {500: 90}})
    )
    assert (
        recommendation.expected.metric,
        recommendation.expected.from_,
        recommendation.expected.to,
    ) == ("recall", 0.0, 1.0)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"objectiv": "f1"}, 'models.churn.tuner: the key "objectiv" is not known here'),
        (
            {"objective": "f2"},
            'models.churn.tuner.objective: "f2" is not known; known are accuracy, '
            "balanced_accuracy, cost",
        ),
        ({"objective": "cost"}, 'models.churn.tuner.objective: the key "fp" is missing'),
        (
            {"objective": {"type": "precision_target", "precision": 2}},
            "models.churn.tuner.objective.precision: has to be a number <= 1.0",
        ),
        (
            {"window": "2h"},
            'models.churn.tuner.window: "2h" is not kept for this model; known are 1h, 1d, 7d/1d',
        ),
        ({"maturity": "soon"}, "models.churn.tuner.maturity: 'soon' is not a duration"),
        ({"expires": "never"}, "models.churn.tuner.expires: 'never' is not a duration"),
        ({"span": "0s"}, "models.churn.tuner.span: it has to be longer than nothing"),
        ({"range": [0.9, 0.5]}, "models.churn.tuner.range: 0.9 is not below 0.5"),
        ({"range": [0.5, 90]}, "models.churn.tuner.range[1]: has to be a number <= 1.0"),
        ({"min_gain": -1}, "models.churn.tuner.min_gain: has to be a number >= 0.0"),
    ],
)
def test_an_invalid_tuner_is_rejected_with_its_path(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as raised:
        build_tuner(ModelConfig(tuner=table), "models.churn.tuner")
    assert str(raised.value).startswith(message)


def applied_and_rolled_back(**tuner: Any) -> tuple[Run, Recommendation, list[Recommendation]]:
    """A run in which the first recommendation was applied for a week, the recommendation, and the
    records that followed the rollback.
    """
    run = Run(**tuner)
    (first,) = run.feed(*week(1, scores(400)))
    assert [
        recommendation.status
        for recommendation in run.feed(entry(threshold=0.45), *week(2, scores(400)))
    ] == ["applied"]
    return run, first, run.feed(entry(threshold=0.6, revision=2))


def test_a_threshold_that_was_rolled_back_is_not_recommended_again_for_a_month() -> None:
    run, first, (back,) = applied_and_rolled_back()
    assert (back.recommendation_id, back.status) == (first.recommendation_id, "rolled_back")
    assert back.params == first.params
    assert "0.45" in back.reason
    assert all(run.feed(*week(number, scores(400))) == [] for number in range(3, 7))


def test_a_threshold_that_was_rolled_back_is_recommended_again_after_the_configured_time() -> None:
    run, _, _ = applied_and_rolled_back(after_rollback="7d")
    assert run.feed(*week(3, scores(400)))[-1].params == {"threshold": 0.45}
    run, _, _ = applied_and_rolled_back(after_rollback="0s")
    assert run.feed(*week(3, scores(400)))[-1].params == {"threshold": 0.45}


def test_after_a_rollback_a_threshold_that_is_hardly_better_is_not_recommended_for_a_month() -> (
    None
):
    # At 0.45: tp 197, fn 53, fp 50, F1 0.793. At 0.43: tp 200, fn 50, fp 50, F1 0.8, 0.9 % more.
    nearby = {"no": {350: 700, 900: 50}, "yes": {430: 3, 450: 197, 50: 50}}
    run, _, _ = applied_and_rolled_back()
    assert all(run.feed(*week(number, nearby)) == [] for number in range(3, 7))
    run, _, _ = applied_and_rolled_back(after_rollback="7d")
    assert run.feed(*week(3, nearby))[-1].params == {"threshold": 0.43}


def test_a_clearly_better_threshold_is_recommended_at_once_after_a_rollback_and_ends_its_time() -> (
    None
):
    run, _, _ = applied_and_rolled_back()
    (other,) = run.feed(*week(3, scores(700)))
    assert other.params == {"threshold": 0.6505}
    (closed,) = run.feed(entry(threshold=0.6505, revision=3), *week(4, scores(700)))
    assert closed.status == "applied"
    (again,) = run.feed(*week(5, scores(400)))
    assert (again.status, again.params) == ("open", {"threshold": 0.45})


def test_a_rollback_before_the_next_look_closes_the_recommendation() -> None:
    run = Run()
    (first,) = run.feed(*week(1, scores(400)))
    (back,) = run.feed(entry(threshold=0.45), entry(threshold=None, revision=2))
    assert (back.recommendation_id, back.status) == (first.recommendation_id, "rolled_back")
    assert run.feed(*week(2, scores(400))) == []


def test_a_recommendation_that_replaces_an_applied_one_rolls_nothing_back() -> None:
    run = Run()
    run.feed(*week(1, scores(400)))
    run.feed(entry(threshold=0.45), *week(2, scores(400)))
    (second,) = run.feed(*week(3, scores(700)))
    assert run.feed(entry(threshold=second.params["threshold"], revision=2)) == []


@pytest.mark.parametrize("weeks_in_force", [0, 1])
def test_the_policy_applies_a_threshold_that_a_person_rolled_back_only_once(
    weeks_in_force: int,
) -> None:
    policy = {"auto_apply": True}
    tuner = {"maturity": "1d", "span": "7d"}
    settings = ModelConfig(tuner=tuner, policy=policy, default_rules=False, threshold=0.6)
    config = Config(defaults=settings)
    stages = (Decide(config), Registry(config))
    states = (MemoryState(), MemoryState())

    def settle(*records: Record) -> list[Record]:
        """Run both stages until nothing follows."""
        emitted: list[Record] = []
        fresh = list(records)
        while fresh:
            following: list[Record] = []
            for stage, state in zip(stages, states, strict=True):
                by_topic: dict[str, list[Any]] = {}
                for record in [*fresh, *following]:
                    if record.topic in stage.inputs:
                        by_topic.setdefault(record.topic, []).append(record.value)
                following += stage.process(Batch(records=by_topic), state)
            emitted += following
            fresh = following
        return emitted

    def command(name: str, at: str, **params: Any) -> Record:
        value = RegistryCommand(
            command_id=f"{name}/{at}",
            command=name,
            model_name="churn",
            model_version="1.0.0",
            timestamp=at,
            requested_by="ada",
            params=params,
        )
        return Record("registry-commands", value)

    def set_by_the_system(records: list[Record]) -> list[float]:
        return [
            record.value.after["1.0.0"]["threshold"]
            for record in records
            if record.topic == "registry-events" and record.value.requested_by == "driftline"
        ]

    half = {"no": {300: 700, 500: 50}, "yes": {300: 50, 500: 200, 700: 100}}

    def days(number: int) -> list[Record]:
        return [Record("histograms", each) for each in week(number, half)]

    settle(command("register", "2026-01-01T00:00:00Z"))
    assert set_by_the_system(settle(*days(1))) == [0.5]
    for number in range(2, 2 + weeks_in_force):
        settle(*days(number))
    rollback = settle(
        command("rollback", format_time(START_MS + (11 + 7 * weeks_in_force) * DAY_MS))
    )
    next_looks = settle(*days(2 + weeks_in_force), *days(3 + weeks_in_force))
    assert set_by_the_system(next_looks) == []
    assert [record.value.status for record in rollback if record.topic == "recommendations"] == [
        "rolled_back"
    ]
