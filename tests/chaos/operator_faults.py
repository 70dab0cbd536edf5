"""Faults that operators and producers make: poison, a second program, a wrong clock, an input topic
made anew, partitions added.

In each, rows are counted exactly, or the worker says that they are not.
"""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import NewPartitions

from driftline.agents.kafka.broker.connection import LARGEST_RECORD, Connection
from driftline.agents.kafka.broker.ranges import MAX_BATCH_BYTES
from driftline.schemas.config import parse_config
from tests.chaos.copied_program import CopiedProgram
from tests.chaos.faults import LOOK_S, RECOVERS_S, Fault, FaultResult, NotSettled, Scene
from tests.chaos.losses import FormerTopic
from tests.chaos.programs import INPUT_PARTITIONS, PRODUCT, Program, create_topics
from tests.chaos.topics import ends_of, read_topic
from tests.chaos.workers import Worker
from tests.oracle.settings import Settings

ROWS = ("predictions", "ground-truth")
REFUSED = 78
UNUSABLE = 2
REFUSES_S = 90.0  # a program waits up to 20 s for the members of another one to leave
NOTICE_S = 30.0  # within which a worker knows of added partitions
SENDS_S = 120.0
READS_S = 1.0  # until the figures are read again
UNREAD_S = 2.0  # at least, of records that nobody has read when their topic is deleted
SHIFT_S = 7_200
CLOCK_ROWS = 300
CLOCK = """
[run]
topic_prefix = "{prefix}"
outcomes = true

[kafka]
bootstrap_servers = "{servers}"
worker_metrics = "off"
app = "{app}"
input_partitions = 1
partitions = 1
session_timeout = "6s"
"""
# The clock of a worker as Python sees it.
SHIFTED_TIME = """
import os, time
local, local_ns, seconds = time.time, time.time_ns, int(os.environ["CHAOS_SHIFT_S"])
time.time = lambda: local() + seconds
time.time_ns = lambda: local_ns() + seconds * 10**9
"""


def poison(scene: Scene) -> FaultResult:
    """Records that nobody can use, on both topics of rows: each must be put aside, and all else be
    counted.
    """
    busy, random = scene.busy(), scene.random
    names = [scene.program.connection.name(topic) for topic in ROWS]
    plain, zipped = (_producer(scene, compression) for compression in ("none", "zstd"))
    small = [
        None,
        b"",
        b"\xff\xfe{",
        b"{",
        b"[1]",
        b'{"prediction_id": "x"}',
        random.randbytes(200_000),
    ]
    sent = 0
    for name in names:
        for value in random.sample(small, len(small)):
            key = random.choice((None, b"poison"))
            plain.produce(name, value, key, random.randrange(INPUT_PARTITIONS))
            sent += 1
    # Of the limit itself; larger than it, but a few kB on the way; and too large to decompress.
    large = [
        (plain, random.randbytes(LARGEST_RECORD - 200)),
        (zipped, bytes(LARGEST_RECORD + 1_000_000)),
        (zipped, bytes(MAX_BATCH_BYTES + 1)),
    ]
    for producer, value in large:
        name = random.choice(names)
        producer.produce(name, value, b"large", random.randrange(INPUT_PARTITIONS))
        sent += 1
        left = producer.flush(SENDS_S)
        if left:
            scene.complaints.append(f"{left} poisoned records could not be sent")
    since = time.time()
    return FaultResult("poison", scene.recovery(since, busy), f"{sent} records")


def other_name(scene: Scene) -> FaultResult:
    """A second program with the same prefix and another name: it must end with 78, and the first
    one go on.

    It waits for the members of the first one to leave, so its end is checked later.
    """
    busy = scene.busy()
    program = _beside(scene, "other", scene.program.prefix)
    program.create_topics()
    worker = _worker("other", program.folder, program.configuration)
    scene.others.append(worker)
    worker.start()

    def check() -> None:
        ended = scene.fleet.wait(lambda: not worker.runs(), REFUSES_S)
        log = worker.log.read_text(encoding="utf-8", errors="replace")
        if not ended or worker.exit_code() != REFUSED:
            scene.complaints.append(
                f"a second program on the same results ended with {worker.exit_code()}, "
                f"not {REFUSED}: {worker.last_log_lines()}"
            )
        elif scene.program.app not in log or "Traceback" in log:
            scene.complaints.append(f"a second program was refused with: {worker.last_log_lines()}")
        worker.kill()
        if scene.recovery(time.time(), busy) is None:
            scene.complaints.append("the first program does not go on after the second one's end")

    scene.pending.append(check)
    return FaultResult("second program, same prefix", scene.recovery(time.time(), busy), "started")


def copied(scene: Scene) -> FaultResult:
    """A second program with a prefix of its own, on copies of the inputs: it runs beside the first
    one until the end of the round, and its figures are verified like those of the first one.
    """
    busy = scene.busy()
    program = _beside(scene, "copied", f"copy-{scene.program.prefix}")
    since = time.time()
    second = CopiedProgram(scene.program, program, PRODUCT)
    scene.beside.append(second)
    ready = scene.fleet.wait(lambda: bool(second.fleet.workers[0].ready_tasks()), RECOVERS_S)
    note = f"ready after {time.time() - since:.1f} s" if ready else "not ready"
    recovery = scene.recovery(time.time(), busy) if ready else None
    return FaultResult("second program, own prefix", recovery, note)


