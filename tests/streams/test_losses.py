"""Lost rows: which windows may lack them, by hand."""

from __future__ import annotations

import random

import msgspec
import pytest

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.config import parse_config
from driftline.schemas.results import LostRows, to_plain
from driftline.schemas.times import EpochMs
from driftline.schemas.topics import (
    DRIFT,
    GROUND_TRUTH,
    HISTOGRAMS,
    METRICS,
    PREDICTIONS,
    REGISTRY_COMMANDS,
    WINDOW_PARTIALS,
)
from driftline.streams.lanes import ARRIVALS, DECISIONS, TRAFFIC
from driftline.streams.measure.figures.losses import MOST_SPANS, Losses
from driftline.streams.measure.state_keys import LOSSES
from driftline.streams.partial import LostSpan
from tests.streams.measure_calls import Call, MeasureRun, moments

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
START = 19_000 * DAY
HORIZON, PARK = 24, 30


def span(
    topic: str, start: int, end: int, *, partition: int = 0, at: int = 7, records: int | None = 5
) -> LostSpan:
    return LostSpan(topic, partition, at, start, end, records)


def lost(topic: str, start: int, end: int, records: int | None = 5) -> LostRows:
    return LostRows(topic=topic, from_ms=EpochMs(start), until_ms=EpochMs(end), records=records)


def losses_of(*spans: LostSpan) -> Losses:
    losses = Losses(PARK)
    losses.add(spans, MemoryState())
    return losses


def marked(losses: Losses, lane: int, start: int, end: int, delay: int = 0) -> bool:
    return bool(losses.of_window(lane, start, end, complete_at_ms=end + delay, horizon_ms=HORIZON))


#   time    10      20      30      40      50
#   lost             [-------]                     20 to 30, both included
@pytest.mark.parametrize(
    ("topic", "lane", "delay", "first", "last"),
    [
        # `first` and `last`: starts of the first and of the last window of length 5 that lacks rows
        (PREDICTIONS, TRAFFIC, 0, 16, 30),
        (PREDICTIONS, DECISIONS, 0, 16, 30),
        (PREDICTIONS, DECISIONS, 12, 16, 30),
        # The truth of a lost prediction comes up to 24 later, and is not counted either.
        (PREDICTIONS, ARRIVALS, 0, 16, 54),
        # The prediction of a lost truth expires up to 24 later.
        (GROUND_TRUTH, ARRIVALS, 0, 16, 54),
        # A window that was complete at 20 has all its truths.
        (GROUND_TRUTH, DECISIONS, 0, 16, 30),
        (GROUND_TRUTH, DECISIONS, 12, 4, 30),
    ],
)
def test_a_loss_marks_the_windows_that_may_lack_its_rows(
    topic: str, lane: int, delay: int, first: int, last: int
) -> None:
    losses = losses_of(span(topic, 20, 30))
    starts = [start for start in range(100) if marked(losses, lane, start, start + 5, delay)]
    assert starts == list(range(first, last + 1))


def test_lost_truths_leave_traffic_whole() -> None:
    assert not marked(losses_of(span(GROUND_TRUTH, 20, 30)), TRAFFIC, 0, 100)


def test_rows_without_a_model_are_counted_when_their_park_is_over() -> None:
    losses = losses_of(span(GROUND_TRUTH, 20, 30))
    horizon = losses.horizon_ms("", HORIZON)
    assert (losses.horizon_ms("m", HORIZON), horizon) == (24, 54)
    starts = [
        start
        for start in range(100)
        if losses.of_window(ARRIVALS, start, start + 5, complete_at_ms=0, horizon_ms=horizon)
    ]
    assert starts == list(range(16, 84 + 1))


