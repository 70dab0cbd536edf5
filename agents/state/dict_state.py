"""State in a plain dictionary, for tests, benchmarks and runs that need not be resumed.

It keeps the contract of `overlay.py` over `rocks.py`, except durability; one suite of tests runs
on both.
"""

from __future__ import annotations

from collections.abc import Sequence


class MemoryState:
    """`State` of one task in a dictionary; changes are visible at once and cannot be undone."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        """Return the value of one key, None if there is none."""
        return self.values.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of several keys, in the order of the keys; keys may repeat."""
        return list(map(self.values.get, keys))

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value of a key."""
        self.values[key] = value

    def put_many(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Set the values of several keys."""
        self.values.update(zip(keys, values, strict=True))

    def delete(self, key: bytes) -> None:
        """Remove a key; it need not exist."""
        self.values.pop(key, None)

    def pop_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Remove several keys and return their values, None where there was none."""
        return [self.values.pop(key, None) for key in keys]

    def delete_range(self, start: bytes, end: bytes) -> None:
        """Remove every key from `start` (included) to `end` (excluded)."""
        for key in [key for key in self.values if start <= key < end]:
            del self.values[key]
