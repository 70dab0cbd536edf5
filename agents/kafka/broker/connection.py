"""The way to the broker: the one place that hands servers, TLS and SASL to every client, and knows
how topics are called there.

What the settings are is `driftline.schemas.kafka_settings`; secrets are read here, when a
connection is made, and are never shown.
"""

from __future__ import annotations

import logging
import os
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ClusterMetadata

from driftline.schemas.kafka_settings import SECRETS, KafkaSettings, Secret
from driftline.schemas.settings import Config

BROKER_VARIABLE = "DRIFTLINE_BROKER"
REACH_S = 5.0
# The increments of one commit are one record: 2.1 MB where 10,000 flights came in at once
# (measured), and more with more features.
LARGEST_RECORD = 16 << 20

_client_log = logging.getLogger("driftline.kafka.client")
# librdkafka would write to standard error otherwise; whoever connects says in a sentence what went
# wrong.
_client_log.addHandler(logging.NullHandler())


class BrokerError(Exception):
    """A broker that cannot be used; the message says which one, why, and what to do."""


class BrokerAway(BrokerError):
    """A broker that does not answer: it may come back, so a worker waits for it."""


class Connection:
    """One broker, as one configuration uses it.

    Parameters
    ----------
    config
        The settings; `kafka` and `topic_prefix` are used.
    broker
        Servers instead of those of the configuration; without it the environment variable
        DRIFTLINE_BROKER is looked at first.
    environment
        Where DRIFTLINE_BROKER and secrets are looked for.

    Raises
    ------
    BrokerError
        If a secret or a certificate is not where the configuration says.
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
        self.servers = broker or environment.get(BROKER_VARIABLE) or self.settings.bootstrap_servers
        self._login = {
            key: _secret(key, value, environment) if isinstance(value, Secret) else value
            for key, value in self.settings.client.items()
        }
        self._login.setdefault("client.id", "driftline")
        self.aiokafka()  # certificates that cannot be read are found here and not by the first client

    def __repr__(self) -> str:
        return f"Connection({self.servers!r})"

    def name(self, topic: str) -> str:
        """What a topic of ours is called on the broker."""
        return self.prefix + topic

    def bare(self, name: str) -> str:
        """Which topic of ours the broker's topic is.

        Raises
        ------
        ValueError
            If it does not begin with the prefix.
        """
        if not name.startswith(self.prefix):
            raise ValueError(f"topic {name!r} does not begin with the prefix {self.prefix!r}")
        return name[len(self.prefix) :]

    def group(self, kind: str) -> str:
        """Name of the consumer group of a kind of task, such as "driftline-join"."""
        return f"{self.settings.app}-{kind}"

    def properties(self, **extra: Any) -> dict[str, Any]:
        """librdkafka's properties of a client.

        `extra` has underscores for dots, `enable_auto_commit=False`; callbacks keep theirs.
        """
        own = {
            name if callable(value) else name.replace("_", "."): value
            for name, value in extra.items()
        }
        return {"bootstrap.servers": self.servers, **self._login, **own}

    def producer(self, **extra: Any) -> Producer:
        """A producer;

        `extra` as for `properties`. Java's partitioner is the default here, and not librdkafka's.
        """
        base = {"partitioner": "murmur2_random", "message.max.bytes": LARGEST_RECORD}
        return Producer({**base, **self.properties(**extra)}, logger=_client_log)

    def consumer(self, **extra: Any) -> Consumer:
        """A consumer that sees committed records only and commits nothing by itself; `extra` as for
        `properties`.

        Without `group_id` it can be assigned partitions and belongs to no group.
        """
        extra.setdefault(
            "group_id", f"{self.settings.app}-reader"
        )  # librdkafka wants one even if nothing is committed
        base = {
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "isolation.level": "read_committed",
        }
        return Consumer({**base, **self.properties(**extra)}, logger=_client_log)

    def admin(self) -> AdminClient:
        """A client for topics, groups and offsets."""
        return AdminClient(self.properties(), logger=_client_log)

    def aiokafka(self) -> dict[str, Any]:
        """The same as keyword arguments of aiokafka's clients."""
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
        """Ask the broker what there is; gives its topics.

        Raises
        ------
        BrokerError
            If it does not answer in time, or refuses.
        """
        heard: list[KafkaError] = []
        lines = _Lines()
        admin = AdminClient(self.properties(error_cb=heard.append), logger=lines.logger)
        ends = time.monotonic() + timeout_s
        while True:
            try:
                return admin.list_topics(timeout=max(0.1, min(1.0, ends - time.monotonic())))
            except KafkaException as error:
                admin.poll(0)
                refused = [fault for fault in heard if fault.code() in _REFUSALS]
                if (
                    not refused and sum("closed by peer" in line for line in lines.said) >= 3
                ):  # once is a broker that ends
                    raise BrokerError(
                        f"broker {self.servers}: takes connections and closes them at once; {self._mismatch}"
                    ) from error
                if refused or time.monotonic() >= ends:
                    raise self.error((refused or heard or [error.args[0]])[0]) from error

    @property
    def _mismatch(self) -> str:
        protocol = self._login.get("security.protocol", "PLAINTEXT")
        if protocol == "PLAINTEXT":
            return 'if it wants TLS or a login, set kafka.client "security.protocol" and what belongs to it'
        return f'it may not speak kafka.client "security.protocol" = "{protocol}": correct that, or name the listener that does'

    def error(self, error: KafkaError | KafkaException, doing: str = "") -> BrokerError:
        """The foreign error as ours: which broker, what happened, what to do."""
        fault = error.args[0] if isinstance(error, KafkaException) else error
        code = fault.code()
        place = f"broker {self.servers}" + (f", {doing}" if doing else "")
        if code in _AWAY:
            return BrokerAway(
                f"{place}: does not answer ({fault.str()}); start it, or name another with --broker, {BROKER_VARIABLE} "
                "or kafka.bootstrap_servers"
            )
        if code == KafkaError._AUTHENTICATION:
            user = self._login.get("sasl.username")
            return BrokerError(
                f"{place}: refused the login{f' of {user}' if user else ''} ({fault.str()}); correct "
                f'kafka.client "sasl.username", "sasl.mechanism" or {_place_of_secret(self.settings)}'
            )
        if code == KafkaError._SSL:
            return BrokerError(
                f'{place}: TLS failed ({fault.str()}); check kafka.client "ssl.ca.location" and the certificate of the broker'
            )
        if code in _FORBIDDEN:
            return BrokerError(
                f"{place}: {fault.str()}; the login needs rights on topics, groups and transactional ids of ours"
            )
        return BrokerError(f"{place}: {fault.str()} ({fault.name()})")


