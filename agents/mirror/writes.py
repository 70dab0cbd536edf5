"""What records change in a mirror. The script in Redis reads these structs as JSON.

Fields are written flat, value after name, as Redis takes them. Every write carries what tells an
old one from a new one: the revision of its record, the window, or the place in its topic.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

Flat = list[str]
"""Fields of a hash: name, value, name, value, ..."""


class VersionWrite(Struct, frozen=True):
    """The entry of one version; an entry of a later revision stays."""

    key: str
    revision: int
    fields: Flat


class RegistryWrite(Struct, frozen=True, tag="registry", tag_field="kind"):
    """What is in force of a model, in two groups of fields of one hash, and its changed versions.

    Attributes
    ----------
    offset
        Where its batch begins: it says what holds at the end of the batch.
    revision, fields
        The entries of the model as a whole; no fields if it has none.
    labels_revision, labels
        The labels of the model.
    versions
        Changed entries.
    """

    offset: int
    model_name: str
    key: str
    revision: int
    fields: Flat
    labels_revision: int
    labels: Flat
    versions: list[VersionWrite]


class FiguresWrite(Struct, frozen=True, tag="figures", tag_field="kind"):
    """The newest window of a series; figures of a later window, or of a later revision of the same,
    stay.

    Attributes
    ----------
    series_key, member
        Sorted set of the version, and the series in it.
    written_at_ms
        When the broker took the record.
    expires_at_ms
        When the figures are deleted, unless a later record of the series comes.
    """

    offset: int
    model_name: str
    model_version: str
    key: str
    series_key: str
    member: str
    window_start_ms: int
    revision: int
    written_at_ms: int
    expires_at_ms: int
    fields: Flat


class AlertWrite(Struct, frozen=True, tag="alert", tag_field="kind"):
    """A change of an alert.

    Attributes
    ----------
    record
        The record as on its topic; empty if the alert is resolved.
    """

    offset: int
    model_name: str
    model_version: str
    key: str
    alert_id: str
    record: str


Write = RegistryWrite | FiguresWrite | AlertWrite


def flat(fields: Mapping[str, str | None]) -> Flat:
    """The fields that have a value.

    Examples
    --------
    >>> flat({"n": "3", "low": None})
    ['n', '3']
    """
    return [each for name, value in fields.items() if value is not None for each in (name, value)]


def fields_of(flat_fields: Flat) -> dict[str, str]:
    """The inverse of `flat`."""
    return dict(zip(flat_fields[::2], flat_fields[1::2], strict=True))
