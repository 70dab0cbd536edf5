"""The files of a broker: properties, logging settings, and the console tools as commands.

One process is broker and controller (KRaft); everything listens on the loopback interface only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

HOST = "127.0.0.1"
NODE = 1

# One broker cannot replicate. Few partitions of the internal topics make start and stop faster.
_SINGLE = {
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "auto.create.topics.enable": "false",
    "log.cleaner.dedupe.buffer.size": str(16 << 20),
}

_LOGGING = """\
rootLogger.level = INFO
rootLogger.appenderRef.file.ref = file
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {log}
appender.file.filePattern = {log}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d %p %c: %m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 20MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 2
"""

TOOLS = {
    "kafka-console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "kafka-console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "kafka-consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "kafka-topics": "org.apache.kafka.tools.TopicCommand",
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-get-offsets": "org.apache.kafka.tools.GetOffsetShell",
}


def write_properties(
    folder: Path, *, port: int, controller_port: int, extra: Mapping[str, str]
) -> Path:
    """Write `server.properties` and the logging settings; `extra` overrides the defaults here."""
    properties = {
        "process.roles": "broker,controller",
        "node.id": str(NODE),
        "controller.quorum.voters": f"{NODE}@{HOST}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "log.dirs": str(folder / "topics"),
        **_SINGLE,
        **{name: value.format(controller_port=controller_port) for name, value in extra.items()},
    }
    path = folder / "server.properties"
    path.write_text(
        "".join(f"{name}={value}\n" for name, value in properties.items()), encoding="utf-8"
    )
    (folder / "log4j2.properties").write_text(
        _LOGGING.format(log=log_file(folder)), encoding="utf-8"
    )
    return path


def log_file(folder: Path) -> Path:
    """Log file of the broker."""
    return folder / "broker.log"


def write_tools(folder: Path, *, java: str, jars: Path) -> Path:
    """Write Kafka's console tools as commands under their usual names; returns their folder."""
    tools = folder / "bin"
    tools.mkdir(exist_ok=True)
    for name, main in TOOLS.items():
        script = tools / name
        options = "-Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dlog4j2.level=ERROR"
        script.write_text(
            f"#!/bin/sh\nexec '{java}' {options} -cp '{jars}/*' {main} \"$@\"\n", encoding="utf-8"
        )
        script.chmod(0o755)
    return tools
