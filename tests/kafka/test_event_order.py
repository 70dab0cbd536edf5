"""The order in which records of several partitions are re-keyed; no broker is needed."""

from __future__ import annotations

import random

import pytest

from driftline.agents.kafka.rekey.event_order import HELD_S, EventOrder
from driftline.streams.log_order import merge_sources

MINUTE = 60_000
DAY = 1_440 * MINUTE
BEGIN = 1_700_000_000_000
Place = tuple[str, int]
A, B = ("predictions-source", 0), ("predictions-source", 1)


def order_of(*places: Place, held_s: float = 0.0) -> EventOrder[int]:
    return EventOrder(places, held_s=held_s)


def popped(order: EventOrder[int], most: int = 10_000, now_s: float = 100.0) -> list[int]:
    return [item for _, item in order.pop(most, now_s)]


def push(order: EventOrder[int], place: Place, *minutes: int, arrived_s: float = 0.0) -> None:
    for minute in minutes:
        order.push(place, BEGIN + minute * MINUTE, arrived_s, minute)


@pytest.mark.parametrize("misdated", [0.0, 0.02], ids=["well dated", "some misdated"])
@pytest.mark.parametrize("seed", range(20))
def test_a_backlog_comes_out_in_the_order_of_a_log_whatever_the_reads(
    seed: int, misdated: float
) -> None:
    draw = random.Random(seed)
    places = [("predictions-source", 0), ("predictions-source", 1), ("ground-truth-source", 0)]
    logs: dict[Place, list[tuple[int, int]]] = {}
    for place in places:
        at_ms, logs[place] = BEGIN + draw.randrange(3 * DAY), []
        for _ in range(draw.choice((0, draw.randrange(20, 150)))):
            at_ms += draw.randrange(30 * MINUTE)
            time_ms = at_ms + draw.choice((0, 0, 0, -5 * MINUTE))
            if draw.random() < misdated:
                time_ms += 300 * DAY
            logs[place].append((0 if draw.random() < 0.05 else time_ms, draw.getrandbits(60)))

    order, got = order_of(*places), []
    read = dict.fromkeys(places, 0)
    while not order.is_read:
        place = draw.choice(places)
        for time_ms, item in logs[place][read[place] : read[place] + draw.randrange(40)]:
            order.push(place, time_ms, 0.0, item)
            read[place] += 1
        if read[place] == len(logs[place]):
            order.note_end(place)
        got += popped(order, draw.randrange(1, 50))
    for log in logs.values():
        own = {item for _, item in log}
        assert [item for item in got if item in own] == [item for _, item in log]
    if not misdated:
        assert got == [item for _, item in merge_sources(logs.values())]


def test_rows_of_ordinary_partitions_are_merged_by_event_time() -> None:
    order = order_of(A, B)
    push(order, A, 1, 4, 5, 9)
    assert popped(order) == [], "nothing of B was read"
    push(order, B, 2, 3, 7)
    assert popped(order) == [1, 2, 3, 4, 5, 7], "the next row of B is not known"
    order.note_end(B)
    assert popped(order) == [9]
    assert not order.is_read
    order.note_end(A)
    assert order.is_read


def test_a_partition_read_to_its_end_is_not_waited_for_until_it_goes_on() -> None:
    order = order_of(A, B)
    order.note_end(B)
    push(order, A, 10, 11)
    assert popped(order) == [10, 11]
    push(order, B, 1)
    push(order, A, 12)
    assert popped(order) == [1], "B may have more"
    order.note_end(B)
    assert popped(order) == [12]


def test_under_the_data_clock_a_record_waits_a_moment_for_the_other_partitions() -> None:
    order = order_of(A, B, held_s=HELD_S)
    order.note_end(B)
    push(order, A, 10, arrived_s=50.0)
    assert popped(order, now_s=50.0 + HELD_S / 2) == []
    push(order, B, 3, arrived_s=50.1)
    order.note_end(B)
    assert popped(order, now_s=50.0 + HELD_S / 2) == [3]
    assert popped(order, now_s=50.0 + HELD_S) == [10]


def test_a_misdated_row_holds_its_partition_only_until_the_rows_after_it_show_it() -> None:
    order = order_of(A, B)
    push(order, A, *range(20), 400_000, *range(20, 30))
    push(order, B, *range(100, 130))
    assert popped(order) == [*range(20), 400_000, *range(20, 30)], "no row of A waits for B"


def test_no_more_than_asked_for_is_passed_on() -> None:
    order = order_of(A)
    push(order, A, *range(10))
    assert popped(order, 4) == [0, 1, 2, 3]
    assert order.waiting(A) == 6
