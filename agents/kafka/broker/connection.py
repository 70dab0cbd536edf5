"""Connection to the broker: the only place that configures servers, TLS and SASL of Kafka clients,
and that maps topics to their names on the broker.

The settings are `driftline.schemas.kafka_settings`. Secrets are read here when a connection is
created, and are never logged.
"""

from __future__ import annotations

import logging
import os
import ssl
import time
from collections.abc import Mapping
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ClusterMetadata

from driftline.agents.secret import SecretError, secret_text
from driftline.schemas.kafka_settings import SECRETS, KafkaSettings
from driftline.schemas.secrets import Secret
from driftline.schemas.settings import Config
from driftline.schemas.topics import PROGRAM_TOPICS, SOURCES, dlq_name, rekeyed_name

BROKER_VARIABLE = "DRIFTLINE_BROKER"
REACH_S = 5.0
# The increments of one commit are one record: 2.1 MB for 10,000 flights at once (measured),
# and more with more features.
LARGEST_RECORD = 16 << 20
TO_THE_END: Final[Mapping[str, Any]] = {
    "enable_partition_eof": True,
    # The end is an answer without records, for which the broker waits that long. With the default,
    # 500 ms, reading 400 records takes 0.6 s instead of 0.05 s (measured).
    "fetch_wait_max_ms": 20,
    # With the backoff, fetching resumes as soon as there is room, not after a second.
    "queued_max_messages_kbytes": 4096,
    "fetch_queue_backoff_ms": 2,
    "enable_metrics_push": False,
}
"""Settings of a consumer that reads partitions to their ends and is closed."""

_client_log = logging.getLogger("driftline.kafka.client")
# Otherwise librdkafka writes to standard error. Callers report errors in a sentence.
_client_log.addHandler(logging.NullHandler())


class BrokerError(Exception):
    """A broker that cannot be used; the message says which one, why, and what to do."""


class BrokerAway(BrokerError):
    """A broker that does not answer. It may come back, so a worker waits for it."""