def test_spans_of_an_input_are_shown_as_one_with_the_sum_of_their_losses() -> None:
    losses = losses_of(
        span(PREDICTIONS, 20, 30, partition=0, records=5),
        span(PREDICTIONS, 25, 40, partition=0, records=5),  # the same loss, further on
        span(PREDICTIONS, 22, 24, partition=1, records=3),
        span(GROUND_TRUTH, 21, 23, partition=1, records=None),
        span(PREDICTIONS, 70, 71, at=9, records=100),  # not in the window
    )
    of_window = losses.of_window(DECISIONS, 0, 50, complete_at_ms=50, horizon_ms=HORIZON)
    assert of_window == [lost(GROUND_TRUTH, 21, 23, None), lost(PREDICTIONS, 20, 40, 8)]


def test_losses_are_read_back_and_taken_twice_without_effect() -> None:
    state, spans = MemoryState(), [span(PREDICTIONS, 20, 30), span(GROUND_TRUTH, 1, 2)]
    first, again = Losses(PARK), Losses(PARK)
    first.add(spans, state)
    stored = state.get(LOSSES)
    again.load(state)
    assert marked(again, TRAFFIC, 20, 21)
    again.add([spans[0]], state)
    assert state.get(LOSSES) == stored


def test_losses_of_another_release_are_refused() -> None:
    state = MemoryState()
    state.put(LOSSES, msgspec.msgpack.encode((99, [])))
    with pytest.raises(ValueError, match="losses of format 99"):
        Losses(PARK).load(state)


@pytest.mark.parametrize("seed", range(5))
def test_many_losses_are_kept_in_bounded_space_and_none_is_forgotten(seed: int) -> None:
    draw = random.Random(seed)
    spans = []
    for at in range(3 * MOST_SPANS):
        start = draw.randrange(1_000_000)
        topic = draw.choice((PREDICTIONS, GROUND_TRUTH))
        spans.append(span(topic, start, start + draw.randrange(900), at=at, records=1))
    state, losses = MemoryState(), Losses(PARK)
    for lost_span in spans:
        losses.add([lost_span], state)
    kept = msgspec.msgpack.decode(state.get(LOSSES) or b"")[1]
    assert len(kept) == MOST_SPANS
    for lane in (TRAFFIC, DECISIONS, ARRIVALS):
        exact = losses_of(*spans[:MOST_SPANS])
        for start in range(0, 1_000_000, 5_000):
            if marked(exact, lane, start, start + 500, delay=300):
                assert marked(losses, lane, start, start + 500, delay=300), "a loss is forgotten"
    whole = losses.of_window(DECISIONS, 0, 2_000_000, complete_at_ms=2_000_000, horizon_ms=0)
    assert sum(rows.records or 0 for rows in whole) == len(spans)


CONFIG = parse_config(
    """
    [defaults]
    windows = ["1h"]
    maturity = ["1h"]
    label_horizon = "4h"
    last_n = [5]
    detection_window = "1h"
    reference = "2h"
    """
)


