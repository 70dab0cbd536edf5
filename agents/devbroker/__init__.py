"""A real broker for development and tests:

Apache Kafka in one process of its own, on the loopback interface, by Java and Maven.
"""

from driftline.agents.devbroker.broker import DevBroker, Running
from driftline.agents.devbroker.java import DevBrokerError

__all__ = ["DevBroker", "DevBrokerError", "Running"]
