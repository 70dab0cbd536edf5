"""A broker with authentication: the right login works for every client, a wrong one is refused with
what to correct.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from click.testing import CliRunner

from driftline.agents.cli.program import driftline
from driftline.agents.devbroker.broker import free_port
from driftline.agents.kafka.broker import topics
from driftline.agents.kafka.broker.connection import BrokerError, Connection
from driftline.schemas.config import parse_config
from tests.kafka.brokers import BrokerProcess, need_java
from tests.kafka.guarded import PASSWORD, login_listener

pytestmark = pytest.mark.kafka

WRONG = "open-barley"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Servers of a listener that requires user name and password."""
    need_java()
    port, guarded_port = free_port(), free_port()
    broker = BrokerProcess(
        tmp_path_factory.mktemp("guarded"), login_listener(port, guarded_port), port=port
    )
    broker.start()
    yield f"127.0.0.1:{guarded_port}"
    broker.stop()


def settings(servers: str, **client: str) -> str:
    login = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "ann",
    } | client
    lines = "".join(f'"{key}" = "{value}"\n' for key, value in login.items())
    broker = f'[kafka]\nbootstrap_servers = "{servers}"\ninput_partitions = 1\npartitions = 1\n'
    return f'{broker}[kafka.client]\n{lines}"sasl.password" = {{ env = "TEST_PASSWORD" }}\n'


def connection(servers: str, password: str) -> Connection:
    return Connection(parse_config(settings(servers)), servers, {"TEST_PASSWORD": password})


async def first_value(login: Connection, topic: str) -> bytes | None:
    consumer = AIOKafkaConsumer(topic, auto_offset_reset="earliest", **login.aiokafka())
    await consumer.start()
    try:
        return (await consumer.getone()).value
    finally:
        await consumer.stop()


def test_one_login_serves_admin_producer_consumer_and_aiokafka(guarded: str) -> None:
    login = connection(guarded, PASSWORD)
    login.reach()
    topics.create(login)
    producer = login.producer(transactional_id="test")
    producer.init_transactions(30.0)
    producer.begin_transaction()
    producer.produce(login.name("alerts"), b"value", key=b"churn")
    producer.commit_transaction(30.0)
    consumer = login.consumer(auto_offset_reset="earliest", group_id="test")
    consumer.subscribe([login.name("alerts")])
    message = consumer.poll(30.0)
    consumer.close()
    assert message is not None
    assert message.value() == b"value"
    assert asyncio.run(asyncio.wait_for(first_value(login, login.name("alerts")), 30.0)) == b"value"


def test_a_wrong_password_is_refused_with_a_remedy_and_not_shown(
    guarded: str,
) -> None:
    with pytest.raises(BrokerError) as refused:
        connection(guarded, WRONG).reach(timeout_s=30.0)
    message_text = str(refused.value)
    assert f"broker {guarded}: refused the login of ann" in message_text
    assert "the password in the environment variable TEST_PASSWORD" in message_text
    assert WRONG not in message_text
    assert PASSWORD not in message_text


def test_a_command_ends_with_the_message_about_the_login(
    guarded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "driftline.toml"
    config.write_text(settings(guarded))
    monkeypatch.setenv("TEST_PASSWORD", WRONG)
    result = CliRunner().invoke(
        driftline, ["topics", "list", "--config", str(config), "--broker", guarded]
    )
    assert result.exit_code == 2
    assert "refused the login of ann" in result.output
    assert WRONG not in result.output


def test_without_a_login_the_message_names_the_setting_that_is_missing(guarded: str) -> None:
    with pytest.raises(
        BrokerError,
        match="closes them at once; if it requires TLS or a login, "
        r'set kafka\.client "security\.protocol"',
    ):
        Connection(parse_config(""), guarded, {}).reach(timeout_s=3.0)