def run_with(*spans: LostSpan, restarting: bool = False) -> MeasureRun:
    """Twelve hours of predictions with a truth after 30 minutes each; the spans come first."""
    calls = [
        Call(
            START + minute * MINUTE,
            "+" if minute % 2 else "-",
            score=minute % 100 / 100,
            changes=((30 * MINUTE, "yes"),),
            key=minute,
        )
        for minute in range(0, 12 * 60, 3)
    ]
    running = MeasureRun(CONFIG, restarting=restarting, registry=True)
    if spans:
        running.call({WINDOW_PARTIALS: list(spans)})
    stream = moments(calls, CONFIG)
    for hour in range(14):
        part = [moment for moment in stream if hour == (moment.at - START) // HOUR]
        running.feed(part, upto=START + (hour + 1) * HOUR)
    running.feed([], upto=START + 3 * DAY)
    return running


@pytest.mark.parametrize("restarting", [False, True])
def test_records_of_the_windows_concerned_name_the_loss_and_are_the_same_otherwise(
    restarting: bool,
) -> None:
    first, last = START + 5 * HOUR + MINUTE, START + 5 * HOUR + 40 * MINUTE
    running = run_with(span(PREDICTIONS, first, last), restarting=restarting)
    whole = run_with()
    expected = lost(PREDICTIONS, first, last)
    hours = {
        lane: sorted(
            {
                (record.window_start_ms - START) // HOUR
                for record in running.of(METRICS)
                if record.lane == lane and record.losses and record.kind == "tumbling"
            }
        )
        for lane in ("traffic", "decisions", "arrivals")
    }
    # Truths of that hour come up to four hours later: until 9:40.
    assert hours == {"traffic": [5], "decisions": [5], "arrivals": [5, 6, 7, 8, 9]}
    assert {tuple(record.losses) for record in running.of(METRICS)} == {(), (expected,)}
    histograms = [h for h in running.of(HISTOGRAMS) if h.losses]
    assert [(h.window_start_ms, h.maturity) for h in histograms] == [
        (START + 5 * HOUR, "1h"),
        (START + 5 * HOUR, "4h"),
    ]
    drift = {(d.window_start_ms - START) // HOUR: tuple(d.losses) for d in running.of(DRIFT)}
    assert drift[5] == (expected,)
    assert set(drift) > {4, 5, 6}
    assert not any(drift[hour] for hour in drift if hour != 5)
    for topic in (METRICS, HISTOGRAMS, DRIFT):
        without = [msgspec.structs.replace(record, losses=[]) for record in running.of(topic)]
        assert without == whole.of(topic)


def test_windows_without_an_end_are_marked_from_the_loss_on() -> None:
    first = START + 5 * HOUR
    running = run_with(span(PREDICTIONS, first, first + MINUTE))
    since = [r for r in running.of(METRICS) if r.kind == "since_deployment"]
    assert since
    assert all(bool(record.losses) == (record.window_end_ms > first) for record in since)
    newest = [r for r in running.of(METRICS) if r.kind == "last_n"]
    assert any(record.losses for record in newest)
    for record in newest:
        # Truths of the lost minute are known until four hours after it.
        reaches = record.window_end_ms > first
        is_over = record.window_start_ms > first + MINUTE + 4 * HOUR
        assert bool(record.losses) == (reaches and not is_over)


#   hour        0       1       2       3       4       5       6
#   reference   [---------------)                                  2 h
#   baselines                   -      1h                      4h  complete at
@pytest.mark.parametrize("restarting", [False, True])
@pytest.mark.parametrize(
    ("topic", "minute", "facts"),
    [
        (PREDICTIONS, 70, {"reference", "-", "1h", "4h"}),
        # The last minute of the span; the first one behind it.
        (PREDICTIONS, 119, {"reference", "-", "1h", "4h"}),
        (PREDICTIONS, 120, set()),
        # Traffic has no truths. Those known when a rung is complete are not lost.
        (GROUND_TRUTH, 70, {"1h", "4h"}),
        (GROUND_TRUTH, 179, {"1h", "4h"}),
        (GROUND_TRUTH, 180, {"4h"}),
        (GROUND_TRUTH, 359, {"4h"}),
        (GROUND_TRUTH, 360, set()),
        (WINDOW_PARTIALS, 70, {"reference", "-", "1h", "4h"}),
        (WINDOW_PARTIALS, 180, {"4h"}),
    ],
)
def test_a_reference_and_baselines_of_a_span_that_may_lack_rows_name_the_loss(
    topic: str, minute: int, facts: set[str], restarting: bool
) -> None:
    at = START + minute * MINUTE
    running, whole = run_with(span(topic, at, at), restarting=restarting), run_with()
    marked_facts = set()
    for command in running.of(REGISTRY_COMMANDS):
        if "losses" in command.params:
            marked_facts.add(command.params.get("maturity", "reference"))
            assert command.params["losses"] == [to_plain(lost(topic, at, at))]
    assert marked_facts == facts
    recorded = [
        msgspec.structs.replace(
            command, params={k: v for k, v in command.params.items() if k != "losses"}
        )
        for command in running.of(REGISTRY_COMMANDS)
    ]
    assert recorded == whole.of(REGISTRY_COMMANDS)
    # The drift of all windows is judged against that reference.
    expected = [lost(topic, at, at)] if "reference" in facts else []
    judged = running.of(DRIFT)
    assert judged
    assert all(drift.reference_losses == expected for drift in judged)
