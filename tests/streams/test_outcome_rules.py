"""Rules by detectors of river on single outcomes: held to river fed by hand, for any cut and
restart.
"""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from river import drift

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.results import Alert, RegistryEffect
from driftline.schemas.setting_changes import decisions_of, recorded_settings
from driftline.schemas.settings import Config, ModelConfig
from driftline.schemas.times import HOUR_MS
from driftline.schemas.topics import ALERTS, REGISTRY_EFFECTS
from driftline.streams.decide import Decide
from driftline.streams.decide.detectors import river_detectors
from driftline.streams.decide.detectors.outcome_history import OutcomeHistory
from driftline.streams.decide.judgement import SeriesOutcomes
from driftline.streams.decide.outcome_rule import KeptDetectors, OutcomeRule
from driftline.streams.decide.rule_builder import build_rules, rule_plugins
from driftline.streams.ordered_outcomes import ORDERED_OUTCOMES, OrderedOutcomes
from driftline.streams.partial import Watermarks
from driftline.streams.pipeline import Downstream
from driftline.streams.stage import Batch
from tests.streams.figures import START_MS, entry
from tests.streams.measure_calls import Call, moments, partials

# By type of rule, what the rule is given and river's detector with the same parameters.
CASES: dict[str, tuple[dict[str, Any], Any]] = {
    "adwin": ({}, lambda: drift.ADWIN()),
    "adwin, changed": (
        {"delta": 0.1, "clock": 4, "max_buckets": 3, "min_window_length": 3, "grace_period": 20},
        lambda: drift.ADWIN(
            delta=0.1, clock=4, max_buckets=3, min_window_length=3, grace_period=20
        ),
    ),
    "page_hinkley": ({}, lambda: drift.PageHinkley()),
    "page_hinkley, changed": (
        {"min_instances": 50, "delta": 0.01, "threshold": 10.0, "alpha": 0.999, "mode": "up"},
        lambda: drift.PageHinkley(
            min_instances=50, delta=0.01, threshold=10.0, alpha=0.999, mode="up"
        ),
    ),
    "ddm": ({}, lambda: drift.binary.DDM()),
    "ddm, changed": (
        {"warm_start": 100, "drift_threshold": 2.5},
        lambda: drift.binary.DDM(warm_start=100, drift_threshold=2.5),
    ),
    "eddm": ({}, lambda: drift.binary.EDDM()),
    "eddm, changed": (
        {"warm_start": 60, "beta": 0.8},
        lambda: drift.binary.EDDM(warm_start=60, beta=0.8),
    ),
    "hddm_a": ({}, lambda: drift.binary.HDDMA()),
    "hddm_a, changed": (
        {"drift_confidence": 0.05, "two_sided_test": True},
        lambda: drift.binary.HDDMA(drift_confidence=0.05, two_sided_test=True),
    ),
    "hddm_w": ({}, lambda: drift.binary.HDDMW()),
    "hddm_w, changed": (
        {"drift_confidence": 0.01, "lambda_val": 0.1, "two_sided_test": True},
        lambda: drift.binary.HDDMW(drift_confidence=0.01, lambda_val=0.1, two_sided_test=True),
    ),
    "kswin": ({}, lambda: drift.KSWIN(seed=0)),
    "kswin, changed": (
        {"alpha": 0.05, "window_size": 80, "stat_size": 20, "seed": 7},
        lambda: drift.KSWIN(alpha=0.05, window_size=80, stat_size=20, seed=7),
    ),
}
# Error rates of runs of outcomes, with changes that every detector finds.
RATES = (0.1, 0.1, 0.5, 0.5, 0.05, 0.05, 0.6)
PER_RUN = 350


def sequence(seed: int) -> bytes:
    random = np.random.default_rng(seed)
    return b"".join((random.random(PER_RUN) < p).astype(np.uint8).tobytes() for p in RATES)


def rule_of(case: str, **more: Any) -> OutcomeRule:
    table = {"type": case.partition(",")[0], **CASES[case][0], **more}
    (rule,) = build_rules(ModelConfig(rules=(table,), default_rules=False))
    assert isinstance(rule, OutcomeRule)
    return rule


def outcomes(errors: bytes, number: int = 0) -> SeriesOutcomes:
    start_ms = START_MS + number * HOUR_MS
    return SeriesOutcomes(
        model_name="churn",
        model_version="1.0.0",
        segment="all",
        start_ms=start_ms,
        end_ms=start_ms + HOUR_MS,
        errors=errors,
    )


def by_hand(errors: bytes, case: str) -> list[int]:
    """Numbers of the outcomes with which river's detector finds a change."""
    detector = CASES[case][1]()
    found = []
    for number, error in enumerate(errors):
        detector.update(error)
        if detector.drift_detected:
            found.append(number)
    return found


