"""Letting time run on until every window is final: what is asked, which answers count, and what is
told while they are missing.
"""

from __future__ import annotations

import json

from driftline.agents.kafka.broker.outgoing import Outgoing
from driftline.agents.kafka.tools.finish import waited_for
from driftline.agents.kafka.tools.finish_protocol import Finish
from driftline.schemas.config import parse_config
from driftline.schemas.rows import TickRow
from driftline.schemas.times import DAY_MS, HOUR_MS, MINUTE_MS, format_time

CONFIG = parse_config("[kafka]\ninput_partitions = 2\npartitions = 3")
# Horizons of 30 and 7 days, the longest window of 7 days with its step of 1, a grace of 10 minutes,
# and two panes of an hour.
REST_MS = (30 + 7 + 7 + 1) * DAY_MS + 10 * MINUTE_MS + 2 * HOUR_MS
ENDED_MS = 1_000 * HOUR_MS


def values(requests: list[Outgoing]) -> dict[int | None, dict[str, str]]:
    assert {(request.topic, request.key) for request in requests} <= {
        ("ticks", b"0"),
        ("ticks", b"1"),
    }
    return {request.partition: json.loads(request.value or b"") for request in requests}


def told(
    finish: Finish,
    partition: int,
    reached_ms: int,
    *,
    before: bool = False,
    at_ms: int = 0,
    ended_ms: int | None = None,
) -> None:
    finish.note(
        partition,
        TickRow(timestamp_ms=at_ms, reached_ms=reached_ms, ended_ms=ended_ms, after={}),
        before=before,
    )


def both_told() -> Finish:
    finish = Finish(CONFIG)
    told(finish, 0, ENDED_MS - 5)
    told(finish, 1, ENDED_MS)
    return finish


def test_every_partition_is_asked_how_far_it_has_come_and_is_silent_until_it_says_so() -> None:
    finish = Finish(CONFIG)
    assert values(finish.ask()) == {
        partition: {"timestamp": "1970-01-01T00:00:00Z"} for partition in (0, 1)
    }
    assert finish.silent == [0, 1]
    told(finish, 1, ENDED_MS)
    assert finish.silent == [0]
    told(finish, 0, 0)
    assert finish.silent == []


def test_what_was_said_before_the_request_is_no_answer_and_a_tick_without_an_end_neither() -> None:
    finish = Finish(CONFIG)
    told(finish, 0, ENDED_MS, before=True)
    finish.note(0, TickRow(timestamp_ms=5))
    finish.note(0, TickRow(timestamp_ms=5, after={"predictions": 1}))
    assert finish.silent == [0, 1]


def test_time_runs_on_from_the_latest_that_any_partition_has_seen_to_the_end_of_all_waiting() -> (
    None
):
    finish = both_told()
    asked = values(finish.end())
    assert (finish.ended_ms, finish.end_ms) == (ENDED_MS, ENDED_MS + REST_MS)
    assert asked == {
        partition: {"timestamp": format_time(ENDED_MS + REST_MS), "ended": format_time(ENDED_MS)}
        for partition in (0, 1)
    }


def test_a_partition_whose_history_had_ended_before_counts_with_that_end() -> None:
    finish = Finish(CONFIG)
    told(finish, 0, ENDED_MS + REST_MS, ended_ms=ENDED_MS, at_ms=ENDED_MS + REST_MS)
    told(finish, 1, ENDED_MS - 1)
    finish.end()
    assert finish.ended_ms == ENDED_MS
    assert finish.silent == [1], "the other one is at the end of time already"


def test_it_is_over_when_all_have_advanced_and_every_later_task_has_announced_everything() -> None:
    finish = both_told()
    finish.end()
    end_ms = ENDED_MS + REST_MS
    assert (finish.silent, finish.unsettled) == ([0, 1], [0, 1, 2])
    told(finish, 0, ENDED_MS, at_ms=end_ms, ended_ms=ENDED_MS)
    told(finish, 1, ENDED_MS, at_ms=end_ms - 1, ended_ms=ENDED_MS)
    assert finish.silent == [1], "an answer to an earlier call, which did not go as far"
    told(finish, 1, ENDED_MS, at_ms=end_ms, ended_ms=ENDED_MS)
    for settled, at_ms in ((0, end_ms), (1, end_ms - 1), (1, end_ms), (1, end_ms - 2)):
        finish.note(0, TickRow(timestamp_ms=at_ms, settled=settled))
    assert (finish.silent, finish.unsettled) == ([], [2])
    # It may have been announced before this call: nothing more is to come.
    finish.note(0, TickRow(timestamp_ms=end_ms + 7, settled=2), before=True)
    assert finish.unsettled == []


def test_nothing_is_settled_before_the_end_is_known() -> None:
    finish = Finish(CONFIG)
    finish.note(0, TickRow(timestamp_ms=10**15, settled=0))
    assert finish.unsettled == [0, 1, 2]


def test_while_answers_are_missing_it_is_told_whose_and_what_they_have_not_read() -> None:
    finish = Finish(CONFIG)
    told(finish, 1, 0)
    unread = {
        ("predictions", 0): 1_200,
        ("ground-truth", 0): 3,
        ("ticks", 0): 0,
        ("predictions", 1): 7,
    }
    behind = "no answer for 20 s from stage 1, partitions 0; not read yet: 3 of ground-truth[0], 1,200 of predictions[0]"
    assert waited_for(finish, 20.0, unread) == behind
    assert "everything is read: they are at work on it, or being opened" in waited_for(
        finish, 20.0, {("ticks", 0): 0}
    )
    assert "how far they have read is not known" in waited_for(finish, 20.0, None)
    later = both_told()
    later.end()
    for partition in (0, 1):
        told(later, partition, ENDED_MS, at_ms=ENDED_MS + REST_MS, ended_ms=ENDED_MS)
    assert waited_for(later, 30.4, {}).startswith(
        "no answer for 30 s from stages 2 to 4, partitions 0, 1, 2; "
    )
