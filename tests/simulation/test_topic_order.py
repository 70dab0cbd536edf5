"""Stage 1 counts the same in whatever order the two topics of a partition are read.

The rows lie at the limits of an entry: at the horizons, a millisecond before and after. The rows of
one topic keep their order; everything else about the reading is drawn, or every order is tried.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import pytest

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.config import parse_config
from driftline.schemas.decode import decode_predictions, decode_truths
from driftline.schemas.settings import Config
from driftline.schemas.times import HOUR_MS, MINUTE_MS
from driftline.streams.columns import GroundTruthColumns, PredictionColumns
from driftline.streams.join.uncounted_rows import UncountedRow
from driftline.streams.lanes import CELLS, COUNT, COUNTERS, LABEL_MEASURES, LANE_NAMES
from driftline.streams.log_order import merged_ranks
from driftline.streams.partial import COUNT_COLUMNS, RECENT_COLUMNS, Partial, Watermarks
from driftline.streams.pipeline import Upstream
from driftline.streams.stage import Batch
from tests.seeds import quick_and_slow

BEGIN = 1_709_251_200_000  # 2024-03-01T00:00:00Z
ORDERS = 6


@dataclass
class History:
    """Lines of both topics, and ticks as (predictions before it, truths before it, event time)."""

    config: Config
    predictions: list[bytes]
    truths: list[bytes]
    ticks: list[tuple[int, int, int]]
    end_ms: int


@dataclass
class Counted:
    """What stage 1 emits: the sum of its partials, and its other records."""

    total: Counter[tuple[Any, ...]]
    outcomes: Counter[str]
    conflicts: list[int]
    uncounted: Counter[str]


def history(seed: int) -> History:
    """Draw a history of some ids with rows at the limits."""
    random = Random(seed)
    label = random.choice((5, 6, 12)) * HOUR_MS
    correction = random.choice((2, 6, 13)) * HOUR_MS
    park = max(label, 5 * HOUR_MS) + random.choice((0, 3)) * HOUR_MS
    grace, truth_grace = random.choice((1, 5)), random.choice((10, 60))
    config = parse_config(
        f"""
