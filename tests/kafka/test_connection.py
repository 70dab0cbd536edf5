"""Connection to the broker: one place for servers and login, and messages with remedies.

What needs a broker is in `test_login.py`.
"""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from driftline.agents.kafka.broker.connection import BrokerAway, BrokerError, Connection
from driftline.schemas.config import parse_config

PASSWORD = "s3cr3t-of-the-test"
LOGIN = """
[kafka]
app = "watcher"
[kafka.client]
"security.protocol" = "SASL_PLAINTEXT"
"sasl.mechanism" = "SCRAM-SHA-512"
"sasl.username" = "ann"
"sasl.password" = { env = "TEST_PASSWORD" }
"""


def connection(text: str = "", broker: str | None = None, **environment: str) -> Connection:
    return Connection(parse_config(text), broker, environment)


def test_the_argument_overrides_the_environment_which_overrides_the_file() -> None:
    text = '[kafka]\nbootstrap_servers = "file:1"'
    assert connection(text).servers == "file:1"
    assert connection(text, DRIFTLINE_BROKER="environment:2").servers == "environment:2"
    assert connection(text, "argument:3", DRIFTLINE_BROKER="environment:2").servers == "argument:3"


def test_topics_carry_the_prefix_on_the_broker_only() -> None:
    to_broker = connection('[run]\ntopic_prefix = "eu."')
    assert to_broker.name("alerts") == "eu.alerts"
    assert to_broker.bare("eu.alerts") == "alerts"
    with pytest.raises(ValueError, match=r"does not begin with the prefix 'eu\.'"):
        to_broker.bare("alerts")


def test_every_client_gets_the_same_login() -> None:
    to_broker = connection(LOGIN, "a:1,b:2", TEST_PASSWORD=PASSWORD)
    assert to_broker.properties(transactional_id="t-0", enable_auto_commit=False) == {
        "bootstrap.servers": "a:1,b:2",
        "client.id": "driftline",
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "ann",
        "sasl.password": PASSWORD,
        "transactional.id": "t-0",
        "enable.auto.commit": False,
    }
    assert to_broker.aiokafka() == {
        "bootstrap_servers": ["a:1", "b:2"],
        "client_id": "driftline",
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "ann",
        "sasl_plain_password": PASSWORD,
    }
    assert to_broker.group("join") == "watcher-join"


def test_a_secret_is_not_shown() -> None:
    to_broker = connection(LOGIN, TEST_PASSWORD=PASSWORD)
    assert PASSWORD not in repr(to_broker)
    assert PASSWORD not in repr(to_broker.settings)


def test_a_secret_can_be_read_from_a_file(tmp_path) -> None:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n")
    to_broker = connection(LOGIN.replace('env = "TEST_PASSWORD"', f'file = "{path}"'))
    assert to_broker.properties()["sasl.password"] == PASSWORD


@pytest.mark.parametrize("written", [None, ""])
def test_a_missing_secret_is_named_with_its_source(tmp_path, written) -> None:
    with pytest.raises(
        BrokerError,
        match=r'kafka\.client\."sasl\.password": the environment variable TEST_PASSWORD is not set',
    ):
        connection(LOGIN)
    path = tmp_path / "password"
    if written is not None:
        path.write_text(written)
    with pytest.raises(
        BrokerError, match=rf'"sasl.password": {path} (cannot be read: No such file|is empty)'
    ):
        connection(LOGIN.replace('env = "TEST_PASSWORD"', f'file = "{path}"'))


def test_a_missing_certificate_is_named_before_any_client_connects(tmp_path) -> None:
    text = (
        f'[kafka]\nclient = {{"security.protocol" = "SSL", "ssl.ca.location" = '
        f'"{tmp_path}/ca.pem"}}'
    )
    with pytest.raises(
        BrokerError,
        match=r"ca\.pem cannot be used: No such file or directory; "
        r"correct the \"ssl\.\" properties",
    ):
        connection(text)


def test_a_broker_that_does_not_answer_is_named_with_a_remedy() -> None:
    with pytest.raises(
        BrokerAway,
        match=r"broker 127\.0\.0\.1:1: does not answer .*Connection refused.*; "
        "start it, or name another",
    ):
        connection("", "127.0.0.1:1").reach(timeout_s=0.5)


def test_a_broker_that_is_still_starting_is_waited_for() -> None:
    error = connection().error(KafkaError(KafkaError.COORDINATOR_LOAD_IN_PROGRESS), "asking")
    assert isinstance(error, BrokerAway)
    assert str(error).endswith("asking: is not ready yet (COORDINATOR_LOAD_IN_PROGRESS)")


def test_a_broker_that_does_not_acknowledge_a_record_in_time_is_waited_for() -> None:
    error = connection().error(KafkaError(KafkaError._MSG_TIMED_OUT), "measuring its time")
    assert isinstance(error, BrokerAway)
    assert "measuring its time: does not answer (" in str(error)
