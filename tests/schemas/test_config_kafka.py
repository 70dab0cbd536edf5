"""Reading [kafka]: settings, the path and message of errors, and no secret in either."""

import pytest

from driftline.schemas.config import ConfigError, parse_config
from driftline.schemas.kafka_settings import KafkaSettings
from driftline.schemas.secrets import Secret
from driftline.schemas.settings import Config

EXAMPLE = """
[kafka]
bootstrap_servers = "one.example:9092, two.example:9093"
app = "driftline-eu"
input_partitions = 16
partitions = 8
replication_factor = 3
min_insync_replicas = 2
commit_interval = "250ms"
provisional = "off"
memory = "1GiB"
session_timeout = "30s"
max_clock_error = "2m"
static_member = "worker-1"
rekey = true

[kafka.client]
"security.protocol" = "SASL_SSL"
"sasl.mechanism" = "SCRAM-SHA-512"
"sasl.username" = "driftline"
"sasl.password" = { env = "KAFKA_PASSWORD" }
"ssl.ca.location" = "/etc/kafka/ca.pem"
"""


def test_example_gives_the_documented_settings() -> None:
    assert parse_config(EXAMPLE).kafka == KafkaSettings(
        bootstrap_servers="one.example:9092,two.example:9093",
        app="driftline-eu",
        input_partitions=16,
        partitions=8,
        replication_factor=3,
        min_insync_replicas=2,
        commit_interval_ms=250,
        provisional_ms=None,
        memory_bytes=1 << 30,
        session_timeout_ms=30_000,
        max_clock_error_ms=120_000,
        static_member="worker-1",
        rekey=True,
        client={
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "driftline",
            "sasl.password": Secret(env="KAFKA_PASSWORD"),
            "ssl.ca.location": "/etc/kafka/ca.pem",
        },
    )


def test_properties_without_quotes_are_equivalent() -> None:
    written = (
        'client.security.protocol = "SSL"\n'
        'client.ssl.certificate.location = "c"\n'
        'client.ssl.key.location = "k"\n'
    )
    config = parse_config(f'[kafka]\n{written}client.ssl.key.password = {{ file = "/run/key" }}')
    assert config.kafka.client == {
        "security.protocol": "SSL",
        "ssl.certificate.location": "c",
        "ssl.key.location": "k",
        "ssl.key.password": Secret(file="/run/key"),
    }


def test_fingerprint_does_not_depend_on_the_broker() -> None:
    assert parse_config(EXAMPLE).fingerprint() == Config().fingerprint()


LOGIN = '"security.protocol" = "SASL_PLAINTEXT", "sasl.mechanism" = "PLAIN", "sasl.username" = "a"'
INVALID = {
    "server = 'a:1'": ("kafka.server", "is not known"),
    "bootstrap_server = 'a:1'": ("kafka.bootstrap_server", 'did you mean "bootstrap_servers"?'),
    "bootstrap_servers = 'localhost'": (
        "kafka.bootstrap_servers",
        'holds "localhost", which is not host:port',
    ),
    "bootstrap_servers = 'a:1,,b:2'": ("kafka.bootstrap_servers", 'holds ""'),
    "bootstrap_servers = 'a:70000'": ("kafka.bootstrap_servers", "not host:port"),
    "app = ''": ("kafka.app", "letters, digits"),
    "partitions = 0": ("kafka.partitions", "0 is not an integer from 1 to 1024"),
    "input_partitions = true": ("kafka.input_partitions", "true is not an integer"),
    "replication_factor = 0": ("kafka.replication_factor", "nor -1"),
    "commit_interval = '0ms'": ("kafka.commit_interval", "outside 10ms to 1m"),
    "provisional = 'never'": ("kafka.provisional", "not a duration"),
    "memory = '1'": ("kafka.memory", "not a size"),
    "memory = '999KB'": ("kafka.memory", "less than 1MB"),
    "max_clock_error = '2h'": ("kafka.max_clock_error", "outside 1s to 1h"),
    "session_timeout = '1s'": ("kafka.session_timeout", "outside 6s to 5m"),
    "client = 3": ("kafka.client", "is 3, not a table"),
    "client = {'sasl.user' = 'a'}": ('kafka.client."sasl.user"', 'did you mean "sasl.username"?'),
    "client = {'group.id' = 'a'}": ('kafka.client."group.id"', "is not known"),
    "client = {'security.protocol' = 'TLS'}": (
        'kafka.client."security.protocol"',
        "not one of PLAINTEXT, SSL",
    ),
    "client = {'sasl.password' = 'hunter2'}": (
        'kafka.client."sasl.password"',
        "secret in plain text",
    ),
    "client = {'sasl.password' = {env = 'A', file = 'b'}}": (
        'kafka.client."sasl.password"',
        'one of "env" and "file"',
    ),
    "client = {'sasl.password' = {path = 'b'}}": (
        'kafka.client."sasl.password".path',
        "is not known",
    ),
    "client = {'sasl.password' = {env = 3}}": (
        'kafka.client."sasl.password".env',
        "is 3, not a name",
    ),
    "client = {'sasl.username' = 'a'}": (
        'kafka.client."sasl.username"',
        'no effect with "security.protocol" = "PLAINTEXT"',
    ),
    f"client = {{{LOGIN}}}": ("kafka.client", 'needs "sasl.password"'),
    f"client = {{{LOGIN}, 'sasl.password' = {{env = 'A'}}, 'ssl.ca.location' = 'a'}}": (
        'kafka.client."ssl.ca.location"',
        "no effect",
    ),
}


@pytest.mark.parametrize("text", INVALID)
def test_invalid_value_is_an_error_with_its_path_and_without_its_secret(text: str) -> None:
    where, message = INVALID[text]
    with pytest.raises(ConfigError) as raised:
        parse_config(f"[kafka]\n{text}", "driftline.toml")
    assert raised.value.where == where
    assert message in str(raised.value)
    assert "hunter2" not in str(raised.value)