[run]
prediction_grace = "{grace}m"
truth_grace = "{truth_grace}m"
park = "{park // HOUR_MS}h"
outcomes = true
[defaults]
maturity = ["30m", "2h"]
windows = ["1h"]
label_horizon = "{label // HOUR_MS}h"
segments = ["plan"]
correction_horizon = "{correction // HOUR_MS}h"
last_n = [5]
[models.short]
label_horizon = "5h"
correction_horizon = "3h"
"""
    )
    least = min(label, correction)
    limits = [0, 0, 0, label, correction, least, park, label + correction, 3 * HOUR_MS, HOUR_MS]

    def at_a_limit(most: int) -> int:
        limit = random.choice([each for each in limits if each <= most] or [0])
        return max(0, limit + random.choice((-MINUTE_MS, -1, 0, 0, 1, MINUTE_MS)))

    sent: list[tuple[int, bool, dict[str, Any]]] = []
    for number in range(random.randint(2, 5)):
        begin = BEGIN + random.randrange(4) * HOUR_MS
        versions = random.sample((("usual", "1"), ("usual", "2"), ("short", "1")), 2)
        for _ in range(random.randint(1, 4)):
            model, version = random.choice(versions[: random.randint(1, 2)])
            time = begin + at_a_limit(label + correction)
            event = {
                "prediction_id": f"id{number}",
                "model_name": model,
                "model_version": version,
                "timestamp": time,
                "segment": {"plan": "pro"},
            }
            if random.random() < 0.9:
                event["prediction"] = random.choice(("no", "yes"))
                event["score"] = 0.25
            else:
                event["status"] = "error"
            for _ in range(random.choice((1, 1, 2))):
                wait = random.choice((0, 0, random.randrange(grace * MINUTE_MS), at_a_limit(least)))
                sent.append((time + wait, False, event))
        for _ in range(random.randint(0, 5)):
            time = begin + at_a_limit(park + label) - random.choice((0, 0, 0, at_a_limit(park)))
            truth: dict[str, Any] = {
                "prediction_id": f"id{number}",
                "timestamp": time,
                "revision": random.choice((0, 0, 1, 2)),
            }
            truth |= (
                {"label": random.choice(("no", "yes"))}
                if random.random() < 0.85
                else {"retracted": True}
            )
            for _ in range(random.choice((1, 1, 2))):
                wait = random.choice((0, 0, random.randrange(truth_grace * MINUTE_MS), HOUR_MS))
                earlier = random.choice((0, 0, 1, MINUTE_MS, 8 * MINUTE_MS))
                sent.append((time + wait, True, truth | {"timestamp": time - earlier}))
    for _ in range(random.choice((0, 10, 30))):  # rows that move watermarks
        time = BEGIN + random.randrange(30 * HOUR_MS)
        moving = {"prediction_id": f"other{time}", "timestamp": time}
        if random.random() < 0.5:
            named = {"model_name": "usual", "model_version": "1", "prediction": "no"}
            sent.append((time, False, moving | named))
        else:
            sent.append((time, True, moving | {"label": "no"}))
    sent.sort(key=lambda row: row[0])
    ticks = []
    for place in sorted(random.sample(range(len(sent)), min(len(sent), random.randrange(4)))):
        before = [is_truth for _, is_truth, _ in sent[:place]]
        ticks.append((before.count(False), before.count(True), sent[place][0]))
    lines: dict[bool, list[bytes]] = {False: [], True: []}
    for _, is_truth, value in sent:
        lines[is_truth].append(json.dumps(value).encode())
    last = max(at for at, _, _ in sent)
    return History(
        config, lines[False], lines[True], ticks, last + 2 * (park + label + correction + HOUR_MS)
    )


def as_recorded(log: History) -> list[tuple[int, int]]:
    """Positions of both topics after each run of rows of one topic, in the order of event time, as
    a replay has it.
    """
    keys = [
        np.maximum.accumulate([json.loads(line)["timestamp"] for line in lines])
        if lines
        else np.zeros(0, np.int64)
        for lines in (log.predictions, log.truths)
    ]
    predictions, truths = (ranks.tolist() for ranks in merged_ranks(keys))
    last = len(predictions) + len(truths)
    return [
        (sum(each < place for each in predictions), sum(each < place for each in truths))
        for place in range(1, last + 1)
        if place == last or (place in truths) != (place - 1 in truths)
    ]


def at_random(log: History, random: Random) -> list[tuple[int, int]]:
    """Positions after each batch in some order that respects the ticks, which follow the rows
    before them.
    """
    positions = [(0, 0)]
    most = random.choice((1, 3, 10, 100))
    share = random.choice((0.1, 0.5, 0.9))
    for limit in [tick[:2] for tick in log.ticks] + [(len(log.predictions), len(log.truths))]:
        while positions[-1] != limit:
            read = list(positions[-1])
            topic = int(random.random() < share)
            read[topic] = min(limit[topic], read[topic] + random.randint(1, most))
            if random.random() < 0.3:
                read[1 - topic] = min(limit[1 - topic], read[1 - topic] + random.randint(1, most))
            positions.append((read[0], read[1]))
    return positions[1:]


def count(log: History, positions: list[tuple[int, int]], *, restart: float = 0.0) -> Counted:
    """Read a history in batches that end at `positions`."""
    random, state = Random(0), MemoryState()
    stage = Upstream(log.config, 0, 1)
    counted = Counted(Counter(), Counter(), [], Counter())
    complete = dict.fromkeys(LANE_NAMES, -1)

    def process(batch: Batch) -> None:
        nonlocal stage
        if random.random() < restart:
            stage = Upstream(log.config, 0, 1)
        result = stage.process(batch, state)
        counted.outcomes.update(
            json.dumps(record.value.__struct_fields__ and _plain(record.value), default=str)
            for record in result.outcomes
        )
        counted.conflicts.extend(reject.offset for reject in result.conflicts)
        counted.uncounted.update(_by_reason(result.uncounted_rows))
        for record in result.partials:
            if isinstance(record.value, Partial):
                add(record.value)
        for record in result.partials:
            if isinstance(record.value, Watermarks):
                traffic_ms = record.value.prediction_ms - log.config.prediction_grace_ms
                truth_ms = record.value.truth_ms - log.config.truth_grace_ms
                complete["traffic"] = traffic_ms
                complete["decisions"] = complete["arrivals"] = min(traffic_ms, truth_ms)

    def add(partial: Partial) -> None:
        columns = (partial.counts[name].tolist() for name, _ in COUNT_COLUMNS)
        for lane, pane, series, rung, measure, a, b, amount in zip(*columns, strict=True):
            name, model = LANE_NAMES[lane], partial.series[series][0]
            ladder = log.config.for_model(model).maturity
            delay_ms = ladder[rung].ms if name == "decisions" else 0
            edge_ms = pane + log.config.pane_ms + delay_ms
            assert edge_ms > complete[name], f"{name}: a pane changes after it was complete"
            key = (*partial.series[series], name, pane, rung, measure)
            is_label = (measure in LABEL_MEASURES, measure == CELLS)
            texts = [
                partial.labels[code] if named and code < len(partial.labels) else code
                for code, named in zip((a, b), is_label, strict=True)
            ]
            counted.total[(*key, *texts)] += amount
        for row in zip(*(partial.recent[c].tolist() for c, _ in RECENT_COLUMNS), strict=True):
            labels = [partial.labels[code] for code in row[3:5]]
            key = (*partial.series[row[0]], *row[1:3], *labels)
            counted.total[key] += row[5]

    before = (0, 0)
    for after in positions:
        process(_batch(log, before, after))
        before = after
    for quarter in (2, 3, 4):
        process(Batch(tick_ms=BEGIN + (log.end_ms - BEGIN) * quarter // 4))
    while not stage.at_rest:
        process(Batch(tick_ms=log.end_ms))
    counted.total = Counter({key: n for key, n in counted.total.items() if n})
    counted.conflicts.sort()
    left = {key for key in state.values if not key.startswith(b"\xff")}
    assert not left, "entries are left after all have expired"
    return counted


def _plain(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}


def _by_reason(rows: list[UncountedRow]) -> dict[str, int]:
    """Number of rows by reason, without late truths: one is noted as soon as it is late, even if a
    repetition with an earlier time comes before its figures are complete.
    """
    return {row.reason: row.count for row in rows if row.reason != "late_truth"}


def _batch(log: History, before: tuple[int, int], after: tuple[int, int]) -> Batch:
    times = np.array([0, *(at for *_, at in log.ticks)])

    def floors(topic: int, offset: Any) -> Any:
        return times[np.searchsorted([tick[topic] for tick in log.ticks], offset, side="right")]

    batch = Batch()
    offset = np.arange(before[0], after[0])
    if len(offset):
        rows, _, rejects = decode_predictions(
            log.predictions[before[0] : after[0]], offset.tolist()
        )
        assert not rejects, rejects
        batch.predictions = PredictionColumns.of(rows, offset, lambda model: None)
        batch.predictions.tick_ms = floors(0, offset)
    offset = np.arange(before[1], after[1])
    if len(offset):
        truths, _, rejects = decode_truths(log.truths[before[1] : after[1]], offset.tolist())
        assert not rejects, rejects
        batch.ground_truth = GroundTruthColumns.of(truths, offset)
        batch.ground_truth.tick_ms = floors(1, offset)
    reached = [at for first, second, at in log.ticks if first <= after[0] and second <= after[1]]
    batch.tick_ms = max(reached, default=None)
    return batch


@pytest.mark.parametrize("block", quick_and_slow(range(60), 2, in_ci=30))
def test_reading_order_of_the_topics_changes_no_count(block: int) -> None:
    for seed in range(20 * block, 20 * block + 20):
        log, random = history(seed), Random(seed)
        recorded = count(log, as_recorded(log))
        for number in range(ORDERS):
            read = count(log, at_random(log, random), restart=random.choice((0.0, 0.3)))
            assert read == recorded, f"seed {seed}, order {number}"


HORIZON, CORRECTION, PARK = 6 * HOUR_MS, 2 * HOUR_MS, 8 * HOUR_MS
LIMITS = parse_config(
    """
