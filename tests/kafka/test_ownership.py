"""Programs on one broker are told apart, whoever made the topics first, or refused."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from driftline.agents.cli.program import driftline
from driftline.agents.doctor.broker import check_owner
from driftline.agents.kafka.broker import ownership, topics
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.ownership import (
    Claim,
    OwnedByAnother,
    OwnerMayRun,
    Ownership,
    owner_after,
)
from driftline.agents.kafka.tools.finish import FinishError, finish
from driftline.agents.kafka.tools.lag import lag
from driftline.schemas.config import parse_config
from tests.kafka.brokers import Names
from tests.kafka.pairs import member_of, send_pairs
from tests.kafka.worker_process import WorkerProcess

SMALL = "input_partitions = 2\npartitions = 2\nreplication_factor = 1\nsession_timeout = '6s'"
CLOCK = 'run.clock = "data"\ndefaults.windows = ["1h"]'
START_MS = 1_700_000_000_000 // 3_600_000 * 3_600_000


def program(names: Names, app: str, prefix: str | None = None) -> Names:
    """Another program on the broker, with the topic prefix of the test unless another is named."""
    other = Names(names.servers, app)
    other.prefix = names.prefix if prefix is None else prefix
    return other


def connected(names: Names) -> Connection:
    """A connection to the topics of a program, which exist."""
    connection = names.connection(CLOCK, kafka=SMALL)
    topics.create(connection)
    return connection


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether an owner runs is decided without a wait."""
    monkeypatch.setattr(ownership, "STARTING_S", 0.0)
    monkeypatch.setattr(ownership, "LEAVING_S", 0.0)


def test_names_of_what_belongs_to_one_program_hold_its_prefix_and_its_name() -> None:
    def connection(prefix: str, app: str) -> Connection:
        return Connection(parse_config(f'run.topic_prefix = "{prefix}"\nkafka.app = "{app}"'))

    own, default = connection("eu.", "fraud"), connection("", "driftline")
    assert own.group("join") == "eu.fraud-join"
    assert own.name("ticks") == "eu.fraud-ticks"
    assert own.name("window-partials.dlq") == "eu.fraud-window-partials.dlq"
    assert own.name("metrics") == "eu.metrics"
    assert (default.group("join"), default.name("ticks")) == ("driftline-join", "driftline-ticks")
    for to_broker in (own, default):
        for topic in topics.plan(to_broker.config):
            assert to_broker.bare(to_broker.name(topic.name)) == topic.name


def test_of_two_claims_that_replace_the_same_one_the_first_in_the_log_counts() -> None:
    def value(app: str, replaces: int) -> bytes:
        return ownership._encode(Claim(app=app, replaces=replaces, changelogs={}))

    claims = [(0, 1, value("a", -1)), (1, 2, value("b", -1)), (2, 3, b"?"), (5, 4, value("c", 0))]
    assert owner_after([]) is None
    first, last = owner_after(claims[:3]), owner_after(claims)
    assert first is not None
    assert last is not None
    assert (first.claim.app, first.offset, first.former) == ("a", 0, frozenset())
    assert (last.claim.app, last.offset, last.former) == ("c", 5, {"a"})


@pytest.mark.kafka
def test_results_are_taken_over_once_from_a_program_without_members(
    names: Names, at_once: None
) -> None:
    old, new = (Ownership(connected(program(names, f"{names.app}{n}"))) for n in (1, 2))
    old.take()
    old.take()
    assert old.conflict() is None
    assert "Stop the workers of" in str(new.conflict())
    new.take()
    assert new.conflict() is None
    owner = new.owner()
    assert owner is not None
    assert (owner.claim.app, owner.former) == (f"{names.app}2", {f"{names.app}1"})
    with pytest.raises(OwnedByAnother, match=f'"{names.app}1" has given up the results'):
        old.take()
    with pytest.raises(FinishError, match=f'kafka.app = "{names.app}2"'):
        connection = program(names, f"{names.app}1").connection(CLOCK, kafka=SMALL)
        finish(connection, connection.config, timeout_s=1)
    (found,) = check_owner(program(names, f"{names.app}1").connection(CLOCK, kafka=SMALL))
    assert found.level == "problem"


@pytest.mark.kafka
def test_a_program_without_members_may_be_starting(names: Names) -> None:
    old, new = (Ownership(connected(program(names, f"{names.app}{n}"))) for n in (1, 2))
    old.take()
    with pytest.raises(OwnerMayRun, match="it has no members; if it does not start"):
        new.take()


@pytest.mark.kafka
def test_a_changelog_that_was_created_anew_is_refused(names: Names, at_once: None) -> None:
    connection = connected(names)
    Ownership(connection).take()
    name = f"{names.prefix}{names.app}-join-changelog"
    admin = connection.admin()
    admin.delete_topics([name], operation_timeout=30)[name].result()
    ends = time.monotonic() + 30
    while not topics.create(connection) and time.monotonic() < ends:
        time.sleep(0.2)
    with pytest.raises(OwnedByAnother, match=f"changelog topic {name} was created anew"):
        Ownership(connection).take()
    (found,) = check_owner(connection)
    assert found.level == "problem"
    assert found.remedy.startswith("Give the program another kafka.app")


