"""A broker with TLS: clients work with its authority, and fail without it with a remedy.

Both client libraries take part: librdkafka in the commands and the tasks, aiokafka under Faust in
the worker.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from driftline.agents.cli.program import driftline
from driftline.agents.devbroker.broker import free_port
from driftline.agents.sample_log import write_sample
from tests.kafka.brokers import BrokerProcess, Names, need_java
from tests.kafka.certificates import PASSWORD, Authority
from tests.kafka.live_run import lines_of
from tests.kafka.worker_process import WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

LOGIN_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule required"
SECRET = "open-s3same"
LOGIN = """
"sasl.mechanism" = "PLAIN"
"sasl.username" = "ann"
"sasl.password" = { env = "TEST_PASSWORD" }
"""


class Guarded(NamedTuple):
    """Servers of a broker's listeners by protocol, and certificate authorities."""

    servers: dict[str, str]
    ours: Authority
    foreign: Authority


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    need_java()
    folder = tmp_path_factory.mktemp("tls")
    ours, foreign = Authority(folder / "ours"), Authority(folder / "foreign")
    ports = {protocol: free_port() for protocol in ("PLAINTEXT", "SSL", "SASL_SSL")}
    places = ",".join(f"{protocol}://127.0.0.1:{port}" for protocol, port in ports.items())
    settings = {
        "listeners": f"{places},CONTROLLER://127.0.0.1:{{controller_port}}",
        "advertised.listeners": places,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SSL:SSL,"
        "SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
        "ssl.keystore.type": "PKCS12",
        "ssl.keystore.location": str(ours.keystore("ip:127.0.0.1")),
        "ssl.keystore.password": PASSWORD,
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": f'{LOGIN_MODULE} user_ann="{SECRET}";',
    }
    broker = BrokerProcess(folder / "broker", settings, port=ports["PLAINTEXT"])
    broker.start()
    yield Guarded(
        {protocol: f"127.0.0.1:{port}" for protocol, port in ports.items()}, ours, foreign
    )
    broker.stop()


def configuration(servers: str, app: str, client: str) -> str:
    partitions = "input_partitions = 2\npartitions = 1"
    return Names(servers, app).toml(
        'run.clock = "data"\n', kafka=f"{partitions}\n[kafka.client]\n{client}"
    )


def call(*arguments: str) -> str:
    """Output of a command, which must succeed."""
    result = CliRunner().invoke(driftline, arguments)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    ("protocol", "login"), [("SSL", ""), ("SASL_SSL", LOGIN)], ids=["SSL", "SASL_SSL"]
)
def test_sample_goes_through_a_broker_behind_tls(
    guarded: Guarded, protocol: str, login: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DRIFTLINE_BROKER", raising=False)
    monkeypatch.setenv("TEST_PASSWORD", SECRET)
    write_sample(tmp_path)
    client = (
        f'"security.protocol" = "{protocol}"\n"ssl.ca.location" = "{guarded.ours.pem}"\n{login}'
    )
    toml = configuration(guarded.servers[protocol], protocol.lower(), client)
    config = tmp_path / "kafka.toml"
    config.write_text(toml + (tmp_path / "driftline.toml").read_text())
    at = ("--config", str(config))
    call("topics", "create", *at)
    worker = WorkerProcess(tmp_path, config.read_text()).start()
    try:
        worker.until_ready()
        assert worker.tasks("join") == [0, 1]
        call("feed", str(tmp_path / "sample-log"), *at)
        assert "every window is final" in call("finish", *at)
        worker.terminate()
    finally:
        worker.kill()
    call("export", "--out", str(tmp_path / "exported"), *at)
    final = [
        line
        for line in map(json.loads, lines_of(tmp_path / "exported" / "metrics.jsonl"))
        if line["final"]
    ]
    assert len(final) > 300


UNTRUSTED = (
    r'TLS failed \(.*certificate verify failed.*check kafka\.client "ssl\.ca\.location" and the '
    "certificate of the broker"
)
CLOSED = r"accepts connections and closes them at once; "


@pytest.mark.parametrize(
    ("protocol", "client", "message"),
    [
        ("SSL", 'security.protocol = "SSL"\nssl.ca.location = "{foreign}"', UNTRUSTED),
        ("SSL", 'security.protocol = "SSL"', UNTRUSTED),
        ("SSL", "", CLOSED + 'if it requires TLS or a login, set kafka.client "security.protocol"'),
        (
            "PLAINTEXT",
            'security.protocol = "SSL"\nssl.ca.location = "{ours}"',
            CLOSED + 'it may not accept .*"security.protocol" = "SSL"',
        ),
    ],
    ids=["foreign authority", "authorities of the system", "no TLS here", "no TLS there"],
)
def test_a_command_names_the_fault_of_the_certificate_or_the_listener(
    guarded: Guarded,
    protocol: str,
    client: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DRIFTLINE_BROKER", raising=False)
    config = tmp_path / "kafka.toml"
    client = client.format(ours=guarded.ours.pem, foreign=guarded.foreign.pem)
    config.write_text(configuration(guarded.servers[protocol], "refused", client))
    result = CliRunner().invoke(driftline, ["topics", "list", "--config", str(config)])
    assert result.exit_code == 2
    assert re.search(message, result.output)


def test_worker_that_does_not_trust_the_broker_ends_with_a_remedy(
    guarded: Guarded, tmp_path: Path
) -> None:
    client = f'security.protocol = "SSL"\nssl.ca.location = "{guarded.foreign.pem}"'
    worker = WorkerProcess(
        tmp_path, configuration(guarded.servers["SSL"], "refused", client)
    ).start()
    try:
        assert worker.exit_code() == 2
    finally:
        worker.kill()
    assert re.search(UNTRUSTED, worker.read_log())
    assert "Traceback" not in worker.read_log()
