"""Open windows are shown at every interval while there is time to spare, and hardly while there is
none.
"""

from __future__ import annotations

from dataclasses import dataclass

from driftline.agents.kafka.stages.provisional_budget import ProvisionalBudget, ProvisionalTimer


@dataclass
class Clocks:
    """A monotonic clock, and the processor time used."""

    now: float = 0.0
    used: float = 0.0


def shown(
    *,
    cost: float,
    load: float,
    interval_ms: int | None = 100,
    tasks: int = 1,
    seconds: float = 60.0,
) -> tuple[int, float]:
    """How often tasks show windows that cost so many seconds, asking every 10 ms of a process with
    another load; and the share spent.
    """
    clocks, times, spent = Clocks(), 0, 0.0
    budget = ProvisionalBudget(clock=lambda: clocks.now, busy=lambda: clocks.used)
    timers = [
        ProvisionalTimer(interval_ms, budget, clock=lambda: clocks.now, spent=lambda: clocks.used)
        for _ in range(tasks)
    ]
    while clocks.now < seconds:
        clocks.now += 0.01
        clocks.used += 0.01 * load
        for timer in timers:
            if timer.due():
                begun = timer.begin()
                clocks.used += cost
                timer.end(begun)
                times, spent = times + 1, spent + cost
    return times, spent / clocks.now


def test_provisional_figures_at_every_interval_of_an_idle_process() -> None:
    times, share = shown(cost=0.003, load=0.3)
    assert 540 <= times <= 601
    assert share < 0.04


def test_provisional_figures_take_at_most_their_share_of_the_time() -> None:
    for cost in (0.02, 0.2, 2.0):
        _, share = shown(cost=cost, load=0.0)
        assert share < 0.2, cost


def test_all_tasks_of_a_process_share_the_budget() -> None:
    _, share = shown(cost=0.02, load=0.0, tasks=8)
    assert share < 0.2


def test_hardly_any_provisional_figures_while_a_backlog_takes_the_whole_core() -> None:
    times, share = shown(cost=0.003, load=1.0)
    assert times > 60, "but it does go on"
    assert share < 0.02


def test_no_provisional_figures_where_they_are_disabled() -> None:
    assert shown(cost=0.001, load=0.0, interval_ms=None) == (0, 0.0)
