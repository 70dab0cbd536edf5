"""False alarms of all default rules together on models that do not change, and the delay of those
on the service on models that do.

    python -m tests.bench.all_rules

Stage 3 runs with the default rules over what stage 2 says of simulated models
(`simulated_figures.py`): the reference of 30 days and the year after it. A false alarm is an
episode that reached a warning or more. The bound is the exact one-sided 95 % limit of a Poisson
mean (Garwood 1936). Of models with AR(1) features a feature drifts in every window: no more of the
warnings of `drift` are possible. A delay counts from the change on day 60 to the first alert of
the rule after it.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from math import inf
from time import perf_counter
from typing import NamedTuple

import numpy as np
from scipy.stats import chi2

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas import topics
from driftline.schemas.results import Alert
from driftline.schemas.settings import Config, ModelConfig, parse_rung
from driftline.schemas.times import DAY_MS
from driftline.streams.decide import Decide
from driftline.streams.decide.false_alarm_budget import part_of
from driftline.streams.decide.rule_builder import DEFAULT_RULES
from driftline.streams.stage import Batch
from tests.bench.simulated_figures import MATURITY, USUAL, Records, Service, days_of
from tests.bench.simulated_outcomes import YEAR, Case

MODEL = ModelConfig(maturity=(parse_rung(MATURITY), parse_rung("30d")), positive_label="yes")
DAYS = 30 + YEAR
CHANGE_DAY, FOLLOWED = 60, 60
AT_LEAST_WARNING = ("warning", "error", "critical")
NAMES = tuple(rule.kind for rule in DEFAULT_RULES)
MODELS = {40: 4, 200: 4, 2000: 1}
"""Models of each kind, by predictions a day."""


class Kind(NamedTuple):
    """A kind of models: `more` are fields of `Case`."""

    name: str
    more: dict[str, float]
    drifts: bool = False
    service: Service = USUAL


KINDS = (
    Kind("independent", {}),
    Kind("day effects of 3 times the binomial variance", {"inflation": 3.0}),
    Kind("base rate 13 to 33 % by season", {"swing": 0.10}),
    Kind("sticky errors, 0.5", {"stickiness": 0.5}),
    Kind("AR(1) features", {}, drifts=True),
    Kind(
        "service near its levels: 4 % errors, latency p95 950 ms",
        {},
        service=Service(event_errors=0.04, latency_ms=417.0, latency_day_sd=0.0),
    ),
    Kind("all of it", {"inflation": 3.0, "swing": 0.10, "memory": 0.5}, drifts=True),
)
CHANGES = (
    ("error_rate", "errors from 1 to 8 %", Service(event_errors=0.08)),
    ("error_rate", "errors from 1 to 50 %", Service(event_errors=0.5)),
    ("latency", "latency doubles (p95 570 to 1,140 ms)", Service(latency_ms=500.0)),
    ("latency", "latency ten times (p95 5,700 ms)", Service(latency_ms=2500.0)),
    ("coverage", "coverage from 0.95 to 0.85", Service(coverage=0.85)),
    ("coverage", "coverage from 0.95 to 0.75", Service(coverage=0.75)),
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.all_rules",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--runs", type=int, help="models of each kind; by default 4, and 1 with 2,000 a day"
    )
    parser.add_argument("--delays", type=int, default=4, help="models of each change")
    parser.add_argument("--seed", type=int, default=900, help="seed of the first kind")
    options = parser.parse_args(arguments)
    begin = perf_counter()
    seeds = iter(range(options.seed, options.seed + 1000))
    if options.runs != 0:
        _print_false_alarms(options.runs, seeds)
    if options.delays:
        _print_delays(options.delays, seeds)
    print(f"\n{perf_counter() - begin:.0f} s")


def _print_false_alarms(runs: int | None, seeds: Iterator[int]) -> None:
    total, years = Counter[str](), 0
    print(f"| without change | a day | model-years | all | {' | '.join(NAMES)} | seed |")
    print("|---" * (len(NAMES) + 5) + "|")
    for per_day, models in MODELS.items():
        for kind in KINDS:
            count, seed = runs or models, next(seeds)
            rng = np.random.default_rng(seed)
            found = Counter[str]()
            for _ in range(count):
                case = Case(labels=per_day)._replace(**kind.more)
                days = days_of(case, DAYS, rng, service=kind.service, drifts=kind.drifts)
                found += false_alarms(days)
            total, years = total + found, years + count
            cells = " | ".join(str(found[name]) for name in NAMES)
            print(
                f"| {kind.name} | {per_day:,} | {count} | {found.total()} | {cells} | {seed} |",
                flush=True,
            )
    print("\n| rule | false alarms | a model-year | at most (95 %) | budget |")
    print("|---|---|---|---|---|")
    for name in NAMES:
        print(_row(name, total[name], years, part_of(name, MODEL)))
    print(_row("all", total.total(), years, MODEL.false_alarms_per_year))


def _print_delays(models: int, seeds: Iterator[int]) -> None:
    print(
        "\n| change on day 60 | rule | a day | delay, days: median | longest | found | before it "
        "| seed |\n|---|---|---|---|---|---|---|---|"
    )
    for rule, name, after in CHANGES:
        for per_day in MODELS:
            seed = next(seeds)
            rng = np.random.default_rng(seed)
            fired = [
                first_alert(
                    days_of(
                        Case(labels=per_day), CHANGE_DAY + FOLLOWED, rng, after=(CHANGE_DAY, after)
                    ),
                    rule,
                )
                for _ in range(models)
            ]
            delays = [day - CHANGE_DAY for day in fired if day > CHANGE_DAY]
            found = [delay for delay in delays if delay < inf]
            median = np.quantile(delays, 0.5, method="inverted_cdf") if delays else inf
            print(
                f"| {name} | `{rule}` | {per_day:,} | {median:.2f} "
                f"| {max(delays, default=inf):.2f} | {len(found)} of {models} "
                f"| {models - len(delays)} | {seed} |",
                flush=True,
            )


def alerts_of(days: Iterator[Records]) -> Iterator[Alert]:
    """Records of `alerts` of one model."""
    stage, state = Decide(Config(defaults=MODEL)), MemoryState()
    for records in days:
        batch = Batch(
            records={
                topics.REGISTRY: records.registry,
                topics.METRICS: records.metrics,
                topics.DRIFT: records.drift,
            }
        )
        for record in stage.process(batch, state):
            if record.topic == topics.ALERTS:
                yield record.value


def false_alarms(days: Iterator[Records]) -> Counter[str]:
    """Episodes of a model at warning or above, by rule."""
    episodes = {
        alert.alert_id: alert.rule
        for alert in alerts_of(days)
        if alert.severity in AT_LEAST_WARNING and alert.status != "resolved"
    }
    return Counter(episodes.values())


def first_alert(days: Iterator[Records], rule: str) -> float:
    """Day of the first alert of a rule; infinite without one."""
    return next((a.at_ms / DAY_MS for a in alerts_of(days) if a.rule == rule), inf)


def upper_limit(count: int) -> float:
    """The mean of a Poisson variable of which at most `count` come with a probability of 5 %.

    Examples
    --------
    >>> round(upper_limit(0), 3)
    2.996
    """
    return float(chi2.ppf(0.95, 2 * (count + 1)) / 2.0)


def _row(name: str, count: int, years: int, budget: float) -> str:
    rate = count / years
    return (
        f"| {name} | {count} | {rate:.3f} | {upper_limit(count) / years:.3f} | {budget:g}"
        f"{'' if rate <= budget else ' NOT KEPT'} |"
    )


if __name__ == "__main__":
    main()