def one_by_one(errors: bytes, rule: OutcomeRule, *, restarting: bool = False) -> list[int]:
    """The same, of a rule that reads one outcome at a time."""
    history, detector, found = OutcomeHistory(), None, []
    for number in range(len(errors)):
        history, judged, detector = rule.judge_next(
            outcomes(errors[number : number + 1], number), history, detector
        )
        if judged.verdict == "breach":
            found.append(number)
        if restarting and number % 500 == 250:
            detector = None
    return found


@pytest.mark.parametrize("case", CASES)
def test_a_rule_detects_with_the_same_outcomes_as_river_fed_by_hand(case: str) -> None:
    # A test of KSWIN takes 1 ms.
    errors = sequence(1)[: 900 if case.startswith("kswin") else None]
    expected = by_hand(errors, case)
    assert expected, "the sequence shows nothing"
    # More memory than outcomes, since river's own detector keeps all of them.
    rule = rule_of(case, memory=10_000)
    assert one_by_one(errors, rule) == expected
    assert one_by_one(errors, rule, restarting=True) == expected


#   memory 300:  0 ------ 300 outcomes without a detection: the newest 150 are read anew
#                     150 ------ 450: the same
def by_hand_with_memory(errors: bytes, case: str, memory: int) -> list[int]:
    detector, kept = CASES[case][1](), deque[int]()
    found = []
    for number, error in enumerate(errors):
        detector.update(error)
        kept.append(error)
        if detector.drift_detected:
            found.append(number)
            detector, kept = CASES[case][1](), deque()
        elif len(kept) == memory:
            detector, kept = CASES[case][1](), deque([*kept][-(memory // 2) :])
            for each in kept:
                detector.update(each)
    return found


@pytest.mark.parametrize("case", ["adwin", "page_hinkley, changed", "ddm", "hddm_a, changed"])
def test_a_detector_begins_anew_with_the_newest_half_when_its_memory_is_full(case: str) -> None:
    errors = sequence(2)
    expected = by_hand_with_memory(errors, case, 300)
    assert expected
    assert one_by_one(errors, rule_of(case, memory=300)) == expected
    assert one_by_one(errors, rule_of(case, memory=300), restarting=True) == expected


def test_a_full_memory_bounds_the_stored_bits() -> None:
    rule, history, detector = rule_of("adwin", memory=1000), OutcomeHistory(), None
    for number in range(40):
        history, _, detector = rule.judge_next(outcomes(bytes(97), number), history, detector)
        assert 8 * len(history.errors) <= 1000 + 7
        assert history.n < 1000


def steps(errors: bytes, sizes: Sequence[int]) -> Iterator[OrderedOutcomes]:
    """The outcomes in steps of an hour, of two versions, the second one with all of them right."""
    edges = [0, *np.cumsum(sizes).tolist()]
    for number, (begin, end) in enumerate(pairwise(edges)):
        start_ms = START_MS + number * HOUR_MS
        part = errors[begin:end]
        yield OrderedOutcomes(
            model_name="churn",
            start_ms=start_ms,
            end_ms=start_ms + HOUR_MS,
            errors=((("1.0.0", "all"), part), (("1.1.0", "all"), bytes(len(part)))),
        )


class Run:
    """Feeds outcomes to stage 3."""

    def __init__(self, *tables: dict[str, Any], **more: Any) -> None:
        self.config = Config(defaults=ModelConfig(rules=tables, default_rules=False, **more))
        self.stage, self.state = Decide(self.config), MemoryState()

    def feed(self, *records: OrderedOutcomes) -> list[Alert]:
        batch = Batch(records={ORDERED_OUTCOMES: records})
        return [record.value for record in self.stage.process(batch, self.state)]

    def restart(self) -> None:
        self.stage = Decide(self.config)


ALL = tuple(
    {"type": case.partition(",")[0], "name": case, "clear_after": "5h", **CASES[case][0]}
    for case in CASES
    if not case.startswith("kswin")  # a test with each outcome, for each example
)


@pytest.mark.parametrize("seed", range(2))
def test_alerts_do_not_depend_on_restarts(seed: int) -> None:
    random = np.random.default_rng(seed)
    records = list(steps(sequence(seed), random.integers(1, 180, 25).tolist()))
    whole, restarted = Run(*ALL), Run(*ALL)
    expected = [alert for record in records for alert in whole.feed(record)]
    found = []
    for record in records:
        found += restarted.feed(record)
        if random.random() < 0.3:
            restarted.restart()
    assert found == expected
    assert restarted.state.values == whole.state.values
    assert len({alert.rule for alert in expected}) > 5


def test_an_alert_fires_with_a_detection_and_resolves_without_another_one() -> None:
    run = Run({"type": "adwin", "clear_after": "4h", "delta": 0.01})
    right, wrong = bytes([0, 0, 0, 0, 1] * 20), bytes([1, 0] * 50)
    alerts = []
    for number, record in enumerate(steps(right * 5 + wrong * 1 + wrong * 12, [100] * 18), start=1):
        alerts += [(number, alert) for alert in run.feed(record)]
    (fired_in, fired), (resolved_in, resolved) = alerts
    assert (fired.change, fired.severity, resolved.change) == ("firing", "info", "resolved")
    assert fired_in == 6
    assert fired.summary == (
        "ADWIN found a change in the outcomes of churn 1.0.0: accuracy 0.494 of the last 77, "
        "0.802 of 499 before."
    )
    # ADWIN tests every 32 outcomes, so it has read 576. The last outcome of the first 500 is wrong
    # as every second one after it is: 1 + 38 of the last 77 are wrong, and 99 of those before.
    assert (fired.metric, fired.n) == ("accuracy", 77)
    assert (fired.value, fired.baseline) == (38 / 77, 400 / 499)
    assert fired.details["parameters"] == {
        "delta": 0.01,
        "clock": 32,
        "max_buckets": 5,
        "min_window_length": 5,
        "grace_period": 10,
    }
    assert resolved_in == 10
    assert resolved.summary.startswith(
        "ADWIN found no other change in the outcomes of churn 1.0.0 for 4h; the alert had fired on"
    )


def test_archiving_a_version_deletes_what_its_detectors_have_read() -> None:
    run = Run({"type": "ddm"})
    run.feed(*steps(sequence(1), [100] * 3))
    assert any(b"WatchedOutcomes" in key for key in run.state.values)
    for version in ("1.0.0", "1.1.0"):
        archived = entry(stage="archived", model_version=version)
        run.stage.process(Batch(records={"registry": [archived]}), run.state)
    assert not any(b"WatchedOutcomes" in key for key in run.state.values)


def test_a_detector_is_kept_only_for_the_history_and_the_rule_that_it_has_read() -> None:
    kept, rule, place = KeptDetectors(), rule_of("ddm"), ("churn", "1.0.0", "all", "ddm")
    history, _, detector = rule.judge_next(outcomes(bytes(10)), OutcomeHistory(), None)
    kept.keep(place, rule, history, detector)
    assert kept.take(place, rule, OutcomeHistory()) is None
    kept.keep(place, rule, history, detector)
    assert kept.take(place, rule_of("ddm, changed"), history) is None
    kept.keep(place, rule, history, detector)
    assert kept.take(place, rule, history) is detector
    assert kept.take(place, rule, history) is None


class Sixth:
    """A detector of another release: it finds a change with each sixth wrong outcome."""

    def __init__(self) -> None:
        self.wrong, self.drift_detected = 0, False

    def update(self, x: int) -> None:
        self.wrong = (0 if self.drift_detected else self.wrong) + x
        self.drift_detected = bool(x) and self.wrong == 6


#   outcomes   0 ----------- 20 | restart with another release | ---- 30
#   wrong        5 of them      |  reads the 20 again          |  the sixth: a detection
def test_another_release_of_river_goes_on_from_the_outcomes_that_are_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run({"type": "ddm"})
    (record, later) = steps(bytes([0, 0, 0, 1] * 5 + [0] * 9 + [1]), [20, 10])
    assert run.feed(record) == []
    before = dict(run.state.values)
    monkeypatch.setattr(river_detectors, "create", lambda name, parameters: Sixth())
    run.restart()
    assert run.state.values == before
    (alert,) = run.feed(later)
    assert (alert.rule, alert.change, alert.details["detections"]) == ("ddm", "firing", 1)
    assert alert.details["n_before"] + alert.details["n_since"] == 30


def test_what_another_release_finds_in_outcomes_already_read_is_not_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run({"type": "ddm"})
    record, right, wrong = steps(bytes([0, 1] * 8 + [0] * 4 + [1] * 4), [16, 4, 4])
    assert run.feed(record) == []
    monkeypatch.setattr(river_detectors, "create", lambda name, parameters: Sixth())
    run.restart()
    # Of eight wrong outcomes, the sixth would have been a detection; two are read since then.
    assert run.feed(right) == []
    (alert,) = run.feed(wrong)
    assert alert.change == "firing"


def test_outcomes_are_read_while_a_rule_in_force_reads_them() -> None:
    """From the configuration, and from settings that change in a run."""
    run = Run()
    assert not run.stage.reads_outcomes("churn", run.state)
    for rules in ([{"type": "ddm", "name": "ddm"}], []):
        effect = RegistryEffect(
            model_name="churn", revision=1, frontier="", settings={"rules": rules}
        )
        run.stage.process(Batch(records={REGISTRY_EFFECTS: [effect]}), run.state)
        assert run.stage.reads_outcomes("churn", run.state) == bool(rules)
        assert not run.stage.reads_outcomes("another", run.state)
        run.restart()
        assert run.stage.reads_outcomes("churn", run.state) == bool(rules)
    assert Run({"type": "adwin"}).stage.reads_outcomes("churn", MemoryState())


#   hours    0 right | wrong | right | wrong | right | wrong
#   rule            none         |   in force    |   none
def test_a_rule_reads_the_outcomes_that_become_known_while_it_is_in_force() -> None:
    config = Config(defaults=ModelConfig(default_rules=False))
    states = defaultdict[str, MemoryState](MemoryState)
    stages = Downstream(config, states.__getitem__)
    rule = {"type": "page_hinkley", "name": "outcomes", "threshold": 3.0, "mode": "up"}
    before = decisions_of(recorded_settings(config, partitions=True), "m")
    alerts = []
    for hours, rules in enumerate(([], [rule], [])):
        calls = [
            Call(
                at=START_MS + (4 * hours + number // 30) * HOUR_MS + number % 30 * 60_000,
                predicted="yes" if number < 60 else "no",
                changes=((1, "yes"),),
                key=number,
            )
            for number in range(120)
        ]
        if hours:
            now = before | {"rules": rules}
            stages.change_settings("m", before, now)
            before = now
        upto = START_MS + 4 * (hours + 1) * HOUR_MS
        stages.merge([*partials(moments(calls, config)), Watermarks(0, 1, upto, upto)])
        while stages.due() is not None:
            alerts += [r.value for r in stages.advance([]) if r.topic == ALERTS]
    fired = [alert for alert in alerts if alert.change == "firing"]
    assert [alert.at_ms for alert in fired] == [START_MS + 7 * HOUR_MS]


def test_without_river_its_rules_are_refused_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(river_detectors, "find_spec", lambda name: None)
    for kind in sorted({case.partition(",")[0] for case in CASES}):
        with pytest.raises(ValueError) as error:
            build_rules(ModelConfig(rules=({"type": kind},)), "models.churn.rules")
        assert str(error.value) == (
            f'models.churn.rules[0].type: "{kind}" needs river, which is not installed: '
            'pip install "driftline[river]"'
        )


@pytest.mark.parametrize(
    ("table", "more", "message"),
    [
        ({"type": "adwin"}, {"last_n": ()}, '.type: "adwin" reads the newest outcomes'),
        ({"type": "adwin", "for": 2}, {}, ".for: a detection does not last"),
        ({"type": "adwin", "clear_after": "x"}, {}, ".clear_after: "),
        ({"type": "adwin", "delta": 1.0}, {}, ".delta: "),
        ({"type": "eddm", "beta": 0.96}, {}, ".beta: "),
        ({"type": "kswin", "window_size": 50}, {}, ".window_size: 50 is less than twice stat_size"),
        ({"type": "kswin", "window_size": 501}, {}, ".memory: 1000 is less than twice window_size"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_with_its_path(
    table: dict[str, Any], more: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError) as error:
        build_rules(ModelConfig(rules=(table,), **more), "models.churn.rules")
    assert f"models.churn.rules[0]{message}" in str(error.value)


def test_every_detector_rule_has_a_case() -> None:
    kinds = {kind for kind, rule in rule_plugins().items() if issubclass(rule, OutcomeRule)}
    assert kinds == {case.partition(",")[0] for case in CASES}


IMPORTS = """
import sys
from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.settings import Config, ModelConfig
from driftline.streams.decide import Decide
from driftline.streams.ordered_outcomes import ORDERED_OUTCOMES, OrderedOutcomes
from driftline.streams.stage import Batch

def imported(rules, segment):
    stage = Decide(Config(defaults=ModelConfig(rules=rules)))
    errors = ((("1", segment), bytes(3)),)
    step = OrderedOutcomes(model_name="m", start_ms=0, end_ms=1, errors=errors)
    stage.process(Batch(records={ORDERED_OUTCOMES: [step]}), MemoryState())
    return "river" in sys.modules

adwin = ({"type": "adwin"},)
print(imported((), "all"), imported(adwin, "plan=pro"), imported(adwin, "all"))
"""


def test_river_is_imported_only_where_a_rule_reads_outcomes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == ["False", "False", "True"]
