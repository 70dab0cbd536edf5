"""What a detector on single outcomes has read since it began, and what it found.

A detector is rebuilt from the outcomes, so the state holds nothing of the library that it comes
from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Detector(Protocol):
    """A detector of changes in a sequence of zeros and ones. It begins anew by itself with the
    first outcome after a detection.
    """

    @property
    def drift_detected(self) -> bool:
        """Whether it has found a change with the newest outcome."""

    def update(self, x: int, /) -> object:
        """Read one outcome: 1 for a wrong prediction, else 0."""


class OutcomeHistory(msgspec.Struct, frozen=True, array_like=True):
    """Outcomes since the detector began.

    Parameters
    ----------
    n, errors
        Number of outcomes, and a bit for each, the first one in the highest bit of the first byte.
    detections, detected_ms
        Number of detections in the open episode, and when the newest one was told; 0 and -1 without
        one.
    """

    n: int = 0
    errors: bytes = b""
    detections: int = 0
    detected_ms: int = -1

    def outcomes(self) -> bytes:
        """A byte for each outcome.

        Examples
        --------
        >>> OutcomeHistory(n=3, errors=bytes([0b0110_0000])).outcomes()
        b'\\x00\\x01\\x01'
        """
        packed = np.frombuffer(self.errors, np.uint8)
        return np.unpackbits(packed, count=self.n).tobytes()


class Change(NamedTuple):
    """The most likely place of a change in a sequence.

    Attributes
    ----------
    n_before, wrong_before
        Outcomes before the change, and how many of them are wrong.
    n_since, wrong_since
        Those from the change on.
    """

    n_before: int
    wrong_before: int
    n_since: int
    wrong_since: int


class Reading(NamedTuple):
    """What followed from some more outcomes.

    Attributes
    ----------
    history, detector
        After them.
    detections
        Number of detections.
    change
        That of the last detection; None without one.
    """

    history: OutcomeHistory
    detector: Detector
    detections: int
    change: Change | None


def rebuilt(history: OutcomeHistory, create: Callable[[], Detector]) -> Detector:
    """The detector that has read the outcomes of a history."""
    return _having_read(history.outcomes(), create)


def read(
    history: OutcomeHistory,
    detector: Detector,
    errors: bytes,
    *,
    create: Callable[[], Detector],
    memory: int,
) -> Reading:
    """Read some more outcomes, a byte for each.

    After a detection a new detector begins. After `memory` outcomes without one, a new detector
    begins with the newest half of them; changes that it finds in these are not told again.
    """
    seen = bytearray(history.outcomes())
    detections, last = 0, b""
    for error in errors:
        detector.update(error)
        seen.append(error)
        if detector.drift_detected:
            detections, last = detections + 1, bytes(seen)
            seen, detector = bytearray(), create()
        elif len(seen) >= memory:
            seen = seen[-(memory // 2) :]
            detector = _having_read(bytes(seen), create)
    packed = np.packbits(np.frombuffer(bytes(seen), np.uint8)).tobytes()
    after = msgspec.structs.replace(history, n=len(seen), errors=packed)
    return Reading(after, detector, detections, most_likely_change(last) if last else None)


def most_likely_change(errors: bytes) -> Change:
    """The split of a sequence whose two parts, each with an error rate of its own, make it most
    likely; the first one of several.

    Examples
    --------
    >>> most_likely_change(bytes([0, 0, 1, 0, 0, 1, 1, 1]))
    Change(n_before=5, wrong_before=1, n_since=3, wrong_since=3)
    """
    wrong = np.cumsum(np.frombuffer(errors, np.uint8), dtype=np.int64)
    n, total = len(errors), int(wrong[-1])
    if n == 1:
        return Change(0, 0, n, total)
    before = np.arange(1, n)
    likelihood = _log_likelihood(wrong[:-1], before)
    likelihood += _log_likelihood(total - wrong[:-1], n - before)
    at = int(likelihood.argmax())
    return Change(at + 1, int(wrong[at]), n - at - 1, total - int(wrong[at]))


def _log_likelihood(wrong: Ints, n: Ints) -> Floats:
    """Log likelihood of counts at their own error rate, shape (N,)."""
    right = n - wrong
    # 0 * log(0) is 0.
    likelihood: Floats = wrong.astype(np.float64) * np.log(np.maximum(wrong, 1) / n)
    likelihood += right * np.log(np.maximum(right, 1) / n)
    return likelihood


def _having_read(outcomes: bytes, create: Callable[[], Detector]) -> Detector:
    detector = create()
    for error in outcomes:
        detector.update(error)
    return detector
