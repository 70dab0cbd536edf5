"""A real broker for development and tests: Apache Kafka in one process, on the loopback interface.

Needs Java, and Maven once to fetch Kafka.
"""

from driftline.agents.devbroker.broker import DevBroker, Running
from driftline.agents.devbroker.java import DevBrokerError

__all__ = ["DevBroker", "DevBrokerError", "Running"]
