"""What a service is told, from Redis and from results in process, whatever Redis does."""

from __future__ import annotations

import re
import shlex
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import driftline
from driftline.agents.mirror.documents import Documents
from driftline.agents.mirror.intake import Intake
from driftline.agents.mirror.keys import Keys
from driftline.agents.mirror.mirror import Mirror, Positions, mirror_of
from driftline.agents.output_folder import latest
from driftline.agents.results import MissingExtra
from driftline.agents.serving.serving import Serving
from driftline.agents.serving.source import Fetched, NoAnswer
from driftline.schemas.config import ConfigError, parse_config
from driftline.schemas.results import (
    Alert,
    RegistryEntry,
    WindowFigures,
    decoder,
)
from driftline.schemas.topics import ALERTS, METRICS, REGISTRY
from tests.agents.sample_output import sample_lines, sample_output
from tests.redis.records import alert, entry, figures, labels
from tests.redis_server import Place, RedisProcess

pytestmark = pytest.mark.redis

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "redis.md").read_text(encoding="utf-8")
NOWHERE = Positions({}, {})


def fill(toml: str) -> Mirror:
    """A mirror with the model of the documents."""
    config = parse_config(toml)
    mirror = mirror_of(config)
    documents = Documents()
    intake = Intake(mirror.keys, config)
    baselines = {"1d": {"metrics": {"f1": 0.7}, "ci": {"f1": (0.6, 0.8)}}}
    intake.take_entry(entry("churn", "1.4.1", 1, stage="archived"))
    intake.take_entry(
        entry("churn", "1.4.2", 2, stage="production", threshold=0.35, baselines=baselines)
    )
    intake.take_labels(labels("churn", 3, "yes"))
    documents.apply(intake.registry_write("churn", 0))
    record = figures("churn", "1.4.2")
    record.window = "1d"
    write = intake.figures_write(record, 0, time.time_ns() // 1_000_000)
    assert write is not None
    documents.apply(write)
    documents.apply(intake.alert_write(alert("churn", "f1_low"), 0))
    mirror.replace(documents, NOWHERE)
    return mirror


@pytest.fixture
def mirror(redis_place: Place) -> Iterator[Mirror]:
    filled = fill(redis_place.toml())
    yield filled
    filled.server.close()


def test_a_service_reads_what_is_in_force_in_one_call_each(
    mirror: Mirror, redis_place: Place
) -> None:
    with driftline.serving(parse_config(redis_place.toml())) as reads:
        model = reads.model("churn")
        assert model.value is not None
        assert (model.value.champion, model.value.threshold) == ("1.4.2", 0.35)
        assert (model.value.positive_label, model.value.labels) == ("yes", ["no", "yes"])
        assert (model.value.revision, model.value.versions) == (2, ["1.4.1", "1.4.2"])
        assert model.age_s is not None
        assert (model.is_last_known, model.problem) == (False, None)
        version = reads.version("churn", "1.4.2").value
        assert version == entry(
            "churn",
            "1.4.2",
            2,
            stage="production",
            threshold=0.35,
            baselines={"1d": {"metrics": {"f1": 0.7}, "ci": {"f1": [0.6, 0.8]}}},
        )
        found = reads.figures("churn", "1.4.2", window="1d", maturity="1d").value
        assert found is not None
        f1, auc = found.metrics["f1"], found.metrics["auc"]
        assert (found.n, f1.value, f1.ci, f1.baseline) == (8, 0.5, (0.4, 0.6), 0.7)
        assert (auc.value, auc.reason) == (None, "one class")
        assert [each.alert_id for each in reads.alerts("churn").value or []] == ["f1_low"]
        assert reads.alerts("other").value == []
        assert reads.model("other").value is None
        assert reads.figures("churn", "1.4.2", window="7d").value is None
        counts = reads.counts
        assert (counts.hits, counts.misses, counts.last_known, counts.unanswered) == (5, 2, 0, 0)


def test_the_age_grows_while_no_worker_confirms_the_mirror(
    mirror: Mirror, redis_place: Place
) -> None:
    redis_place.client.set(mirror.keys.confirmed_at, mirror.now_ms() - 90_000)
    with driftline.serving(parse_config(redis_place.toml())) as reads:
        age_s = reads.model("churn").age_s
        assert age_s is not None
        assert 90 <= age_s < 120


def test_without_redis_the_last_known_value_is_returned_within_the_time_out(
    own_redis: RedisProcess,
) -> None:
    toml = f'[redis]\nurl = "{own_redis.url}"\ntimeout = "100ms"'
    fill(toml).server.close()
    reads = driftline.serving(parse_config(toml))
    assert reads.model("churn").value is not None
    own_redis.kill()
    answer = reads.model("churn")
    assert answer.value is not None
    assert (answer.value.threshold, answer.is_last_known) == (0.35, True)
    assert answer.problem is not None
    assert "cannot be reached" in answer.problem
    unknown = reads.model("other")
    assert (unknown.value, unknown.age_s, unknown.is_last_known) == (None, None, False)
    first = answer.age_s
    assert first is not None
    time.sleep(0.05)
    later = reads.model("churn").age_s
    assert later is not None
    assert later >= first + 0.05
    assert (reads.counts.last_known, reads.counts.unanswered) == (2, 1)
    own_redis.start()
    # It is there again, and empty: no worker has written a mirror.
    ends = time.monotonic() + 30
    while "no mirror" not in (reads.model("churn").problem or ""):
        assert time.monotonic() < ends
    assert reads.model("churn").value is not None
    reads.close()


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Away:
    """A source that answers or not, as a test says, and counts the questions."""

    def __init__(self) -> None:
        self.keys = Keys("p")
        self.asked = 0
        self.is_away = False

    def fetch(self, wanted: object) -> Fetched:
        self.asked += 1
        if self.is_away:
            raise NoAnswer("away")
        return Fetched([{"model_name": "churn", "champion": "1"}], 0.5)

    def close(self) -> None:
        pass


def test_a_source_that_is_away_is_asked_after_growing_pauses() -> None:
    clock, source = Clock(), Away()
    reads = Serving(source, clock=clock)
    reads.model("churn")
    source.is_away = True
    pauses = []
    for _ in range(8):
        asked, began_s = source.asked, clock.now_s
        while source.asked == asked:
            answer = reads.model("churn")
            clock.now_s += 0.05
        pauses.append(round(clock.now_s - 0.05 - began_s, 2))
        assert answer.age_s == pytest.approx(0.5 + clock.now_s - 0.05 - 100.0)
    assert pauses == pytest.approx([0.0, 0.05, 0.15, 0.35, 0.75, 1.55, 3.15, 4.95], abs=0.11)
    source.is_away = False
    clock.now_s += 5.0
    assert not reads.model("churn").is_last_known
    source.is_away = True
    asked = source.asked
    reads.model("churn")
    clock.now_s += 0.11
    reads.model("churn")
    assert source.asked == asked + 2, "the pauses begin anew"


def test_threads_share_one_object(mirror: Mirror, redis_place: Place) -> None:
    with driftline.serving(parse_config(redis_place.toml('timeout = "5s"'))) as reads:
        threads = [
            threading.Thread(target=lambda: [reads.model("churn") for _ in range(50)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert reads.counts.hits == 200


def test_without_redis_an_output_folder_gives_the_same_answers(tmp_path: Path) -> None:
    """Against the lines of its files."""
    out = tmp_path / "out"
    shutil.copytree(sample_output(), out, ignore=shutil.ignore_patterns("read-model.sqlite*"))
    lines = sample_lines()
    entries = [decoder(RegistryEntry).decode(line) for line in lines[REGISTRY]]
    newest = {each.key(): each for each in entries}
    alerts = [decoder(Alert).decode(line) for line in lines[ALERTS]]
    still_open = [
        each.alert_id
        for each in latest(alerts, group=lambda each: each.alert_id)
        if each.status != "resolved"
    ]
    records = [decoder(WindowFigures).decode(line) for line in lines[METRICS]]
    with driftline.serving(out=out) as reads:
        for record in newest.values():
            assert reads.version(record.model_name, record.model_version).value == record
        of_series = {}
        for record in records:
            series = (record.segment, record.lane, record.window, record.maturity)
            before = of_series.get(series)
            place = (record.window_start_ms, record.revision)
            if not record.provisional and (
                before is None or place >= (before.window_start_ms, before.revision)
            ):
                of_series[series] = record
        assert len(of_series) > 10
        for (segment, lane, window, maturity), record in of_series.items():
            found = reads.figures(
                record.model_name,
                record.model_version,
                segment=segment,
                lane=lane,
                window=window,
                maturity=maturity,
            ).value
            assert found is not None
            assert (found.window_start_ms, found.n) == (record.window_start_ms, record.n)
            assert {
                name: each.value for name, each in found.metrics.items() if each.value is not None
            } == {name: value for name, value in record.metrics.items() if value is not None}
        assert [each.alert_id for each in reads.alerts("churn").value or []] == still_open
        assert reads.counts.unanswered == 0


def test_wrong_calls_say_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"redis\.url: is not set; name the server"):
        driftline.serving({})
    with pytest.raises(ValueError, match="out and broker are given"):
        driftline.serving({}, out=tmp_path, broker="localhost:9092")
    url = {"url": "redis://localhost"}
    with pytest.raises(ConfigError, match=r"redis\.password: the environment variable NOT_SET"):
        driftline.serving({"redis": {**url, "password": {"env": "NOT_SET"}}})
    with pytest.raises(ConfigError, match=r"redis\.ca: /not/there cannot be read"):
        driftline.serving({"redis": {"url": "rediss://localhost", "ca": "/not/there"}})
    monkeypatch.setitem(__import__("sys").modules, "redis", None)
    with pytest.raises(MissingExtra, match=r'pip install "driftline\[redis\]"'):
        driftline.serving({"redis": url})


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


def test_the_examples_of_the_document_work(
    redis_place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "hunter2")
    (settings,) = blocks("toml")
    assert parse_config(settings).redis.url == "redis://cache:6379/0"
    # The keys of the document, on a server that others may use too.
    redis_place.prefix = f"{redis_place.prefix}.driftline"
    mirror = fill(redis_place.toml())
    monkeypatch.chdir(tmp_path)
    Path("driftline.toml").write_text(redis_place.toml(), encoding="utf-8")
    (example,) = blocks("python")
    names: dict[str, object] = {}
    exec(example, names)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "1.4.2 0.35 yes"
    assert said[2] == "production 8 0.5 (0.4, 0.6) 0.7"
    assert said[3] == "['f1_low at 0']"
    reads = names["reads"]
    assert isinstance(reads, Serving)
    reads.close()
    (commands,) = blocks("sh")
    for line in commands.splitlines():
        program, *words = shlex.split(line)
        assert program == "redis-cli"
        answer = redis_place.client.execute_command(
            *(word.replace("driftline:", f"{redis_place.prefix}:") for word in words)
        )
        assert answer, line
    mirror.server.close()


def test_the_document_explains_every_key_and_every_field(mirror: Mirror) -> None:
    text = re.sub(r"^```.*?^```$", "", DOCUMENT, flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`([^`]+)`", text))
    client = mirror.server.client
    for key in client.scan_iter(f"{mirror.keys.prefix}:*"):
        kind = key.split(":")[1]
        assert any(name.startswith(f"<prefix>:{kind}") for name in named), key
        if kind in ("model", "version", "figures"):
            for field in client.hkeys(key):
                documented = re.sub(r"^(metric|low|high|reason):.*", r"\1:NAME", field)
                assert documented in named, (key, field)
    written = (Path(__file__).resolve().parents[2] / "agents/mirror/intake.py").read_text()
    for field in re.findall(r'^ +"([a-z_]+)": ', written, re.MULTILINE):
        assert field in named, field
