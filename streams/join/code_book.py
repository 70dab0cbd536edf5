"""Small integers for the texts of one partition, kept in its state so that entries can refer to
them.

The numbers follow the order in which texts were first seen; they never leave the partition.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.streams.join.state_keys import NO_ID
from driftline.streams.stage import State

CHUNK: Final = (
    256  # texts to a state record, so that a new text does not write all the old ones again
)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[str]).decode


class Dictionary:
    """Texts of one kind ("model version", "label", "segment value"), numbered from 0."""

    def __init__(self, kind: bytes, state: State) -> None:
        self._prefix = NO_ID + b"d" + kind
        self.texts: list[str] = []
        while (chunk := state.get(self._key(len(self.texts) // CHUNK))) is not None:
            self.texts += _decode(chunk)
            if len(self.texts) % CHUNK:
                break
        self._codes = {text: code for code, text in enumerate(self.texts)}

    def __len__(self) -> int:
        return len(self.texts)

    def __contains__(self, text: str) -> bool:
        return text in self._codes

    def codes(self, texts: Iterable[str], state: State) -> NDArray[np.int64]:
        """The code of each text, shape (N,); texts not seen before are numbered and written to
        `state`.
        """
        codes, first_new = [], len(self.texts)
        for text in texts:
            code = self._codes.get(text)
            if code is None:
                code = self._codes[text] = len(self.texts)
                self.texts.append(text)
            codes.append(code)
        for chunk in range(
            first_new // CHUNK, -(-len(self.texts) // CHUNK) if len(self.texts) > first_new else 0
        ):
            state.put(self._key(chunk), _encode(self.texts[chunk * CHUNK : (chunk + 1) * CHUNK]))
        return np.array(codes, np.int64)

    def _key(self, chunk: int) -> bytes:
        return self._prefix + chunk.to_bytes(4, "big")
