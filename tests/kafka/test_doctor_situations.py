"""`driftline doctor` finds, in one run, whatever keeps rows from being read or counted, and says
what to do.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import TopicPartition
from confluent_kafka.admin import NewPartitions

from driftline.agents.cli.program import driftline
from driftline.agents.kafka.broker import ownership, topics
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.ownership import Ownership
from driftline.agents.kafka.broker.ranges import offset_ranges
from driftline.agents.kafka.tools.dead_letters import Selection, letters, send_again
from driftline.agents.kafka.tools.finish import finish
from driftline.agents.kafka.tools.lag import lag
from driftline.agents.worker import rights
from driftline.agents.worker.rights import GROUP, TOPIC, TRANSACTIONAL_ID, Right
from tests.kafka.guarded import Guarded, wait_for_rights
from tests.kafka.pairs import member_of, send_pairs
from tests.kafka.worker_process import WorkerProcess

pytestmark = pytest.mark.kafka

WALL = 'clock = "wall"'
PAIRS, INVALID, SENT_AGAIN = 60, 30, 2
Findings = list[dict[str, Any]]


def test_a_sound_program_has_no_problem(guarded: Guarded, tmp_path: Path) -> None:
    connection = guarded.free("sound")
    worker = WorkerProcess(tmp_path, guarded.free_toml("sound")).start()
    try:
        worker.until_ready()
        send_pairs(connection, range(PAIRS))
        worker.until(lambda: lag(connection, "join") == 0, "does not read its inputs")
        finish(connection, connection.config, timeout_s=60.0)
        worker.terminate()
    finally:
        worker.kill()
    code, findings = _doctor(tmp_path, guarded.free_toml("sound"))
    assert [finding for finding in findings if finding["level"] == "problem"] == []
    assert code == 0
    assert {finding["check"] for finding in findings if finding["level"] == "ok"} >= {
        "broker",
        "rights",
        "topics",
        "program",
        "inputs",
        "workers",
        "clock",
        "input",
    }
    assert not {"former programs", "dead letters"} & {finding["check"] for finding in findings}


def test_all_situations_are_found_in_one_run(
    guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "STARTING_S", 0.0)
    monkeypatch.setattr(ownership, "LEAVING_S", 0.0)
    former, connection, next_owner = (
        guarded.free(app, run=WALL, prefix="sit") for app in ("old", "own", "new")
    )
    Ownership(former).take()
    Ownership(connection).take()
    _read_rows(guarded, connection, tmp_path)
    _send_some_again(connection)
    Ownership(next_owner).take()
    _delete_unread(connection, "sit.ground-truth")
    _make_anew(connection, "sit.predictions")
    admin = guarded.admin
    admin.create_partitions([NewPartitions("sit.ground-truth", 4)])["sit.ground-truth"].result()
    ann = guarded.ann("own", run=WALL, prefix="sit")
    lost = Right(TOPIC, "sit.predictions.dlq", "Write")
    _grant(guarded, ann, lost)
    real = time.time_ns
    with ExitStack() as held:
        held.enter_context(closing(member_of(connection, "sit.own-join", "sit.alerts")))
        held.enter_context(closing(member_of(connection, "sit.other-join", "sit.predictions")))
        with monkeypatch.context() as shifted:
            shifted.setattr(time, "time_ns", lambda: real() + 7_200 * 10**9)
            code, findings = _doctor(tmp_path, guarded.toml("own", run=WALL, prefix="sit"))

    assert code == 1
    assert all(finding["remedy"] for finding in findings if finding["level"] == "problem")

    def messages(check: str, level: str = "problem") -> list[str]:
        return [
            finding["message"]
            for finding in findings
            if (finding["check"], finding["level"]) == (check, level)
        ]

    assert messages("rights") == [f"the login ann lacks {lost}"]
    retry = "\n".join(messages("dead letters", "note"))
    for right in (
        Right(TOPIC, "sit.predictions", "Write"),
        Right(TOPIC, "sit.ground-truth", "Write"),
        Right(TRANSACTIONAL_ID, "sit.own-dlq", "Write"),
    ):
        assert f"lacks {right}, which driftline dlq retry needs" in retry
    assert messages("topics") == [
        "topic sit.ground-truth has 4 partitions, but kafka.input_partitions = 2"
    ]
    given_up, member, reader = messages("program")
    assert 'program "own" has given up the results' in given_up
    assert 'program "new"' in given_up
    assert "group sit.own-join has a member of another program" in member
    assert "that reads sit.alerts" in member
    assert reader == "group sit.other-join of another program reads sit.predictions"
    (old,) = messages("former programs", "note")
    assert 'program "old" wrote the results before' in old
    assert "sit.old-join-changelog, " in f"{old}, "
    inputs = messages("inputs")
    assert len(inputs) == 4
    for partition in (0, 1):
        (anew,) = (text for text in inputs if f"sit.predictions[{partition}]" in text)
        assert "was deleted and created anew" in anew
        (deleted,) = (text for text in inputs if f"sit.ground-truth[{partition}]" in text)
        assert "were deleted before they were read" in deleted
    (clock,) = messages("clock")
    assert "7,200.0 s ahead of the broker's" in clock or "7,199.9 s ahead" in clock
    (not_counted,) = messages("input")
    assert f"{INVALID - SENT_AGAIN} rows of predictions not counted" in not_counted
    assert "not_json" in not_counted
    assert any(
        f"{SENT_AGAIN} dead letters of predictions have been sent again" in text
        for text in messages("input", "note")
    )
    assert messages("broker") == []


def _doctor(folder: Path, toml: str) -> tuple[int, Findings]:
    config = folder / "doctor.toml"
    config.write_text(toml)
    words = ["doctor", "--json", "--config", str(config), "--out", str(folder / "none")]
    done = CliRunner().invoke(driftline, words)
    return done.exit_code, json.loads(done.stdout)


def _read_rows(guarded: Guarded, connection: Connection, folder: Path) -> None:
    """Let a worker read pairs and invalid predictions, and end it."""
    worker = WorkerProcess(folder, guarded.free_toml("own", run=WALL, prefix="sit")).start()
    try:
        worker.until_ready()
        send_pairs(connection, range(PAIRS))
        producer = connection.producer()
        for number in range(INVALID):
            producer.produce("sit.predictions", b"{", f"bad{number}")
        assert producer.flush(30) == 0
        worker.until(lambda: lag(connection, "join") == 0, "does not read its inputs")
        worker.terminate()
    finally:
        worker.kill()


def _send_some_again(connection: Connection) -> None:
    found = list(letters(connection, Selection(topics=("predictions",))))
    assert len(found) == INVALID
    partition = max((0, 1), key=lambda part: sum(letter.at[0] == part for letter in found))
    places = sorted(letter.at[1] for letter in found if letter.at[0] == partition)
    chosen = Selection(
        topics=("predictions",),
        partition=partition,
        first=places[0],
        last=places[SENT_AGAIN - 1],
    )
    assert send_again(connection, chosen).sent == {"predictions": SENT_AGAIN}


def _delete_unread(connection: Connection, topic: str) -> None:
    """Write rows that no worker reads, and delete all rows of the topic."""
    send_pairs(connection, range(PAIRS, 2 * PAIRS))
    ends = {
        TopicPartition(topic, part.partition, part.end)
        for part in offset_ranges(connection, ["ground-truth"])["ground-truth"]
    }
    admin = connection.admin()  # must live until the answers are there
    for answer in admin.delete_records(list(ends)).values():
        answer.result()


def _make_anew(connection: Connection, topic: str) -> None:
    admin = connection.admin()  # must live until the answer is there
    admin.delete_topics([topic], operation_timeout=30)[topic].result()
    ends = time.monotonic() + 30
    while not topics.create(connection) and time.monotonic() < ends:
        time.sleep(0.2)


def _grant(guarded: Guarded, ann: Connection, without: Right) -> None:
    """Grant ann the rights of a worker but one, and those to see what doctor shows."""
    letters_of = ("predictions", "ground-truth", "registry-commands", "own-ticks")
    readable = [f"sit.{name}.dlq" for name in (*letters_of, "own-window-partials")]
    seen = [
        Right(GROUP, "sit.other-join", "Describe"),
        Right(TOPIC, "sit.old-join-changelog", "Describe"),
        *(Right(TOPIC, name, "Read") for name in (*readable, "sit.metrics")),
    ]
    guarded.grant(right for right in {*rights.needed(ann), *seen} if right != without)
    wait_for_rights(ann, [without])