run.outcomes = true
defaults.last_n = []
defaults.windows = ["1h"]
defaults.park = "8h"
defaults.label_horizon = "6h"
defaults.correction_horizon = "2h"
defaults.maturity = ["1h"]
"""
)
Seen = dict[str, int]


def in_every_order(
    predictions: list[tuple[int, str]], truths: list[tuple[int, str]]
) -> tuple[Seen, int]:
    """Counters of one id that are not 0, and the number of conflicts, the same in every order.

    Parameters
    ----------
    predictions
        Time after the beginning in ms, and model; each predicts the label "no".
    truths
        Time after the beginning in ms, and label.
    """
    log = History(
        LIMITS,
        [
            json.dumps(
                {
                    "prediction_id": "a",
                    "model_name": model,
                    "model_version": "1",
                    "timestamp": BEGIN + time,
                    "prediction": "no",
                }
            ).encode()
            for time, model in predictions
        ],
        [
            json.dumps(
                {"prediction_id": "a", "timestamp": BEGIN + time, "label": label, "revision": at}
            ).encode()
            for at, (time, label) in enumerate(truths)
        ],
        [],
        BEGIN + 48 * HOUR_MS,
    )
    found = []
    total = len(predictions) + len(truths)
    for places in itertools.combinations(range(total), len(predictions)):
        read = [sum(place <= end for place in places) for end in range(total)]
        counted = count(log, [(each, end + 1 - each) for end, each in enumerate(read)])
        seen: Counter[str] = Counter()
        for (_, _, segment, lane, _, _, measure, *_, b), n in counted.total.items():
            if measure == COUNT and segment == "all" and lane != "traffic":
                seen[COUNTERS[b]] += n
        found.append((dict(seen), len(counted.conflicts), counted))
    assert all(each == found[0] for each in found)
    return found[0][0], found[0][1]


@pytest.mark.parametrize(
    ("after_ms", "wanted", "conflicts"),
    [
        (0, {"predictions": 1, "joined": 1, "conflicting_predictions": 1}, 1),
        (1, {"predictions": 2, "joined": 1, "expired": 1}, 0),
    ],
)
def test_an_id_is_free_for_another_prediction_after_the_smaller_horizon(
    after_ms: int, wanted: Seen, conflicts: int
) -> None:
    predictions = [(0, "m"), (CORRECTION + after_ms, "m")]
    assert in_every_order(predictions, [(HOUR_MS, "no")]) == (wanted, conflicts)


def test_further_truth_that_is_in_time_for_a_correction_but_beyond_the_label_horizon_is_late() -> (
    None
):
    truths = [(HORIZON - HOUR_MS, "no"), (HORIZON + 1, "yes")]
    wanted = {"predictions": 1, "joined": 1, "late_truths": 1}
    assert in_every_order([(0, "m")], truths) == (wanted, 0)


MET = {"predictions": 1, "joined": 1}
APART = {"predictions": 1, "expired": 1, "unmatched": 1}


@pytest.mark.parametrize(("after_ms", "wanted"), [(0, MET), (1, APART)])
def test_first_truth_comes_in_time_up_to_the_label_horizon_and_a_first_prediction_up_to_park(
    after_ms: int, wanted: Seen
) -> None:
    assert in_every_order([(0, "m")], [(HORIZON + after_ms, "no")]) == (wanted, 0)
    assert in_every_order([(PARK + after_ms, "m")], [(0, "no")]) == (wanted, 0)


@pytest.mark.parametrize(("after_ms", "counted"), [(0, "corrected"), (1, "unmatched")])
def test_further_truth_comes_in_time_up_to_the_correction_horizon(
    after_ms: int, counted: str
) -> None:
    truths = [(HOUR_MS, "no"), (HOUR_MS + CORRECTION + after_ms, "yes")]
    assert in_every_order([(0, "m")], truths) == (MET | {counted: 1}, 0)


@pytest.mark.parametrize(
    ("after_ms", "wanted"),
    [
        (0, {"predictions": 2, "joined": 2}),
        (1, {"predictions": 2, "joined": 1, "expired": 1}),
    ],
)
def test_shadow_model_shares_a_truth_up_to_the_correction_horizon(
    after_ms: int, wanted: Seen
) -> None:
    predictions = [(0, "m"), (HOUR_MS + CORRECTION + after_ms, "shadow")]
    assert in_every_order(predictions, [(HOUR_MS, "no")]) == (wanted, 0)


def test_shadow_models_share_a_truth_up_to_the_correction_horizon_after_the_last_of_them() -> None:
    predictions = [
        (0, "m"),
        (HOUR_MS + CORRECTION, "shadow"),
        (HOUR_MS + 2 * CORRECTION, "second shadow"),
        (HOUR_MS + 3 * CORRECTION + 1, "third shadow"),
    ]
    wanted = {"predictions": 4, "joined": 3, "expired": 1}
    assert in_every_order(predictions, [(HOUR_MS, "no")]) == (wanted, 0)


@pytest.mark.parametrize(
    ("after_ms", "wanted"), [(0, {"duplicate_truths": 1, "unmatched": 1}), (1, {"unmatched": 2})]
)
def test_same_truth_is_a_duplicate_up_to_the_correction_horizon(
    after_ms: int, wanted: Seen
) -> None:
    truths = [
        json.dumps({"prediction_id": "a", "timestamp": BEGIN + time, "label": "no"}).encode()
        for time in (0, CORRECTION + after_ms)
    ]
    log = History(LIMITS, [], truths, [], BEGIN + 48 * HOUR_MS)
    counted = count(log, [(0, 1), (0, 2)])
    seen: Counter[str] = Counter()
    for key, n in counted.total.items():
        seen[COUNTERS[key[-1]]] += n
    assert seen == wanted