def shifted_clock(scene: Scene) -> FaultResult:
    """A worker by the wall clock whose clock is two hours behind or ahead: it is never ready, joins
    the rows of the present, and rejects none. Recovery is the time until it is ready with the right
    clock.
    """
    seconds = scene.random.choice((-SHIFT_S, SHIFT_S))
    name = f"clock{len(scene.results)}"
    folder = scene.program.folder / name
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SHIFTED_TIME, encoding="utf-8")
    toml = CLOCK.format(
        servers=scene.program.servers, prefix=f"{name}-{scene.program.prefix}", app=name
    )
    settings = folder / "driftline.toml"
    settings.write_text(toml, encoding="utf-8")
    create_topics(settings)
    connection = Connection(parse_config(toml), scene.program.servers)
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {"PYTHONPATH": path, "CHAOS_SHIFT_S": str(seconds)}
    worker = _worker(name, folder, toml, environment)
    seen: set[int] = set()

    def says_clock() -> bool:
        status, text = worker.health()
        seen.add(status)
        return status == 503 and "clock" in text

    def have_all_joined() -> bool:
        seen.add(worker.health()[0])
        return len(_records(connection, "outcomes")) >= CLOCK_ROWS

    worker.start()
    try:
        announced = scene.fleet.wait(says_clock, RECOVERS_S)
        _send_present(connection)
        joined = scene.fleet.wait(have_all_joined, RECOVERS_S)
        scene.end(worker)
        ids = [json.loads(value)["prediction_id"] for value in _records(connection, "outcomes")]
        rejected = {topic: len(_records(connection, f"{topic}.dlq")) for topic in ROWS}
        if not announced or 200 in seen:
            scene.complaints.append(f"a clock off by {seconds} s: health says {sorted(seen)}")
        if not joined or sorted(ids) != sorted({f"now-{i}" for i in range(CLOCK_ROWS)}):
            scene.complaints.append(
                f"a clock off by {seconds} s: {len(ids)} outcomes of {CLOCK_ROWS} predictions"
            )
        if any(rejected.values()):
            scene.complaints.append(f"a clock off by {seconds} s: rejected {rejected}")
        right = _worker(f"{name}-right", folder, toml)
        since = time.time()
        right.start()
        try:
            ready = scene.fleet.wait(lambda: bool(right.ready_tasks()), RECOVERS_S)
            recovery = round(time.time() - since, 3) if ready else None
        finally:
            scene.end(right)
    finally:
        worker.kill()
    return FaultResult(f"clock off by {seconds} s", recovery, f"{len(ids)} rows joined")


def made_anew(topic: str) -> Fault:
    """An input topic is deleted with unread records and made again, at most once in a round: the
    workers must end with 78 until they are resumed, and the figures that lack rows say so.
    """

    def fault(scene: Scene) -> FaultResult:
        scene.check_pending()
        busy = scene.busy()
        scene.settled()
        workers = scene.fleet.running()
        notes = [scene.end(worker) for worker in workers]
        scene.fleet.wait(lambda: False, UNREAD_S + scene.random.uniform(0.0, UNREAD_S))
        scene.load.pause(SENDS_S)
        _replace_topic(scene, topic)
        scene.load.resume()
        scene.fleet.options.clear()
        for worker in workers:
            worker.start()
            worker.wanted = False  # the supervisor must not restart it now
        scene.fleet.wait(lambda: not any(worker.runs() for worker in workers), REFUSES_S)
        for worker in workers:
            said = worker.last_log_lines()
            if worker.exit_code() != REFUSED or "created anew" not in said:
                scene.complaints.append(
                    f"{worker.name} ended with {worker.exit_code()} on a topic made anew: {said}"
                )
            worker.kill()
        # Partitions without records move their positions later, so the option stays.
        scene.fleet.options.extend(("--resume", "earliest"))
        since = time.time()
        for worker in workers:
            worker.start()
        note = " ".join(filter(None, notes))
        return FaultResult(f"{topic} made anew", scene.recovery(since, busy), note)

    return fault


