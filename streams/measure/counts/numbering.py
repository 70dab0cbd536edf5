"""Numbers for what has a name: the series and labels of each model, and the models themselves.

Counts travel under names; inside a count table there are only numbers. A number is given at first
sight and stays for good, so that tables of different times add up. The numbers never leave this
stage's state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

import msgspec

from driftline.streams.stage import State

N = TypeVar("N", str, tuple[str, str])

CHUNK: Final = (
    256  # names to a state record, so that a new name does not write all the old ones again
)

Pair = tuple[str, str]


class Names(Generic[N]):
    """Names of one kind, numbered from 0 in the order in which they were first seen.

    Parameters
    ----------
    place
        Prefix of the state keys.
    decode
        Reads a chunk of names; `texts_of` or `pairs_of`.
    limit
        Number of names that there may be; any further one gets the number `limit`, which stands for
        "another".
    """

    def __init__(
        self, place: bytes, decode: Callable[[bytes], list[N]], limit: int, state: State
    ) -> None:
        self._place = place
        self._limit = limit
        self.names: list[N] = []
        while (chunk := state.get(self._key(len(self.names) // CHUNK))) is not None:
            self.names += decode(chunk)
            if len(self.names) % CHUNK:
                break
        self._numbers: dict[N, int] = {name: number for number, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.names)

    def numbers(self, names: Sequence[N], state: State) -> list[int]:
        """The number of each name; a name not seen before is numbered and written to `state`."""
        known = self._numbers
        try:
            return [known[name] for name in names]
        except KeyError:
            return self._numbered(names, state)

    def _numbered(self, names: Sequence[N], state: State) -> list[int]:
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
        return self._place + chunk.to_bytes(4, "big")


_encode = msgspec.msgpack.Encoder().encode
texts_of: Callable[[bytes], list[str]] = msgspec.msgpack.Decoder(list[str]).decode
pairs_of: Callable[[bytes], list[Pair]] = msgspec.msgpack.Decoder(list[tuple[str, str]]).decode
