"""Names of the keys of a mirror.

Below the prefix each key has a kind and the names that it is about, percent-encoded and joined by
slashes as in the keys of topics: no name can reach into another key.
"""

from __future__ import annotations

from typing import Final, Literal

from driftline.schemas.results import NO_MATURITY, key_of
from driftline.schemas.settings import Config

Kind = Literal[
    "model", "version", "figures", "series", "alerts", "mirror", "confirmed_at", "changes"
]

TYPES: Final[dict[Kind, str]] = {
    "model": "hash",
    "version": "hash",
    "figures": "hash",
    "series": "zset",
    "alerts": "hash",
    "mirror": "hash",
    "confirmed_at": "string",
    "changes": "stream",
}
"""By kind of key, the type of its value."""


class Keys:
    """The keys below a prefix.

    Attributes
    ----------
    mirror
        Hash: the format, and how far each topic has been mirrored.
    confirmed_at
        String: when the mirror was last known to hold all that the topics hold.
    changes
        Stream: the newest changes.

    Examples
    --------
    >>> keys = Keys("driftline")
    >>> keys.version("churn", "1.4.2"), keys.model("a:b/c")
    ('driftline:version:churn/1.4.2', 'driftline:model:a:b%2Fc')
    >>> keys.kind_of(keys.model("a:b/c")), keys.kind_of("driftline:else:x")
    ('model', None)
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.mirror = f"{prefix}:mirror"
        self.confirmed_at = f"{prefix}:confirmed_at"
        self.changes = f"{prefix}:changes"

    @classmethod
    def of(cls, config: Config) -> Keys:
        """The keys of a program."""
        return cls(config.redis.prefix or f"{config.topic_prefix}{config.kafka.app}")

    def model(self, model_name: str) -> str:
        """Hash: what is in force of a model."""
        return self._key("model", model_name)

    def version(self, model_name: str, model_version: str) -> str:
        """Hash: the registry entry of a version."""
        return self._key("version", model_name, model_version)

    def figures(
        self,
        model_name: str,
        model_version: str,
        segment: str,
        lane: str,
        window: str,
        maturity: str | None,
    ) -> str:
        """Hash: the newest complete window of a series."""
        return self._key(
            "figures", model_name, model_version, *_series(segment, lane, window, maturity)
        )

    def series(self, model_name: str, model_version: str) -> str:
        """Sorted set: the series of a version, each with the time when its figures expire."""
        return self._key("series", model_name, model_version)

    def alerts(self, model_name: str) -> str:
        """Hash: the open alerts of a model."""
        return self._key("alerts", model_name)

    def kind_of(self, key: str) -> Kind | None:
        """The kind of a key; None if it is none of the mirror."""
        if not key.startswith(f"{self.prefix}:"):
            return None
        name = key.removeprefix(f"{self.prefix}:").partition(":")[0]
        return next((kind for kind in TYPES if kind == name), None)

    def _key(self, kind: Kind, *names: str) -> str:
        return f"{self.prefix}:{kind}:{key_of(names)}"


def member_of(segment: str, lane: str, window: str, maturity: str | None) -> str:
    """A series in the sorted set of its version: the end of the key of its figures.

    Examples
    --------
    >>> member_of("plan=pro", "decisions", "7d/1d", "1d"), member_of("all", "traffic", "1h", None)
    ('plan=pro/decisions/7d%2F1d/1d', 'all/traffic/1h/-')
    """
    return key_of(_series(segment, lane, window, maturity))


def _series(segment: str, lane: str, window: str, maturity: str | None) -> tuple[str, ...]:
    return segment, lane, window, maturity or NO_MATURITY
