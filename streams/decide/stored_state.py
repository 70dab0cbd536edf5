"""What stage 3 remembers, as MessagePack with a format number in its state.

One key per model for what its series share, one per version for its standing and one for its
tuner, one per series for the lives of its alerts. A memory is read when first needed in a batch and written at its end if it
has changed.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from driftline.schemas.times import EpochMs
from driftline.streams.decide.alert_lifecycle import Life
from driftline.streams.decide.daily_variance import Days
from driftline.streams.decide.judged_rung import Maturity
from driftline.streams.decide.judgement import Activity, DriftWindow, Standing
from driftline.streams.stage import State

FORMAT = 3

_T = TypeVar("_T", bound=msgspec.Struct)
# Times stay integers in state.
_encode = msgspec.msgpack.Encoder(enc_hook=int).encode


class VersionMemory(msgspec.Struct, omit_defaults=True):
    """What is known about a version.

    Parameters
    ----------
    standing
        In the registry.
    last_ms
        End of the newest window of traffic with predictions; -1 before the first.
    segments
        Those that have a memory of their own.
    """

    standing: Standing = Standing()
    last_ms: int = -1
    segments: list[str] = []


class ModelMemory(msgspec.Struct, omit_defaults=True):
    """What the series of a model share.

    Parameters
    ----------
    now_ms
        The greatest event time at which a figure that was read is complete.
    maturity
        By window.
    in_production
        Versions whose entry says so: for a moment two, while one takes the place of another.
    last_ms
        End of the newest window of traffic with predictions, of all versions; -1 before the first.
    drift
        Windows whose verdicts are still coming in.
    """

    now_ms: int = 0
    maturity: dict[str, Maturity] = {}
    in_production: list[str] = []
    last_ms: int = -1
    drift: list[DriftWindow] = []


class SeriesMemory(msgspec.Struct, omit_defaults=True):
    """What is remembered of one version in one segment.

    Parameters
    ----------
    lives
        By name of the rule.
    days
        Daily values by maturity.
    activity
        None before the first prediction.
    """

    lives: dict[str, Life] = {}
    days: dict[str, Days] = {}
    activity: Activity | None = None


class Memories:
    """The memories of one batch over the state of the stage."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._held: dict[bytes, tuple[msgspec.Struct, bytes | None]] = {}

    def recall(self, kind: type[_T], *name: str) -> _T:
        """The memory of that name, an empty one if there is none; the same object for the same
        name.

        Raises
        ------
        ValueError
            If it was written in another format.
        """
        key = _key(kind, name)
        if key not in self._held:
            written = self._state.get(key)
            self._held[key] = (
                (kind() if written is None else _decoded(written, kind, name)),
                written,
            )
        memory = self._held[key][0]
        if not isinstance(memory, kind):
            raise TypeError(
                f"decide: memory {name} is a {type(memory).__name__}, needed {kind.__name__}"
            )
        return memory

    def forget(self, kind: type[msgspec.Struct], *name: str) -> None:
        """Drop the memory of that name."""
        self._held.pop(_key(kind, name), None)
        self._state.delete(_key(kind, name))

    def write(self) -> None:
        """Put what has changed into the state."""
        for key, (memory, written) in self._held.items():
            encoded = _encode((FORMAT, memory))
            if encoded != written:
                self._state.put(key, encoded)


def _key(kind: type[msgspec.Struct], name: tuple[str, ...]) -> bytes:
    return _encode((kind.__name__, *name))


def _time_of(type_: type, value: Any) -> EpochMs:
    if type_ is EpochMs:
        return EpochMs(value)
    raise NotImplementedError(f"{type_.__name__} is no type of this state")


def _decoded(written: bytes, kind: type[_T], name: tuple[str, ...]) -> _T:
    held: tuple[int, Any] = msgspec.msgpack.decode(written, type=tuple[int, msgspec.Raw])
    if held[0] != FORMAT:
        raise ValueError(
            f"decide: state of {'/'.join(name)} has format {held[0]}, needed {FORMAT}; replay the log into new state"
        )
    return msgspec.msgpack.decode(held[1], type=kind, dec_hook=_time_of)
