"""Whatever order writes come in, and however often, the mirror holds what the topics hold up to the
furthest that was written.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftline.agents.mirror.documents import Documents
from driftline.agents.mirror.intake import Intake
from driftline.agents.mirror.mirror import Batch, Mirror, NotAccepted, Positions, mirror_of
from driftline.agents.mirror.writes import Write
from driftline.schemas.config import parse_config
from driftline.schemas.results import Alert, ModelLabels, RegistryEntry, WindowFigures
from driftline.schemas.settings import Config
from driftline.schemas.topics import ALERTS, METRICS, MODEL_LABELS, REGISTRY
from tests.redis.records import alert, entry, expected, figures, labels
from tests.redis_server import Place

pytestmark = pytest.mark.redis

TOPICS = (REGISTRY, MODEL_LABELS, METRICS, ALERTS)
NAMES = ("churn", "a:b/c *?[x]\n\x1b[31m‮%")
Logs = dict[str, list[Any]]


@pytest.fixture
def config(redis_place: Place) -> Config:
    return parse_config(redis_place.toml())


@pytest.fixture
def mirror(config: Config) -> Iterator[Mirror]:
    opened = mirror_of(config)
    yield opened
    opened.server.close()


def positions(offsets: dict[str, int]) -> Positions:
    return Positions({(topic, 0): at for topic, at in offsets.items()}, dict.fromkeys(offsets, "A"))


def begin(mirror: Mirror) -> None:
    """An empty mirror, at the beginning of all topics."""
    known = mirror.positions()
    mirror.replace(Documents(), positions(dict.fromkeys(TOPICS, 0)), is_behind=known is not None)


def batches(config: Config, mirror: Mirror, logs: Logs, topic: str, span: slice) -> list[Batch]:
    """What a worker writes that has read a topic up to the end of a span, from its start on."""
    intake = Intake(mirror.keys, config)
    start, end = span.start, span.stop
    writes: list[Write | None]
    if topic == METRICS:
        writes = [
            intake.figures_write(record, offset, now_ms())
            for offset, record in enumerate(logs[topic][:end])
            if offset >= start
        ]
    elif topic == ALERTS:
        writes = [
            intake.alert_write(record, offset)
            for offset, record in enumerate(logs[topic][:end])
            if offset >= start
        ]
    else:
        for record in logs[topic][:start]:
            _take(intake, record)
        for model in intake.models():
            intake.registry_write(model, start)
        changed = [_take(intake, record) for record in logs[topic][start:end]]
        writes = [intake.registry_write(model, start) for model in dict.fromkeys(changed)]
    return [
        Batch(
            topic=topic,
            partition=0,
            topic_id="A",
            from_=start,
            to=end,
            writes=[write for write in writes if write is not None],
        )
    ]


def _take(intake: Intake, record: RegistryEntry | ModelLabels) -> str:
    if isinstance(record, RegistryEntry):
        intake.take_entry(record)
    else:
        intake.take_labels(record)
    return record.model_name


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def content(mirror: Mirror) -> dict[str, dict[str, str]]:
    """All hashes below the prefix, read by a plain client."""
    client = mirror.server.client
    found: dict[str, dict[str, str]] = {}
    for key in client.scan_iter(f"{mirror.keys.prefix}:*"):
        if client.type(key) == "hash" and key != f"{mirror.keys.prefix}:mirror":
            found[key] = client.hgetall(key)
    return found


def wanted(mirror: Mirror, logs: Logs, reached: dict[str, int]) -> dict[str, dict[str, str]]:
    return expected(mirror.keys.prefix, *(logs[topic][: reached[topic]] for topic in TOPICS))


@st.composite
def drawn_logs(draw: st.DrawFn) -> Logs:
    """Records of each topic in the order in which stages write them."""
    revisions: dict[str, int] = {}
    champions: dict[str, str] = {}

    def revision(model: str) -> int:
        revisions[model] = revisions.get(model, 0) + 1
        return revisions[model]

    registry: list[RegistryEntry] = []
    of_labels: list[ModelLabels] = []
    for model, version, is_of_labels, stage in draw(
        st.lists(
            st.tuples(
                st.sampled_from(NAMES),
                st.sampled_from(("1", "2/x")),
                st.booleans(),
                st.sampled_from(("development", "production", "archived")),
            ),
            min_size=2,
            max_size=8,
        )
    ):
        if is_of_labels:
            of_labels.append(labels(model, revision(model), draw(st.sampled_from(("yes", "“ja”")))))
            continue
        now = revision(model)
        champion = champions.get(model)
        if stage == "production" and champion is not None and champion != version:
            registry.append(entry(model, champion, now, stage="archived"))
        if stage == "production":
            champions[model] = version
        elif champion == version:
            del champions[model]
        threshold = draw(st.none() | st.floats(0, 1))
        registry.append(entry(model, version, now, stage=stage, threshold=threshold))
    counts: dict[tuple[int, str], int] = {}
    of_figures: list[WindowFigures] = []
    for window, segment, value in draw(
        st.lists(
            st.tuples(st.integers(0, 3), st.sampled_from(("all", "plan=a/b")), st.floats(0, 1)),
            min_size=4,
            max_size=10,
        )
    ):
        counts[window, segment] = counts.get((window, segment), 0) + 1
        of_figures.append(
            figures(window=window, segment=segment, value=value, revision=counts[window, segment])
        )
    alerts: list[Alert] = [
        alert(model, name, is_open=is_open, at=at)
        for at, (model, name, is_open) in enumerate(
            draw(
                st.lists(
                    st.tuples(st.sampled_from(NAMES), st.sampled_from(("low", "x")), st.booleans()),
                    min_size=4,
                    max_size=10,
                )
            )
        )
    ]
    return {REGISTRY: registry, MODEL_LABELS: of_labels, METRICS: of_figures, ALERTS: alerts}


def is_cut(records: list[RegistryEntry], at: int) -> bool:
    """Whether one transaction ends and another one begins there."""
    before, after = records[at - 1], records[at]
    return (before.model_name, before.revision) != (after.model_name, after.revision)


@settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.data())
def test_writes_in_any_order_and_twice_leave_what_the_topics_hold(
    config: Config, mirror: Mirror, data: st.DataObject
) -> None:
    logs = data.draw(drawn_logs())
    begin(mirror)
    reached = dict.fromkeys(TOPICS, 0)
    for _ in range(data.draw(st.integers(6, 16))):
        topic = data.draw(st.sampled_from(TOPICS))
        # A worker never cuts a transaction: a promotion of two versions.
        cuts = [
            at
            for at in range(len(logs[topic]) + 1)
            if topic != REGISTRY or not 0 < at < len(logs[topic]) or is_cut(logs[topic], at)
        ]
        end = data.draw(st.sampled_from(cuts))
        # What comes next, what came before, and now and then a gap.
        starts = [at for at in cuts if at <= end]
        known = [at for at in starts if at <= reached[topic]]
        start = data.draw(st.sampled_from(known) | st.just(known[-1]) | st.sampled_from(starts))
        sent = batches(config, mirror, logs, topic, slice(start, end))
        if start > reached[topic]:
            with pytest.raises(NotAccepted):
                mirror.write(sent)
        else:
            mirror.write(sent)
            reached[topic] = max(reached[topic], end)
        assert content(mirror) == wanted(mirror, logs, reached)
    for topic in TOPICS:
        mirror.write(batches(config, mirror, logs, topic, slice(reached[topic], len(logs[topic]))))
    assert content(mirror) == wanted(mirror, logs, {topic: len(logs[topic]) for topic in TOPICS})


@pytest.mark.parametrize("most", [1, 2, 1000])
def test_documents_in_memory_hold_what_redis_holds(
    config: Config, mirror: Mirror, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """Also where a batch is written in several parts."""
    monkeypatch.setattr("driftline.agents.mirror.mirror.MOST_WRITES", most)
    logs: Logs = {
        REGISTRY: [
            entry("churn", "1", 1, stage="production", threshold=0.1),
            entry("churn", "1", 2, stage="archived"),
            entry("churn", "2", 2, stage="production", configuration={"b": [1], "a": "é"}),
        ],
        MODEL_LABELS: [labels("churn", 3, "yes")],
        METRICS: [figures(window=w, segment=s) for w in (2, 0, 1) for s in ("all", "plan=x")],
        ALERTS: [alert("churn", "a"), alert("churn", "b"), alert("churn", "a", is_open=False)],
    }
    begin(mirror)
    documents = Documents()
    sent = [
        batch
        for topic in TOPICS
        for batch in batches(config, mirror, logs, topic, slice(0, len(logs[topic])))
    ]
    for batch in sent:
        for write in batch.writes:
            documents.apply(write)
    assert mirror.write(sent) > 0
    assert dict(documents.hashes(now_ms())) == content(mirror)
    assert content(mirror) == wanted(mirror, logs, {topic: len(logs[topic]) for topic in TOPICS})
    there = mirror.content()
    assert there.series == documents.series(now_ms())
    assert (there.hashes, there.foreign) == (content(mirror), {})
    assert mirror.positions() == positions({topic: len(logs[topic]) for topic in TOPICS})


def test_figures_expire_after_the_last_record_of_their_series_and_everything_else_stays(
    config: Config, mirror: Mirror
) -> None:
    """The record of an old window keeps the newest one there; a mirror made anew expires both at
    the same moment.
    """
    begin(mirror)
    intake = Intake(mirror.keys, config)
    now = now_ms()
    ttl = config.redis.figures_ttl_ms
    taken = [
        (figures(window=2), now - ttl + 60_000),
        (figures(window=1), now - 1_000),
        (figures(window=5, segment="gone"), now - ttl - 1_000),
        (figures(window=5, segment="soon"), now - ttl + 1_500),
    ]
    writes = [
        write
        for offset, (record, at) in enumerate(taken)
        if (write := intake.figures_write(record, offset, at)) is not None
    ]
    intake.take_entry(entry("churn", "1", 1))
    registry = intake.registry_write("churn", 0)
    documents = Documents()
    for write in (registry, *writes):
        documents.apply(write)
    sent = [(REGISTRY, 1, [registry]), (METRICS, len(writes), writes)]
    mirror.write(
        Batch(topic=topic, partition=0, topic_id="A", from_=0, to=to, writes=each)
        for topic, to, each in sent
    )
    client, prefix = mirror.server.client, mirror.keys.prefix
    newest, soon = (
        f"{prefix}:figures:churn/1/{segment}/decisions/1h/1d" for segment in ("all", "soon")
    )
    for _ in range(2):
        assert client.hget(newest, "window_start_ms") == str(2 * 3_600_000)
        assert client.pexpiretime(newest) == now - 1_000 + ttl
        assert not client.exists(f"{prefix}:figures:churn/1/gone/decisions/1h/1d")
        assert client.ttl(f"{prefix}:version:churn/1") == -1
        assert client.ttl(f"{prefix}:model:churn") == -1
        assert client.pexpiretime(soon) in (now + 1_500, -2)
        mirror.replace(documents, positions({REGISTRY: 1, METRICS: len(writes)}))
    ends = time.monotonic() + 10
    while client.exists(soon):
        assert time.monotonic() < ends
    assert content(mirror).keys() == {
        newest,
        f"{prefix}:version:churn/1",
        f"{prefix}:model:churn",
    }


def test_a_mirror_of_another_format_or_of_topics_that_were_made_anew_takes_no_batch(
    config: Config, mirror: Mirror
) -> None:
    batch = Batch(topic=METRICS, partition=0, topic_id="A", from_=0, to=1, writes=[])
    with pytest.raises(NotAccepted):
        mirror.write([batch])  # no mirror at all
    begin(mirror)
    mirror.write([batch])
    client = mirror.server.client
    client.hset(mirror.keys.mirror, "format", "0")
    assert mirror.positions() is None
    with pytest.raises(NotAccepted):
        mirror.write([batch])
    begin(mirror)
    client.hset(mirror.keys.mirror, f"topic_id:{METRICS}", "B")
    with pytest.raises(NotAccepted):
        mirror.write([batch])


def test_a_mirror_that_is_further_is_not_replaced_by_an_older_one(
    config: Config, mirror: Mirror
) -> None:
    mirror.replace(Documents(), positions({METRICS: 7}))
    with pytest.raises(NotAccepted):
        mirror.replace(Documents(), positions({METRICS: 6}))
    assert mirror.positions() == positions({METRICS: 7})
    mirror.replace(Documents(), positions({METRICS: 6}), is_behind=True)
    assert mirror.positions() == positions({METRICS: 6})


def test_the_stream_of_changes_says_what_changed_and_is_bounded(redis_place: Place) -> None:
    config = parse_config(redis_place.toml("changes = 10"))
    mirror = mirror_of(config)
    begin(mirror)
    intake = Intake(mirror.keys, config)
    changes = [
        intake.alert_write(alert("churn", "low", is_open=at % 2 == 0, at=at), at)
        for at in range(400)
    ]
    mirror.write([Batch(topic=ALERTS, partition=0, topic_id="A", from_=0, to=400, writes=changes)])
    client = mirror.server.client
    # Redis deletes whole blocks of the stream, of 100 entries.
    assert 10 <= client.xlen(mirror.keys.changes) <= 120
    (_, last), (_, before) = client.xrevrange(mirror.keys.changes, count=2)
    assert (last["kind"], last["what"], last["model_name"]) == ("alert", "resolved", "churn")
    assert (before["what"], before["revision"]) == ("opened", "low")
    mirror.server.close()
