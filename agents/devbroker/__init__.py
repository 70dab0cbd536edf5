"""A real broker for development and tests: Apache Kafka in one process of its own, on the loopback interface, by Java and Maven."""

from agents.devbroker.broker import DevBroker, Running
from agents.devbroker.java import DevBrokerError

__all__ = ["DevBroker", "DevBrokerError", "Running"]