class Connection:
    """Connection settings of one broker, from one configuration.

    Parameters
    ----------
    config
        The settings; `kafka` and `topic_prefix` are used.
    broker
        Servers; by default those of the environment variable DRIFTLINE_BROKER, or else those of the
        configuration.
    environment
        Environment variables; by default those of the process.

    Raises
    ------
    BrokerError
        If a secret or a certificate of the configuration is missing.
    """

    def __init__(
        self,
        config: Config,
        broker: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        environment = os.environ if environment is None else environment
        self.config = config
        self.settings: KafkaSettings = config.kafka
        self.prefix = config.topic_prefix
        self._own_names = {
            topic: f"{self.prefix}{self.settings.app}-{topic}"
            for base in PROGRAM_TOPICS
            for topic in (base, dlq_name(base))
        }
        if self.settings.rekey:
            for topic, source in SOURCES.items():
                self._own_names[topic] = f"{self.prefix}{self.settings.app}-{rekeyed_name(topic)}"
                self._own_names[source] = self.prefix + topic
        self._own_topics = {name: topic for topic, name in self._own_names.items()}
        self.servers = broker or environment.get(BROKER_VARIABLE) or self.settings.bootstrap_servers
        self._login = {
            key: _secret(key, value, environment) if isinstance(value, Secret) else value
            for key, value in self.settings.client.items()
        }
        self._login.setdefault("client.id", "driftline")
        self.aiokafka()  # fail here, not in the first client, if a certificate cannot be read

    def __repr__(self) -> str:
        return f"Connection({self.servers!r})"

    def name(self, topic: str) -> str:
        """Name of a topic on the broker, such as "live.predictions", or "live.driftline-ticks" for
        one of `PROGRAM_TOPICS`.
        """
        return self._own_names.get(topic) or self.prefix + topic

    def source(self, topic: str) -> str:
        """What producers of an input topic write, without prefix: one of `SOURCES` where records
        are re-keyed.
        """
        return SOURCES.get(topic, topic) if self.settings.rekey else topic

    def bare(self, name: str) -> str:
        """Name of a topic without prefix and program, from its name on the broker.

        Raises
        ------
        ValueError
            If the name does not begin with the prefix.
        """
        if name in self._own_topics:
            return self._own_topics[name]
        if not name.startswith(self.prefix):
            raise ValueError(f"topic {name!r} does not begin with the prefix {self.prefix!r}")
        return name[len(self.prefix) :]

    @property
    def user(self) -> str | None:
        """User name of the login; None without one."""
        return self._login.get("sasl.username")

    def group(self, kind: str, app: str | None = None) -> str:
        """Name of the consumer group of a kind of task, such as "driftline-join".

        The transactional ids of its tasks begin with it. Prefix and program are parts of the name:
        programs that differ in one of them share neither.

        Parameters
        ----------
        app
            Name of the program; by default the own one.
        """
        return f"{self.prefix}{app or self.settings.app}-{kind}"

    def properties(self, **extra: Any) -> dict[str, Any]:
        """Properties of a librdkafka client.

        `extra` has underscores for dots, such as `enable_auto_commit=False`; callbacks keep their
        underscores.
        """
        own = {
            name if callable(value) else name.replace("_", "."): value
            for name, value in extra.items()
        }
        return {"bootstrap.servers": self.servers, **self._login, **own}

    def producer(self, **extra: Any) -> Producer:
        """A producer; `extra` as for `properties`.

        The default partitioner is Java's, not librdkafka's.
        """
        base = {"partitioner": "murmur2_random", "message.max.bytes": LARGEST_RECORD}
        return Producer({**base, **self.properties(**extra)}, logger=_client_log)

    def consumer(self, **extra: Any) -> Consumer:
        """A consumer that reads committed records only, compares their checksums and never commits;
        `extra` as for `properties`.

        Without `group_id` it joins no group, and partitions are assigned to it by hand.
        """
        # librdkafka requires a group id even if nothing is committed.
        extra.setdefault("group_id", self.group("reader"))
        base = {
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "isolation.level": "read_committed",
            "check.crcs": True,
        }
        return Consumer({**base, **self.properties(**extra)}, logger=_client_log)

    def admin(self) -> AdminClient:
        """A client for topics, groups and offsets."""
        return AdminClient(self.properties(), logger=_client_log)

    def aiokafka(self) -> dict[str, Any]:
        """The connection settings as keyword arguments of aiokafka clients."""
        login = self._login
        options: dict[str, Any] = {
            "bootstrap_servers": self.servers.split(","),
            "client_id": login["client.id"],
            "security_protocol": login.get("security.protocol", "PLAINTEXT"),
        }
        if options["security_protocol"].endswith("SSL"):
            options["ssl_context"] = _ssl_context(login)
        if options["security_protocol"].startswith("SASL"):
            options |= {
                "sasl_mechanism": login["sasl.mechanism"],
                "sasl_plain_username": login["sasl.username"],
                "sasl_plain_password": login["sasl.password"],
            }
        return options

    def reach(self, timeout_s: float = REACH_S) -> ClusterMetadata:
        """Contact the broker; returns its topics.

        Raises
        ------
        BrokerError
            If the broker does not answer in time, or rejects the connection.
        """
        faults: list[KafkaError] = []
        lines = _LogLines()
        admin = AdminClient(self.properties(error_cb=faults.append), logger=lines.logger)
        ends = time.monotonic() + timeout_s
        while True:
            try:
                return admin.list_topics(timeout=max(0.1, min(1.0, ends - time.monotonic())))
            except KafkaException as error:
                admin.poll(0)
                refused = [fault for fault in faults if fault.code() in _REFUSALS]
                # A broker that shuts down closes connections too, but only once.
                if not refused and sum("closed by peer" in line for line in lines.texts) >= 3:
                    raise BrokerError(
                        f"broker {self.servers}: accepts connections and closes them at once; "
                        f"{self._protocol_remedy}"
                    ) from error
                if refused or time.monotonic() >= ends:
                    raise self.error((refused or faults or [error.args[0]])[0]) from error

    @property
    def _protocol_remedy(self) -> str:
        protocol = self._login.get("security.protocol", "PLAINTEXT")
        if protocol == "PLAINTEXT":
            return (
                'if it requires TLS or a login, set kafka.client "security.protocol" and its '
                "settings"
            )
        return (
            f'it may not accept kafka.client "security.protocol" = "{protocol}": correct the '
            "setting, or name a listener that does"
        )

    def error(self, error: KafkaError | KafkaException, doing: str = "") -> BrokerError:
        """The client's error as a `BrokerError`: which broker, what happened, what to do."""
        fault = error.args[0] if isinstance(error, KafkaException) else error
        code = fault.code()
        place = f"broker {self.servers}" + (f", {doing}" if doing else "")
        if code in _AWAY:
            return BrokerAway(
                f"{place}: does not answer ({fault.str()}); start it, or name another with "
                f"--broker, {BROKER_VARIABLE} "
                "or kafka.bootstrap_servers"
            )
        if code in _STARTING:
            return BrokerAway(f"{place}: is not ready yet ({fault.name()})")
        if code == KafkaError._AUTHENTICATION:
            user = self._login.get("sasl.username")
            return BrokerError(
                f"{place}: refused the login{f' of {user}' if user else ''} ({fault.str()}); "
                "correct "
                'kafka.client "sasl.username", "sasl.mechanism" or '
                f"{_password_source(self.settings)}"
            )
        if code == KafkaError._SSL:
            return BrokerError(
                f'{place}: TLS failed ({fault.str()}); check kafka.client "ssl.ca.location" and '
                "the certificate of the broker"
            )
        if code in FORBIDDEN:
            return BrokerError(
                f"{place}: {fault.str()}; the login needs rights on the topics, groups and "
                "transactional ids of Driftline"
            )
        return BrokerError(f"{place}: {fault.str()} ({fault.name()})")


class _LogLines(logging.Handler):
    """Collects the log lines of a client, the only sign of a connection that is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.logger = logging.Logger("driftline.kafka.reach")
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Collect a line."""
        self.texts.append(record.getMessage())


_AWAY = (
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._MSG_TIMED_OUT,
    KafkaError._RESOLVE,
)
# Just after the start of a broker, or while a partition of its own topics moves.
_STARTING = (
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
)
_REFUSALS = (KafkaError._AUTHENTICATION, KafkaError._SSL)
FORBIDDEN = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
)


