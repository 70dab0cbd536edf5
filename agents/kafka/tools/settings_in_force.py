"""The settings with which the workers of a program run, as they recorded them on
`registry-effects`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.ranges import may_be_of, offset_ranges, read_records
from driftline.agents.recorded.export_manifest import Range
from driftline.schemas.results import RegistryEffect
from driftline.schemas.setting_changes import Change, changes_of, recorded_settings
from driftline.schemas.topics import REGISTRY_EFFECTS
from driftline.streams.lanes import NO_MODEL

_decode = msgspec.json.Decoder(RegistryEffect).decode


def settings_in_force(connection: Connection, until_ms: int | None = None) -> dict[str, Any] | None:
    """The settings that the workers of this program recorded last before a time; None without any.

    Parameters
    ----------
    until_ms
        Broker timestamp in ms since the epoch; None for now.

    Raises
    ------
    KafkaException
        If the broker does not answer, or the login may not read the topic.
    """
    ranges = offset_ranges(connection, [REGISTRY_EFFECTS], until_ms=until_ms)[REGISTRY_EFFECTS]
    settings = None
    for value in own_values(connection, ranges):
        effect = _decode(value)
        if effect.model_name == NO_MODEL:
            settings = effect.settings
    return settings


def own_values(connection: Connection, ranges: Sequence[Range]) -> Iterator[bytes]:
    """Values that this program wrote: a former owner of the results may have left records."""
    app = connection.settings.app
    for part in ranges:
        for messages in read_records(connection, part):
            yield from (
                message.value
                for message in messages
                if message.value and may_be_of(app, message.headers)
            )


def changed_settings(connection: Connection) -> list[Change]:
    """Settings in which the configuration of a connection differs from that of the workers.

    All models of both are compared as if they had been counted. Empty where no worker has recorded
    anything.

    Raises
    ------
    KafkaException
        As `settings_in_force`.
    """
    before = settings_in_force(connection)
    if before is None:
        return []
    now = recorded_settings(connection.config, partitions=True)
    named = {*before["models"], *now["models"]}
    # A name that no file has: a model for which the defaults hold.
    unnamed = "*".join(["", *sorted(named), ""])
    return changes_of(before, now, [NO_MODEL, unnamed, *sorted(named)])
