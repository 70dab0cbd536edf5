"""What differs between the content that a mirror should have and the one that it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct

from driftline.agents.mirror.documents import Documents
from driftline.agents.mirror.mirror import Content

_EXPIRING_MS: Final = 5_000
"""Figures that expire so near to now may be there or not: clocks differ."""


class Difference(Struct, frozen=True):
    """One difference.

    Attributes
    ----------
    key, field
        Where; no field if it is about the key as a whole.
    expected
        What the topics say; null if there should be nothing.
    found
        What Redis has; null if it has nothing.
    """

    key: str
    field: str | None
    expected: str | None
    found: str | None


def differences(documents: Documents, content: Content, now_ms: int) -> Iterator[Difference]:
    """All differences, in the order of the keys.

    Parameters
    ----------
    documents
        What the topics say.
    content
        What Redis has.
    now_ms
        When it was read, by the server's clock.
    """
    either = set(documents.expiries(now_ms - _EXPIRING_MS)) - set(
        documents.expiries(now_ms + _EXPIRING_MS)
    )
    expected = {key: fields for key, fields in documents.hashes(now_ms) if key not in either}
    found = {key: fields for key, fields in content.hashes.items() if key not in either}
    for key in sorted({*expected, *found, *content.foreign}):
        if key in content.foreign:
            wanted = "hash" if key in expected else None
            yield Difference(key, None, wanted, content.foreign[key])
        elif key not in found:
            yield Difference(key, None, "hash", None)
        elif key not in expected:
            yield Difference(key, None, None, "hash")
        else:
            yield from _of_fields(key, expected[key], found[key])
    yield from _of_series(documents, content, now_ms)


def _of_fields(
    key: str, expected: Mapping[str, str], found: Mapping[str, str]
) -> Iterator[Difference]:
    for field in sorted({*expected, *found}):
        if expected.get(field) != found.get(field):
            yield Difference(key, field, expected.get(field), found.get(field))


def _of_series(documents: Documents, content: Content, now_ms: int) -> Iterator[Difference]:
    expected = documents.series(now_ms)
    for key in sorted({*expected, *content.series}):
        if key in content.foreign:
            continue
        wanted, there = expected.get(key, {}), content.series.get(key, {})
        for member in sorted({*wanted, *there}):
            at, found = wanted.get(member), there.get(member)
            known = [each for each in (at, found) if each is not None]
            if at != found and max(known) > now_ms + _EXPIRING_MS:
                yield Difference(
                    key,
                    member,
                    None if at is None else str(at),
                    None if found is None else str(found),
                )
