"""The mirror in Redis of a real broker: whatever happens to Redis, what is served is right or says
that it is old, and afterwards the mirror holds what the topics hold.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer
from redis import Redis
from redis.exceptions import RedisError

import driftline
from driftline.agents.cli.program import driftline as program
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.topics import create
from driftline.agents.kafka.mirror.mirroring import Mirroring
from driftline.agents.kafka.mirror.rebuild import check, rebuild
from driftline.agents.mirror.mirror import mirror_of
from driftline.agents.worker import rights
from driftline.agents.worker.rights import TOPIC, Right
from driftline.schemas.config import parse_config
from driftline.schemas.results import Alert, ModelLabels, RegistryEntry, WindowFigures, encode
from driftline.schemas.topics import ALERTS, METRICS, MODEL_LABELS, REGISTRY
from driftline.streams.hashing import partitions_of
from tests.kafka.brokers import Names
from tests.kafka.test_export import until_ended
from tests.kafka.worker_process import WorkerProcess
from tests.redis.records import alert, entry, expected, figures, labels
from tests.redis_server import RedisProcess, need_redis_server

pytestmark = [pytest.mark.kafka, pytest.mark.redis]

KAFKA = "input_partitions = 1\npartitions = 2"
PATIENCE_S = 60.0
Record = RegistryEntry | ModelLabels | WindowFigures | Alert
TOPICS = {
    RegistryEntry: REGISTRY,
    ModelLabels: MODEL_LABELS,
    WindowFigures: METRICS,
    Alert: ALERTS,
}
HOSTILE = "<script>‮\x1b[31m*?[a]:/%" + 10_000 * "n"


class Written:
    """The topics of a test, and all records that were committed to them."""

    def __init__(self, names: Names, redis_toml: str) -> None:
        self.names = names
        self.toml = names.toml(redis_toml, kafka=KAFKA)
        self.connection: Connection = names.connection(redis_toml, kafka=KAFKA)
        create(self.connection)
        self.records: dict[type, list[Any]] = {type_: [] for type_ in TOPICS}
        self._producer = Producer(
            {"bootstrap.servers": names.servers, "transactional.id": f"{names.app}-writer"}
        )
        self._producer.init_transactions(30)

    def write(self, *records: Record, aborted: bool = False) -> None:
        """Write records in one transaction, as a worker does."""
        self._producer.begin_transaction()
        for record in records:
            (partition,) = partitions_of([record.model_name.encode()], 2)
            self._producer.produce(
                self.connection.name(TOPICS[type(record)]),
                encode(record),
                key=record.key().encode(),
                partition=int(partition),
                headers={"ce_source": f"/{self.names.app}/stage".encode()},
            )
        self._producer.flush(30)
        if aborted:
            self._producer.abort_transaction(30)
            return
        self._producer.commit_transaction(30)
        # All topics: a partition of a new one may not have its leader yet.
        for topic in TOPICS.values():
            until_ended(self.names, self.connection.name(topic))
        for record in records:
            self.records[type(record)].append(record)

    def expected(self, prefix: str) -> dict[str, dict[str, str]]:
        """The hashes that they ask for, by plain code."""
        return expected(prefix, *(self.records[type_] for type_ in TOPICS))


def hashes(client: Redis, prefix: str) -> dict[str, Any]:
    """All hashes of a mirror, read by a plain client; a key of another type by its type."""
    found: dict[str, Any] = {}
    for key in client.scan_iter(f"{prefix}:*"):
        kind = key.split(":")[1]
        if kind in ("model", "version", "figures", "alerts"):
            type_ = client.type(key)
            found[key] = client.hgetall(key) if type_ == "hash" else type_
    return found


def until(condition: Callable[[], bool], otherwise: Callable[[], object]) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends, otherwise()
        time.sleep(0.05)


def until_equal(written: Written, client: Redis, prefix: str) -> None:
    wanted = written.expected(prefix)

    def found() -> dict[str, Any]:
        try:
            return hashes(client, prefix)
        except RedisError as error:
            return {"error": error}

    def difference() -> object:
        there = found()
        return {
            key: (wanted.get(key), there.get(key))
            for key in {*wanted, *there}
            if wanted.get(key) != there.get(key)
        }

    until(lambda: found() == wanted, difference)


class Step:
    """The step of a worker on a thread of the test."""

    def __init__(self, connection: Connection) -> None:
        self.mirroring = Mirroring(connection, mirror_of(connection.config), audit_s=0.5)
        self._ended = threading.Event()
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Step:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            self.mirroring.run(self._ended.is_set)
        except BaseException as error:
            self.failure = error


@pytest.fixture
def written(names: Names, own_redis: RedisProcess) -> Written:
    return Written(names, f'[redis]\nurl = "{own_redis.url}"\nprefix = "p"\ntimeout = "200ms"')


@pytest.fixture
def client(own_redis: RedisProcess) -> Iterator[Redis]:
    with Redis.from_url(own_redis.url, decode_responses=True) as opened:
        yield opened


@pytest.fixture
def step(written: Written) -> Iterator[Step]:
    started = Step(written.connection).start()
    yield started
    started.stop()


def first_records() -> list[Record]:
    return [
        entry(
            "churn",
            "1",
            1,
            stage="production",
            threshold=0.4,
            baselines={"1d": {"metrics": {"f1": 0.7}}},
        ),
        entry(HOSTILE, "1", 1, stage="production", configuration={"a": [1, None]}),
        labels("churn", 2, "yes"),
        *(figures(window=window, value=0.5) for window in (3, 4, 2)),
        figures(HOSTILE, HOSTILE, segment=f"{HOSTILE}=x"),
        figures(window=9, provisional=True),
        alert("churn", "low"),
        alert("churn", "gone"),
        alert("churn", "gone", is_open=False),
        alert(HOSTILE, HOSTILE),
    ]


def promotion(revision: int, old: str, new: str) -> list[Record]:
    """A transaction that promotes a version."""
    return [
        entry("churn", old, revision, stage="archived", threshold=0.4),
        entry("churn", new, revision, stage="production", threshold=revision / 100),
    ]


def kill(own: RedisProcess, client: Redis) -> Callable[[], object]:
    own.kill()
    return own.start


def flush(own: RedisProcess, client: Redis) -> Callable[[], object]:
    client.flushall()
    return lambda: None


def pause(own: RedisProcess, client: Redis) -> Callable[[], object]:
    client.execute_command("CLIENT", "PAUSE", "1500", "ALL")
    return lambda: time.sleep(1.5)


def other_types(own: RedisProcess, client: Redis) -> Callable[[], object]:
    for key in list(client.scan_iter("p:*")):
        client.delete(key)
        client.lpush(key, "x")
    return lambda: None


def other_values(own: RedisProcess, client: Redis) -> Callable[[], object]:
    client.delete("p:model:churn", "p:figures:churn/1/all/decisions/1h/1d")
    client.hset("p:alerts:churn", "low", "{")
    client.hset("p:version:churn/1", "baselines", "{")
    client.set("p:unknown", "x")
    return lambda: None


def no_memory(own: RedisProcess, client: Redis) -> Callable[[], object]:
    client.config_set("maxmemory", "1")
    client.flushall()
    return lambda: client.config_set("maxmemory", "0")


def password(own: RedisProcess, client: Redis) -> Callable[[], object]:
    client.config_set("requirepass", "hunter2")
    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def back() -> None:
        client.config_set("requirepass", "")

    return back


FAULTS = (kill, flush, pause, other_types, other_values, no_memory, password)


def test_through_every_fault_served_answers_are_right_or_old_and_the_mirror_is_equal_afterwards(
    written: Written, own_redis: RedisProcess, client: Redis, step: Step
) -> None:
    written.write(*first_records())
    until_equal(written, client, "p")
    until(lambda: step.mirroring.problem is None, lambda: step.mirroring.problem)
    with driftline.serving(written.connection.config) as reads:
        version, revision = 1, 2
        for fault in FAULTS:
            before = reads.model("churn")
            assert before.value is not None, fault
            assert (before.value.champion, before.is_last_known) == (str(version), False), fault
            back = fault(own_redis, client)
            written.write(*promotion(revision + 1, str(version), str(version + 1)))
            written.write(alert("churn", fault.__name__), figures(window=10 + revision))
            written.write(alert("churn", "never"), aborted=True)
            # Whatever is there now: the old state, said to be old or not yet known to be, or the
            # new one; never a half, never nothing.
            for _ in range(20):
                answer = reads.model("churn")
                assert answer.value is not None, fault
                assert answer.value.champion in (str(version), str(version + 1)), fault
                if answer.value.champion == str(version):
                    assert answer.value.threshold == (0.4 if version == 1 else revision / 100)
                    assert answer.age_s is not None
                else:
                    assert answer.value.threshold == (revision + 1) / 100
                time.sleep(0.02)
            back()
            version, revision = version + 1, revision + 1
            until_equal(written, client, "p")
            until(lambda: step.mirroring.problem is None, lambda: step.mirroring.problem)
            until(lambda: not reads.model("churn").is_last_known, lambda: reads.model("churn"))
        assert reads.counts.last_known > 0
    checked = check(written.connection, mirror_of(written.connection.config))
    assert (checked.differences, checked.behind) == ([], 0)


def test_a_restart_goes_on_where_redis_is_and_an_old_copy_of_redis_is_brought_up_to_date(
    written: Written, own_redis: RedisProcess, client: Redis
) -> None:
    step = Step(written.connection).start()
    written.write(*first_records())
    until_equal(written, client, "p")
    client.save()
    step.stop()
    old = Path(client.config_get("dir")["dir"]) / "dump.rdb"
    saved = old.read_bytes()
    first = client.hget("p:mirror", "rebuilt_at_ms")

    written.write(*promotion(3, "1", "2"), figures(window=20), alert("churn", "low", is_open=False))
    step = Step(written.connection).start()
    until_equal(written, client, "p")
    assert client.hget("p:mirror", "rebuilt_at_ms") == first, "it was made anew, not gone on with"

    own_redis.kill()
    old.write_bytes(saved)
    own_redis.start()
    until_equal(written, client, "p")
    step.stop()


def test_two_workers_at_once_and_one_that_was_frozen_do_no_harm(
    written: Written, client: Redis
) -> None:
    written.write(*first_records())
    steps = [Step(written.connection).start() for _ in range(2)]
    until_equal(written, client, "p")
    for revision in range(3, 8):
        written.write(*promotion(revision, str(revision - 2), str(revision - 1)))
        written.write(figures(window=revision), alert("churn", "low", is_open=revision % 2 == 0))
    until_equal(written, client, "p")
    for step in steps:
        step.stop()
    until_equal(written, client, "p")


def test_the_verbs_rebuild_and_check(written: Written, client: Redis, tmp_path: Path) -> None:
    config = tmp_path / "driftline.toml"
    config.write_text(written.toml, encoding="utf-8")
    written.write(*first_records())

    def run(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(program, ["redis", *words, "--config", str(config)])
        return result.exit_code, result.output

    code, said = run("check")
    assert code == 1
    assert "records behind the topics" in said
    assert "driftline redis rebuild" in said
    client.set("p:model:churn", "in the way")
    assert run("rebuild")[0] == 0
    assert hashes(client, "p") == written.expected("p")
    code, said = run("check")
    assert (code, said.count("are as on the topics")) == (0, 1)
    assert json.loads(run("check", "--json")[1])["equal"] is True

    client.hset("p:model:churn", "threshold", "0.9")
    client.delete("p:version:churn/1")
    client.hset("p:alerts:other\x1b[31m", "x", "{}")
    code, said = run("check")
    assert code == 1
    assert "\x1b" not in said
    document = json.loads(run("check", "--json")[1])
    assert [(each["key"], each["field"]) for each in document["differences"]] == [
        ("p:alerts:other\x1b[31m", None),
        ("p:model:churn", "threshold"),
        ("p:version:churn/1", None),
    ]
    assert (document["differences"][1]["expected"], document["differences"][1]["found"]) == (
        "0.4",
        "0.9",
    )
    assert json.loads(run("rebuild", "--json")[1])["keys"] == len(written.expected("p"))
    assert run("check")[0] == 0


def test_readers_see_the_old_mirror_or_the_new_one_while_it_is_made_anew(
    written: Written, own_redis: RedisProcess
) -> None:
    written.write(*first_records())
    mirror = mirror_of(written.connection.config)
    rebuild(written.connection, mirror).topics.close()
    ended = threading.Event()
    seen: list[str] = []

    def look() -> None:
        with Redis.from_url(own_redis.url, decode_responses=True) as own:
            while not ended.is_set():
                pipe = own.pipeline(transaction=True)
                pipe.hget("p:model:churn", "champion")
                pipe.hgetall("p:figures:churn/1/all/decisions/1h/1d")
                pipe.exists("p:mirror", "p:alerts:churn", "p:version:churn/1")
                champion, of_series, count = pipe.execute()
                seen.append(f"{champion} {of_series.get('window_start_ms')} {count}")

    looking = threading.Thread(target=look)
    looking.start()
    for _ in range(5):
        rebuild(written.connection, mirror).topics.close()
    ended.set()
    looking.join()
    assert len(seen) > 20
    assert set(seen) == {f"1 {4 * 3_600_000} 3"}


def test_a_worker_counts_on_without_redis_and_says_so(names: Names, tmp_path: Path) -> None:
    need_redis_server()
    own = RedisProcess(tmp_path / "redis")
    written = Written(names, f'[redis]\nurl = "{own.url}"\nprefix = "p"')
    worker = WorkerProcess(tmp_path, written.toml)
    try:
        worker.start().until_ready()
        worker.until(
            lambda: any("cannot be reached" in text for text in worker.readiness()["warnings"]),
            "does not say that Redis is away",
        )
        assert metric(worker, "driftline_redis_up") == 0
        written.write(*first_records())
        own.start()
        with Redis.from_url(own.url, decode_responses=True) as client:
            until_equal(written, client, "p")
            worker.until(lambda: metric(worker, "driftline_redis_up") == 1, "is not up")
        assert worker.readiness()["warnings"] == []
        assert metric(worker, 'driftline_redis_faults_total{reason="away"}') >= 1
        assert metric(worker, "driftline_redis_confirmed_age_seconds") < 60
        worker.terminate()
        assert "Traceback" not in worker.read_log()
    finally:
        worker.kill()
        own.kill()


def metric(worker: WorkerProcess, name: str) -> float:
    """A sample of /metrics."""
    lines = worker.get("/metrics")[1].splitlines()
    (value,) = (line.rpartition(" ")[2] for line in lines if line.startswith(f"{name} "))
    return float(value)


def test_a_worker_that_mirrors_needs_to_read_the_mirrored_topics() -> None:
    with_redis = Connection(parse_config('[redis]\nurl = "redis://localhost"'))
    without = Connection(parse_config(""))
    more = set(rights.needed(with_redis)) - set(rights.needed(without))
    assert more == {
        Right(TOPIC, name, "Read") for name in (REGISTRY, MODEL_LABELS, METRICS, ALERTS)
    }