def partitions_added(topic: str) -> Fault:
    """Partitions are added to an input topic after all of the load was sent: the workers are not
    ready within 30 s, `finish` refuses, and a restarted worker does not start.

    The last fault of a round, because no window can become final after it: it waits until figures
    with labels are complete at every rung. Recovery is the time until all workers say so.
    """

    def fault(scene: Scene) -> FaultResult:
        connection = scene.program.connection

        ends = time.monotonic() + RECOVERS_S
        while missing := _rungs_without_labels(scene.program):
            if time.monotonic() > ends:
                raise NotSettled(f"no figure with labels is complete at {', '.join(missing)}")
            scene.fleet.wait(lambda: False, READS_S)
        scene.load.finish(SENDS_S)
        scene.settled()
        name, count = connection.name(topic), INPUT_PARTITIONS + scene.random.randint(1, 3)
        admin = connection.admin()  # must live until its futures are done
        admin.create_partitions([NewPartitions(name, count)])[name].result()
        since = time.time()
        producer = _producer(scene, "none")
        ends = time.monotonic() + SENDS_S
        while len(admin.list_topics(name, timeout=10).topics[name].partitions) < count:
            if time.monotonic() > ends:
                raise NotSettled(f"{name} does not get {count} partitions")
            time.sleep(LOOK_S)
        for number in range(count - INPUT_PARTITIONS):
            value = json.dumps({"prediction_id": f"new-{number}", "label": "yes", "timestamp": 1})
            producer.produce(name, value, f"new-{number}", INPUT_PARTITIONS + number)
        if producer.flush(SENDS_S):
            scene.complaints.append("records of the added partitions could not be sent")
        said = f"has {count} partitions"
        workers = scene.fleet.running()

        def is_announced(worker: Worker) -> bool:
            status, text = worker.health()
            return status == 503 and said in text

        announced = scene.fleet.wait(lambda: all(map(is_announced, workers)), RECOVERS_S)
        seconds = time.time() - since
        if not announced or seconds > NOTICE_S:
            scene.complaints.append(
                f"after {seconds:.0f} s with added partitions the workers say "
                f"{[worker.health() for worker in workers]}"
            )
        code, output = scene.program.finish(scene.fleet, SENDS_S)
        if not code or said not in output:
            scene.complaints.append(f"finish with added partitions ended with {code}: {output}")
        note = scene.end(workers[0])
        workers[0].start()
        workers[0].wanted = False
        scene.fleet.wait(lambda: not workers[0].runs(), REFUSES_S)
        if workers[0].exit_code() != UNUSABLE:
            scene.complaints.append(
                f"{workers[0].name} ended with {workers[0].exit_code()} at a start with added "
                f"partitions: {workers[0].last_log_lines()}"
            )
        workers[0].kill()
        scene.is_finished = False
        recovery = round(seconds, 3) if announced else None
        return FaultResult(f"partitions added to {topic}", recovery, note)

    return fault


def _beside(scene: Scene, name: str, prefix: str) -> Program:
    """Another program, with a folder of its own."""
    app = f"{name}{len(scene.results)}"
    folder = scene.program.folder / app
    folder.mkdir()
    return Program(scene.program.servers, prefix, app, folder)


def _worker(
    name: str, folder: Path, toml: str, environment: dict[str, str] | None = None
) -> Worker:
    """A worker of a program beside that of the round; nobody restarts it."""
    return Worker(name, folder, toml, static=False, command=PRODUCT, environment=environment)


def _producer(scene: Scene, compression: str) -> Producer:
    return Producer(
        {
            "bootstrap.servers": scene.program.servers,
            "compression.type": compression,
            "message.max.bytes": 1_000_000_000,
            "linger.ms": 0,
        }
    )


def _send_present(connection: Connection) -> None:
    """Predictions of the last second and their truths."""
    producer, now = connection.producer(), time.time()
    for number in range(CLOCK_ROWS):
        at = datetime.fromtimestamp(now - number / CLOCK_ROWS, UTC).isoformat()
        row = {
            "prediction_id": f"now-{number}",
            "model_name": "m",
            "model_version": "1",
            "timestamp": at,
            "prediction": "yes",
        }
        truth = {"prediction_id": f"now-{number}", "label": "yes", "timestamp": at}
        for topic, value in (("predictions", row), ("ground-truth", truth)):
            producer.produce(connection.name(topic), json.dumps(value), f"now-{number}")
    if left := producer.flush(SENDS_S):
        raise RuntimeError(f"{left} rows of the present could not be sent")


def _records(connection: Connection, topic: str) -> list[bytes]:
    return [record.value for record in read_topic(connection.servers, connection.name(topic))]


def _rungs_without_labels(program: Program) -> list[str]:
    """The rungs at which no complete figure has labels yet."""
    rungs = dict.fromkeys(
        name for name, _ in Settings.from_toml(program.configuration).defaults.rungs
    )
    for value in _records(program.connection, "metrics"):
        figures = json.loads(value)
        if figures["lane"] == "decisions" and figures["n"] and not figures["provisional"]:
            rungs.pop(figures["maturity"], None)
    return list(rungs)


def _replace_topic(scene: Scene, topic: str) -> None:
    """Keep the records of a topic, delete it, and create it again; no worker runs."""
    connection, servers = scene.program.connection, scene.program.servers
    name = connection.name(topic)
    scene.former.append(
        FormerTopic(
            topic,
            list(read_topic(servers, name)),
            ends_of(servers, connection.name("ticks")),
            ends_of(servers, connection.name(f"{topic}.dlq")),
        )
    )
    admin = connection.admin()  # must live until its futures are done
    admin.delete_topics([name], operation_timeout=30)[name].result()
    ends = time.monotonic() + SENDS_S
    while name in admin.list_topics(timeout=10).topics and time.monotonic() < ends:
        time.sleep(LOOK_S)
    scene.program.create_topics()
