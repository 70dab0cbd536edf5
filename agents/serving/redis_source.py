"""Answers from the mirror in Redis: one call for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from driftline.agents.mirror.keys import Keys
from driftline.agents.mirror.mirror import FORMAT
from driftline.agents.mirror.server import MirrorFault, Server
from driftline.agents.serving.source import Fetched, NoAnswer
from driftline.schemas.settings import Config

if TYPE_CHECKING:
    from redis import Redis


class RedisSource:
    """The mirror that a configuration names.

    Raises
    ------
    ConfigError, MissingExtra
        As `Server`.
    """

    def __init__(self, config: Config) -> None:
        self.keys = Keys.of(config)
        self._server = Server(config, config.redis.timeout_ms / 1000)

    def fetch(self, wanted: Sequence[str]) -> Fetched:
        """See `Source.fetch`; waits for a connection and for an answer as long as `redis.timeout`
        each.
        """

        def question(client: Redis) -> list[Any]:
            pipe = client.pipeline(transaction=True)
            for key in wanted:
                pipe.hgetall(key)
            pipe.hget(self.keys.mirror, "format")
            pipe.get(self.keys.confirmed_at)
            pipe.time()
            return pipe.execute()

        try:
            *hashes, format_, confirmed_ms, (seconds, micros) = self._server.ask(question)
        except MirrorFault as fault:
            raise NoAnswer(str(fault)) from fault
        if format_ is None or not (confirmed_ms or "").isdecimal():
            raise NoAnswer(
                f"Redis at {self._server.place} has no mirror below {self.keys.prefix}: it was "
                "emptied, or no worker has written one yet"
            )
        if format_ != FORMAT:
            raise NoAnswer(
                f"the mirror below {self.keys.prefix} has the format {format_}, this release reads "
                f"{FORMAT}; run the same release as the workers"
            )
        age_s = int(seconds) + int(micros) / 1e6 - int(confirmed_ms) / 1e3
        return Fetched(hashes, max(0.0, age_s))

    def close(self) -> None:
        """Close the connections."""
        self._server.close()