@pytest.mark.kafka
def test_a_program_whose_names_are_those_of_another_prefix_and_name_is_refused(
    names: Names,
) -> None:
    Ownership(connected(program(names, "fraud"))).take()
    nested = program(names, f"{names.prefix.removeprefix('t')}fraud", "t")
    try:
        with pytest.raises(OwnedByAnother, match='of program "fraud" with topic_prefix'):
            Ownership(connected(nested)).take()
    finally:
        connection = nested.connection(kafka=SMALL)
        made = [connection.name(topic.name) for topic in topics.plan(connection.config)]
        # The fixture deletes those that begin with the prefix of the test.
        rest = [name for name in made if not name.startswith(names.prefix)]
        for deleted in connection.admin().delete_topics(rest, request_timeout=10.0).values():
            deleted.exception()


@pytest.mark.kafka
def test_a_member_of_another_program_in_the_own_group_ends_the_start(
    names: Names, tmp_path: Path
) -> None:
    connection = connected(names)
    group = connection.group("join")
    with closing(member_of(connection, group, connection.name("alerts"))):
        worker = WorkerProcess(tmp_path, names.toml(CLOCK, kafka=SMALL)).start()
        assert worker.exit_code() == 78
        said = f"consumer group {group} has a member of another program"
        assert said in worker.read_log()
        assert f"that reads {connection.name('alerts')}" in worker.read_log()
        (found,) = check_owner(connection)
        assert (found.level, said in found.message) == ("problem", True)


@pytest.mark.kafka
def test_a_member_of_another_program_that_joins_while_a_worker_is_away_ends_the_worker(
    names: Names, tmp_path: Path
) -> None:
    connection = connected(names)
    alerts, group = connection.name("alerts"), connection.group("join")
    worker = WorkerProcess(tmp_path, names.toml(CLOCK, kafka=SMALL)).start().until_ready()
    try:
        os.kill(worker.pid, signal.SIGSTOP)
        # It can join once the session of the worker has expired.
        with closing(member_of(connection, group, alerts)) as consumer:
            os.kill(worker.pid, signal.SIGCONT)
            ends = time.monotonic() + 60
            while worker.is_running and time.monotonic() < ends:
                consumer.poll(0.1)
            assert worker.exit_code() == 78
    finally:
        worker.kill()
    assert f"consumer group {group} has a member of another program" in worker.read_log()
    assert "Traceback" not in worker.read_log()


@pytest.fixture
def workers(names: Names, tmp_path: Path) -> Iterator[dict[str, WorkerProcess]]:
    """Workers of two programs with the same prefix, which are not started."""
    both = {
        app: WorkerProcess(tmp_path, program(names, app).toml(CLOCK, kafka=SMALL), name=app)
        for app in (f"{names.app}1", f"{names.app}2")
    }
    yield both
    for worker in both.values():
        worker.kill()


@pytest.mark.kafka
def test_a_program_under_another_name_counts_each_prediction_once_and_the_old_one_ends(
    names: Names, tmp_path: Path, workers: dict[str, WorkerProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    (old_app, old), (new_app, new) = workers.items()
    before = connected(program(names, old_app))
    after = connected(program(names, new_app))
    old.start().until_ready()
    send_pairs(before, range(300), start_ms=START_MS, step_ms=60_000)
    old.until(lambda: _is_read(before), "has a lag")
    with monkeypatch.context() as context:
        context.setattr(ownership, "LEAVING_S", 0.0)
        with pytest.raises(OwnedByAnother, match=f'belong to program "{old_app}"'):
            Ownership(after).take()
    old.terminate()
    new.start().until_ready()
    assert "takes over the results" in new.read_log()
    new.until(lambda: _is_read(after), "has a lag")
    finish(after, after.config, timeout_s=60)
    assert old.start().exit_code() == 78
    assert f'program "{old_app}" has given up the results' in old.read_log()

    config, out = tmp_path / "new.toml", tmp_path / "exported"
    config.write_text(program(names, new_app).toml(CLOCK, kafka=SMALL))
    done = CliRunner().invoke(driftline, ["export", "--config", str(config), "--out", str(out)])
    assert done.exit_code == 0, done.output
    counts = {}
    for line in (out / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["final"] and (row["lane"], row["window"]) == ("decisions", "1h"):
            counts[row["window_start"]] = row["n_predictions"], row["n"]
    assert sum(predictions for predictions, _ in counts.values()) == 300
    assert sum(joined for _, joined in counts.values()) == 300


@pytest.mark.kafka
def test_a_paused_worker_of_a_former_owner_cannot_commit(names: Names, at_once: None) -> None:
    before, after = (connected(program(names, f"{names.app}{n}")) for n in (1, 2))
    Ownership(before).take()
    paused = before.producer(transactional_id=f"{before.group('downstream')}-1")
    paused.init_transactions(30)
    paused.begin_transaction()
    paused.produce(before.name("metrics"), b"{}", b"k", 0)
    Ownership(after).take()
    with pytest.raises(Exception, match=r"(?i)fenced"):
        paused.commit_transaction(30)


def _is_read(connection: Connection) -> bool:
    return [lag(connection, kind) for kind in ("join", "downstream")] == [0, 0]
