"""Numbers for names, kept in the state of one partition.

A name gets the next number when it is first seen and keeps it, so that entries and count tables of
different times refer to it by the same number. The numbers mean nothing outside that state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

import msgspec

from driftline.streams.stage import State

N = TypeVar("N", str, tuple[str, str])

CHUNK: Final = 256  # names per state record: a new name does not rewrite all earlier ones


class Numbering(Generic[N]):
    """Names of one kind, numbered from 0 in the order in which they were first seen.

    Parameters
    ----------
    prefix
        Prefix of the state keys; the number of a chunk follows it, 4 bytes.
    decode
        Reads a chunk of names; `decode_texts` or `decode_pairs`.
    limit
        Largest number of names. Every further name gets the number `limit`, which stands for
        "another". None for no limit.

    Attributes
    ----------
    names
        The names by number.
    """

    def __init__(
        self,
        prefix: bytes,
        decode: Callable[[bytes], list[N]],
        state: State,
        *,
        limit: int | None = None,
    ) -> None:
        self._prefix = prefix
        self._limit = NO_LIMIT if limit is None else limit
        self.names: list[N] = []
        while (chunk := state.get(self._key(len(self.names) // CHUNK))) is not None:
            self.names += decode(chunk)
            if len(self.names) % CHUNK:
                break
        self._numbers: dict[N, int] = {name: number for number, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: N) -> bool:
        return name in self._numbers

    def number_of(self, name: N) -> int | None:
        """The number of a name; None if it has none."""
        return self._numbers.get(name)

    def numbers(self, names: Sequence[N], state: State) -> list[int]:
        """The number of each name; new names are numbered and written to `state`."""
        known = self._numbers
        try:
            return [known[name] for name in names]
        except KeyError:
            return self._with_new_names(names, state)

    def _with_new_names(self, names: Sequence[N], state: State) -> list[int]:
        known, before = self._numbers, len(self.names)
        for name in names:
            if name not in known and len(self.names) < self._limit:
                known[name] = len(self.names)
                self.names.append(name)
        if len(self.names) > before:
            for chunk in range(before // CHUNK, (len(self.names) - 1) // CHUNK + 1):
                state.put(
                    self._key(chunk), _encode(self.names[chunk * CHUNK : (chunk + 1) * CHUNK])
                )
        return [known.get(name, self._limit) for name in names]

    def _key(self, chunk: int) -> bytes:
        return self._prefix + chunk.to_bytes(4, "big")


NO_LIMIT: Final = 1 << 62

_encode = msgspec.msgpack.Encoder().encode
decode_texts: Callable[[bytes], list[str]] = msgspec.msgpack.Decoder(list[str]).decode
decode_pairs: Callable[[bytes], list[tuple[str, str]]] = msgspec.msgpack.Decoder(
    list[tuple[str, str]]
).decode