def _secret(key: str, secret: Secret, environment: Mapping[str, str]) -> str:
    try:
        return secret_text(secret, environment)
    except SecretError as error:
        raise BrokerError(f'kafka.client."{key}": {error}') from error


def _password_source(settings: KafkaSettings) -> str:
    secret = settings.client.get(SECRETS[0])
    if not isinstance(secret, Secret):
        return "the password"
    return (
        f"the password in the environment variable {secret.env}"
        if secret.env
        else f"the password in {secret.file}"
    )


def _ssl_context(login: Mapping[str, str]) -> ssl.SSLContext:
    ca, certificate = login.get("ssl.ca.location"), login.get("ssl.certificate.location")
    try:
        context = ssl.create_default_context(cafile=ca)
        if certificate is not None:
            context.load_cert_chain(
                certificate, login.get("ssl.key.location"), login.get("ssl.key.password")
            )
    except OSError as error:  # ssl.SSLError is one
        named = ", ".join(filter(None, (ca, certificate, login.get("ssl.key.location"))))
        raise BrokerError(
            f'kafka.client: {named} cannot be used: {error.strerror or error}; correct the "ssl." '
            "properties"
        ) from error
    # As in librdkafka, the host name is verified unless the setting disables it.
    context.check_hostname = login.get("ssl.endpoint.identification.algorithm", "https") != "none"
    return context