class _Lines(logging.Handler):
    """Keeps what a client logs: of a connection that is closed in order, nothing else tells."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.logger = logging.Logger("driftline.kafka.reach")
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.said.append(record.getMessage())


_AWAY = (
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._RESOLVE,
)
_REFUSALS = (KafkaError._AUTHENTICATION, KafkaError._SSL)
_FORBIDDEN = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
)


def _secret(key: str, secret: Secret, environment: Mapping[str, str]) -> str:
    if secret.env is not None:
        value = environment.get(secret.env)
        if not value:
            raise BrokerError(
                f'kafka.client."{key}": the environment variable {secret.env} is not set; set it, or name another'
            )
        return value
    assert secret.file is not None  # one of the two, by driftline.schemas.kafka_settings
    try:
        value = Path(secret.file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BrokerError(
            f'kafka.client."{key}": {secret.file} cannot be read: {getattr(error, "strerror", None) or "no text"}'
        ) from error
    if not value:
        raise BrokerError(
            f'kafka.client."{key}": {secret.file} is empty; it has to hold the secret and nothing else'
        )
    return value


def _place_of_secret(settings: KafkaSettings) -> str:
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
            f'kafka.client: {named} cannot be used: {error.strerror or error}; correct the "ssl." properties'
        ) from error
    # As librdkafka: the name of the broker is checked unless it is switched off.
    context.check_hostname = login.get("ssl.endpoint.identification.algorithm", "https") != "none"
    return context
