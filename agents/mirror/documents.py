"""What a mirror holds, in memory: the same writes lead to the same content as in Redis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from driftline.agents.mirror.writes import (
    AlertWrite,
    FiguresWrite,
    RegistryWrite,
    Write,
    fields_of,
)

_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(dict[str, str]).decode


class _Model(msgspec.Struct):
    revision: int = -1
    fields: dict[str, str] = {}
    labels_revision: int = -1
    labels: dict[str, str] = {}


class _Version(NamedTuple):
    revision: int
    fields: dict[str, str]


class _Figures(msgspec.Struct):
    """Figures of one series; `packed` are their fields, because there are many of them."""

    series_key: str
    member: str
    window_start_ms: int
    revision: int
    expires_at_ms: int
    packed: bytes


class Documents:
    """The content of a mirror."""

    def __init__(self) -> None:
        self._models: dict[str, _Model] = {}
        self._versions: dict[str, _Version] = {}
        self._figures: dict[str, _Figures] = {}
        self._alerts: dict[str, dict[str, str]] = {}

    def apply(self, write: Write) -> None:
        """Take over a write, unless it is older than what is there. Writes of alerts are taken in
        the order of their topic.
        """
        if isinstance(write, RegistryWrite):
            self._apply_registry(write)
        elif isinstance(write, FiguresWrite):
            self._apply_figures(write)
        else:
            self._apply_alert(write)

    def hashes(self, now_ms: int) -> Iterator[tuple[str, dict[str, str]]]:
        """Every hash with its fields, without figures that have expired."""
        for key, model in self._models.items():
            yield key, model.fields | model.labels
        for key, version in self._versions.items():
            yield key, version.fields
        for key, figures in self._figures.items():
            if figures.expires_at_ms > now_ms:
                yield key, _decode(figures.packed)
        yield from self._alerts.items()

    def hash(self, key: str) -> dict[str, str]:
        """The fields of one hash; empty if there is none."""
        if (model := self._models.get(key)) is not None:
            return model.fields | model.labels
        if (version := self._versions.get(key)) is not None:
            return version.fields
        if (figures := self._figures.get(key)) is not None:
            return _decode(figures.packed)
        return self._alerts.get(key, {})

    def expiries(self, now_ms: int) -> dict[str, int]:
        """By key of figures, when they expire."""
        return {
            key: figures.expires_at_ms
            for key, figures in self._figures.items()
            if figures.expires_at_ms > now_ms
        }

    def series(self, now_ms: int) -> dict[str, dict[str, int]]:
        """By key of a sorted set, its members and their scores."""
        found: dict[str, dict[str, int]] = {}
        for figures in self._figures.values():
            if figures.expires_at_ms > now_ms:
                members = found.setdefault(figures.series_key, {})
                members[figures.member] = figures.expires_at_ms
        return found

    def drop_expired(self, now_ms: int) -> None:
        """Forget figures that have expired."""
        self._figures = {
            key: figures for key, figures in self._figures.items() if figures.expires_at_ms > now_ms
        }

    def restore_figures(
        self, key: str, series_key: str, member: str, expires_at_ms: int, fields: Mapping[str, str]
    ) -> None:
        """Take over figures as a mirror has them.

        Raises
        ------
        KeyError, ValueError
            If they have no window or no revision.
        """
        self._figures[key] = _Figures(
            series_key,
            member,
            int(fields["window_start_ms"]),
            int(fields["revision"]),
            expires_at_ms,
            _encode(fields),
        )

    def restore_alerts(self, key: str, alerts: Mapping[str, str]) -> None:
        """Take over the open alerts of a model as a mirror has them."""
        self._alerts[key] = dict(alerts)

    def _apply_registry(self, write: RegistryWrite) -> None:
        model = self._models.setdefault(write.key, _Model())
        if write.fields and write.revision >= model.revision:
            model.revision, model.fields = write.revision, fields_of(write.fields)
        if write.labels_revision >= model.labels_revision:
            model.labels_revision, model.labels = write.labels_revision, fields_of(write.labels)
        for each in write.versions:
            known = self._versions.get(each.key)
            if known is None or each.revision >= known.revision:
                self._versions[each.key] = _Version(each.revision, fields_of(each.fields))

    def _apply_figures(self, write: FiguresWrite) -> None:
        known = self._figures.get(write.key)
        expires_at_ms = write.expires_at_ms
        if known is not None and known.expires_at_ms > write.written_at_ms:
            expires_at_ms = max(expires_at_ms, known.expires_at_ms)
            if (known.window_start_ms, known.revision) > (write.window_start_ms, write.revision):
                known.expires_at_ms = expires_at_ms
                return
        self._figures[write.key] = _Figures(
            write.series_key,
            write.member,
            write.window_start_ms,
            write.revision,
            expires_at_ms,
            _encode(fields_of(write.fields)),
        )

    def _apply_alert(self, write: AlertWrite) -> None:
        if write.record:
            self._alerts.setdefault(write.key, {})[write.alert_id] = write.record
        elif (alerts := self._alerts.get(write.key)) is not None:
            alerts.pop(write.alert_id, None)
            if not alerts:
                del self._alerts[write.key]
