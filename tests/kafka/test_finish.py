"""Advancing time until all windows are final: requests, answers that count, and the message while
answers are missing.
"""

from __future__ import annotations

import json

from driftline.agents.kafka.broker.outgoing import Outgoing
from driftline.agents.kafka.tools.finish import missing_answers_message
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


def answer(
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


def both_answered() -> Finish:
    finish = Finish(CONFIG)
    answer(finish, 0, ENDED_MS - 5)
    answer(finish, 1, ENDED_MS)
    return finish


def test_a_partition_is_unanswered_until_it_reports_its_watermark() -> None:
    finish = Finish(CONFIG)
    assert values(finish.progress_requests()) == {
        partition: {"timestamp": "1970-01-01T00:00:00Z"} for partition in (0, 1)
    }
    assert finish.unanswered == [0, 1]
    answer(finish, 1, ENDED_MS)
    assert finish.unanswered == [0]
    answer(finish, 0, 0)
    assert finish.unanswered == []


def test_an_earlier_tick_and_a_tick_without_a_reached_time_are_no_answers() -> None:
    finish = Finish(CONFIG)
    answer(finish, 0, ENDED_MS, before=True)
    finish.note(0, TickRow(timestamp_ms=5))
    finish.note(0, TickRow(timestamp_ms=5, after={"predictions": 1}))
    assert finish.unanswered == [0, 1]


def test_time_advances_from_the_largest_watermark_to_the_end_of_all_horizons() -> None:
    finish = both_answered()
    asked = values(finish.end_requests())
    assert (finish.ended_ms, finish.end_ms) == (ENDED_MS, ENDED_MS + REST_MS)
    assert asked == {
        partition: {"timestamp": format_time(ENDED_MS + REST_MS), "ended": format_time(ENDED_MS)}
        for partition in (0, 1)
    }


def test_a_partition_whose_history_ended_before_counts_with_that_end() -> None:
    finish = Finish(CONFIG)
    answer(finish, 0, ENDED_MS + REST_MS, ended_ms=ENDED_MS, at_ms=ENDED_MS + REST_MS)
    answer(finish, 1, ENDED_MS - 1)
    finish.end_requests()
    assert finish.ended_ms == ENDED_MS
    assert finish.unanswered == [1], "the other one has reached the end of time"


def test_finish_ends_when_all_partitions_advanced_and_all_later_tasks_settled() -> None:
    finish = both_answered()
    finish.end_requests()
    end_ms = ENDED_MS + REST_MS
    assert (finish.unanswered, finish.unsettled) == ([0, 1], [0, 1, 2])
    answer(finish, 0, ENDED_MS, at_ms=end_ms, ended_ms=ENDED_MS)
    answer(finish, 1, ENDED_MS, at_ms=end_ms - 1, ended_ms=ENDED_MS)
    assert finish.unanswered == [1], "an answer to an earlier call with an earlier end"
    answer(finish, 1, ENDED_MS, at_ms=end_ms, ended_ms=ENDED_MS)
    for settled, at_ms in ((0, end_ms), (1, end_ms - 1), (1, end_ms), (1, end_ms - 2)):
        finish.note(0, TickRow(timestamp_ms=at_ms, settled=settled))
    assert (finish.unanswered, finish.unsettled) == ([], [2])
    # A report from before this call counts, because no further one follows.
    finish.note(0, TickRow(timestamp_ms=end_ms + 7, settled=2), before=True)
    assert finish.unsettled == []


def test_nothing_is_settled_before_the_end_is_known() -> None:
    finish = Finish(CONFIG)
    finish.note(0, TickRow(timestamp_ms=10**15, settled=0))
    assert finish.unsettled == [0, 1, 2]


def test_the_message_about_missing_answers_names_partitions_and_unread_records() -> None:
    finish = Finish(CONFIG)
    answer(finish, 1, 0)
    unread = {
        ("predictions", 0): 1_200,
        ("ground-truth", 0): 3,
        ("ticks", 0): 0,
        ("predictions", 1): 7,
    }
    behind = (
        "no answer for 20 s from stage 1, partitions 0; not read yet: 3 of ground-truth[0], "
        "1,200 of predictions[0]"
    )
    assert missing_answers_message(finish, 20.0, unread) == behind
    assert (
        "all records are read: the tasks are processing them or being opened"
        in missing_answers_message(finish, 20.0, {("ticks", 0): 0})
    )
    assert "their positions are not known" in missing_answers_message(finish, 20.0, None)
    later = both_answered()
    later.end_requests()
    for partition in (0, 1):
        answer(later, partition, ENDED_MS, at_ms=ENDED_MS + REST_MS, ended_ms=ENDED_MS)
    assert missing_answers_message(later, 30.4, {}).startswith(
        "no answer for 30 s from stages 2 to 4, partitions 0, 1, 2; "
    )
