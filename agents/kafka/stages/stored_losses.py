"""Losses that a task keeps in its state until they are told to stage 2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

from driftline.agents.kafka.changelog.state_format import StateFormatError
from driftline.streams.stage import State

_T = TypeVar("_T", bound=msgspec.Struct)


class StoredLosses(Generic[_T]):
    """A short list under one key, with a format number; no key while it is empty.

    Parameters
    ----------
    key
        Its key in the state.
    type_
        Type of the losses.
    format_
        Number of their layout.

    Raises
    ------
    StateFormatError
        If the state has the format of another release.
    """

    def __init__(self, state: State, key: bytes, type_: type[_T], format_: int) -> None:
        self._state = state
        self._key = key
        self._format = format_
        written = state.get(key)
        found, losses = (format_, []) if written is None else _decode(written)
        if found != format_:
            raise StateFormatError(
                f"the stored losses have format {found}, this release needs {format_}; run the "
                "release that wrote them, or give the program another kafka.app, under which it "
                "starts anew from the input topics"
            )
        self._losses: list[_T] = msgspec.convert(losses, list[type_])  # type: ignore[valid-type]

    def __iter__(self) -> Iterator[_T]:
        return iter(self._losses)

    def __bool__(self) -> bool:
        return bool(self._losses)

    def replace(self, losses: list[_T]) -> None:
        """Keep these in place of the ones before."""
        if losses != self._losses:
            self._losses = losses
            if losses:
                self._state.put(self._key, _encode((self._format, losses)))
            else:
                self._state.delete(self._key)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, list[object]]).decode
