"""Records of an index that are kept as they are: alerts, the registry, recommendations, actions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import TypeVar

from msgspec import Struct

from driftline.schemas.results import decoder
from driftline.schemas.topics import TOPICS

T = TypeVar("T", bound=Struct)


class RecordReads:
    """Reads records by topic."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def all(
        self,
        topic: str,
        type_: type[T],
        *,
        model_name: str | None = None,
        model_version: str | None = None,
    ) -> Iterator[T]:
        """The records of a topic; those of one model in the order of the topic."""
        yield from self._read(topic, type_, "TRUE", model_name, model_version)

    def latest(
        self,
        topic: str,
        type_: type[T],
        *,
        model_name: str | None = None,
        model_version: str | None = None,
    ) -> Iterator[T]:
        """The last record of each topic key."""
        last = (
            "sequence = (SELECT max(sequence) FROM records AS other"
            " WHERE other.topic = records.topic AND other.key = records.key)"
        )
        yield from self._read(topic, type_, last, model_name, model_version)

    def _read(
        self,
        topic: str,
        type_: type[T],
        condition: str,
        model_name: str | None,
        model_version: str | None,
    ) -> Iterator[T]:
        if TOPICS[topic].type is not type_:
            raise TypeError(f"records of {topic} are no {type_.__name__}")
        wanted = {"model_name": model_name, "model_version": model_version}
        fields = {name: value for name, value in wanted.items() if value is not None}
        where = "".join(f" AND {name} = :{name}" for name in fields)
        decode = decoder(type_).decode
        for (record,) in self._connection.execute(
            f"SELECT record FROM records WHERE topic = :topic AND {condition}{where}"
            " ORDER BY sequence",
            {"topic": topic, **fields},
        ):
            yield decode(record)
