"""Losses of partials until all partitions of stage 1 have sent watermarks. Needs no broker."""

from __future__ import annotations

import msgspec
import pytest

from driftline.agents.kafka.broker.input_logs import PositionFault
from driftline.agents.kafka.changelog.state_format import StateFormatError
from driftline.agents.kafka.stages.lost_partials import LostPartials
from driftline.agents.kafka.task.input_positions import Loss
from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.settings import Config
from driftline.schemas.topics import REGISTRY_COMMANDS, WINDOW_PARTIALS
from driftline.streams.measure.timing.frontier import Frontier
from driftline.streams.measure.timing.windows import Schedule
from driftline.streams.partial import LostSpan, Watermarks

HOUR = 3_600_000
TEN = PositionFault(WINDOW_PARTIALS, 2, 40, "deleted", "", "")


def frontier_at(hours: int) -> Frontier:
    """The frontier of two partitions of stage 1 with watermarks of this hour."""
    config = Config()
    frontier = Frontier(config, Schedule(config), MemoryState())
    for partition in (0, 1):
        frontier.note(Watermarks(partition, 2, hours * HOUR, hours * HOUR))
    frontier.begin(hours * HOUR)
    return frontier


def test_a_loss_is_open_until_each_partition_has_sent_watermarks() -> None:
    state, frontier = MemoryState(), frontier_at(100)
    begun_ms = min(frontier.edges_ms)
    lost = LostPartials(2, state)
    lost.note(Loss(WINDOW_PARTIALS, TEN, 50), frontier)

    def after(*values: Watermarks) -> list[LostSpan]:
        for value in values:
            frontier.note(value)
        # A new owner of the task goes on.
        return LostPartials(2, state).spans(values, frontier)

    assert after() == [LostSpan(WINDOW_PARTIALS, 2, 50, begun_ms, 100 * HOUR, 10)]
    (first,) = after(Watermarks(0, 2, 103 * HOUR, 102 * HOUR))
    (again,) = after(Watermarks(0, 2, 104 * HOUR, 104 * HOUR))
    (last,) = after(Watermarks(1, 2, 101 * HOUR, 105 * HOUR))
    assert [span.until_ms // HOUR for span in (first, again, last)] == [103, 104, 105]
    assert {span.resumed_at for span in (first, again, last)} == {50}
    assert after(Watermarks(1, 2, 120 * HOUR, 120 * HOUR)) == []
    assert state.values == {}


def test_lost_commands_are_no_counts() -> None:
    state, frontier = MemoryState(), frontier_at(100)
    lost = LostPartials(2, state)
    lost.note(Loss(REGISTRY_COMMANDS, TEN, 50), frontier)
    assert lost.spans((), frontier) == []


def test_losses_of_another_release_are_refused() -> None:
    state = MemoryState()
    LostPartials(2, state).note(Loss(WINDOW_PARTIALS, TEN, 50), frontier_at(100))
    ((key, value),) = state.values.items()
    state.put(key, msgspec.msgpack.encode((99, msgspec.msgpack.decode(value)[1])))
    with pytest.raises(StateFormatError, match="losses have format 99"):
        LostPartials(2, state)
