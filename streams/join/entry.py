"""The state of one prediction id, and the outcome that follows from it.

An entry holds the predictions with the id (one per model and version) and the distinct truths.
Outcome, counters and expiry are functions of that set, so they do not depend on the order of
arrival. This file is the definition, for one id at a time; `batch_join.py` handles the common cases
for whole batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.streams.lanes import NO_LABEL

ENTRY_FORMAT: Final = 2
"""Version of everything below that is written to the state: raise it with every change of
`layout_for`, of the kinds or of the structs.
"""

# Kinds of entries: the first byte of each.
WAITING: Final = 1  # one prediction, no truth
JOINED: Final = 2  # one prediction, one truth with a label that counts
PARKED: Final = 3  # one truth, no prediction
GENERAL: Final = 9  # anything else, as msgpack
NO_SCORE: Final = -1


class PredictionPart(msgspec.Struct, array_like=True, gc=False):
    """One prediction.

    Times are in ms; `floor_ms` is the watermark at its arrival less the grace; `score` is in
    SCORE_UNITS, or NO_SCORE.
    """

    name: int
    timestamp_ms: int
    floor_ms: int
    fingerprint: int
    predicted: int
    score: int
    segments: tuple[int, ...]


class TruthPart(msgspec.Struct, array_like=True, gc=False):
    """One distinct truth.

    `label` is NO_LABEL for a retraction. `known_ms` is the time from which the truth counts as
    known, `met` whether it has a prediction.
    """

    revision: int
    label: int
    timestamp_ms: int
    known_ms: int
    met: bool


class Entry(msgspec.Struct, array_like=True, gc=False):
    """Predictions and truths of one id."""

    predictions: list[PredictionPart]
    truths: list[TruthPart]


class Horizons(NamedTuple):
    """Limits of a model in ms; `ladder_ms` ends with the label horizon."""

    ladder_ms: tuple[int, ...]
    correction_ms: int

    @property
    def label_ms(self) -> int:
        return self.ladder_ms[-1]


class LabelChange(NamedTuple):
    """The label in force of a prediction changed from `old` to `new`, `delay_ms` after the
    prediction.
    """

    known_ms: int
    delay_ms: int
    old: int
    new: int
    first: bool


class LateTruth(NamedTuple):
    """A truth that is known to a prediction at `known_ms`, beyond `limit_ms`."""

    known_ms: int
    limit_ms: int
    truth: TruthPart


class Resolution(NamedTuple):
    """Outcome of one prediction: when its first truth was known, how the label in force changed,
    and the truths that came too late.
    """

    first_known_ms: int | None
    changes: list[LabelChange]
    late: list[LateTruth]


def resolve(
    prediction: PredictionPart,
    truths: Sequence[TruthPart],
    horizons: Horizons,
    label_text: Callable[[int], str],
) -> Resolution:
    """Changes of the label in force along event time, and the truths that come too late to count.

    A truth is known to this prediction at the greatest of its own `known_ms`, the prediction's time
    and the prediction's `floor_ms`. It counts if that is at most the label horizon after the
    prediction and at most the correction horizon after the first one that counts. In force is the
    greatest by (revision, timestamp, label) of those known; a retraction in force means no label.

    Parameters
    ----------
    label_text
        Gives the text of a label code; decides between truths of equal revision and timestamp.
    """
    known = [(max(t.known_ms, prediction.timestamp_ms, prediction.floor_ms), t) for t in truths]
    in_time = [(at, t) for at, t in known if at - prediction.timestamp_ms <= horizons.label_ms]
    if not in_time:
        limit_ms = prediction.timestamp_ms + horizons.label_ms
        return Resolution(None, [], [LateTruth(at, limit_ms, t) for at, t in known])
    first_known_ms = min(at for at, _ in in_time)

    def rank(truth: TruthPart) -> tuple[int, int, bytes]:
        return (
            truth.revision,
            truth.timestamp_ms,
            b"" if truth.label == NO_LABEL else label_text(truth.label).encode(),
        )

    counting = sorted(
        ((at, rank(t), t) for at, t in in_time if at <= first_known_ms + horizons.correction_ms),
        key=lambda known: known[:2],
    )
    limit_ms = min(
        prediction.timestamp_ms + horizons.label_ms, first_known_ms + horizons.correction_ms
    )
    late = [LateTruth(at, limit_ms, t) for at, t in known if at > limit_ms]
    changes: list[LabelChange] = []
    in_force, greatest, had_label = NO_LABEL, None, False
    for at, place, truth in counting:
        if greatest is not None and place <= greatest:
            continue
        greatest = place
        if truth.label != in_force:
            changes.append(
                LabelChange(at, at - prediction.timestamp_ms, in_force, truth.label, not had_label)
            )
            in_force, had_label = truth.label, True
    return Resolution(first_known_ms, changes, late)


def prediction_expires_ms(
    prediction: PredictionPart, resolution: Resolution, horizons: Horizons
) -> int:
    """Time after which nothing can change the prediction's outcome, in ms."""
    if resolution.first_known_ms is None:
        return prediction.timestamp_ms + horizons.label_ms
    return resolution.first_known_ms + horizons.correction_ms


def dump(entry: Entry, ordinary: bool, layout: np.dtype[np.void]) -> bytes:
    """Encode an entry: the three common kinds in the fixed layout that `batch_join.py` reads for
    whole batches, everything else as msgpack.

    `ordinary` says that the truth of the one prediction, if there is one, is in force.
    """
    if ordinary and len(entry.predictions) <= 1 and len(entry.truths) <= 1:
        row = np.zeros(1, layout)
        row["kind"] = PARKED if not entry.predictions else JOINED if entry.truths else WAITING
        row["label"] = NO_LABEL
        for p in entry.predictions:
            row["name"], row["timestamp_ms"], row["floor_ms"] = p.name, p.timestamp_ms, p.floor_ms
            row["fingerprint"], row["predicted"], row["score"] = p.fingerprint, p.predicted, p.score
            row["segments"] = p.segments
        for t in entry.truths:
            row["revision"], row["label"], row["truth_ms"], row["known_ms"] = (
                t.revision,
                t.label,
                t.timestamp_ms,
                t.known_ms,
            )
        return row.tobytes()
    return bytes([GENERAL]) + msgspec.msgpack.encode(entry)


_PREDICTION_FIELDS = ("name", "timestamp_ms", "floor_ms", "fingerprint", "predicted", "score")
_decode_entry = msgspec.msgpack.Decoder(Entry).decode


def load(encoded: bytes, layout: np.dtype[np.void]) -> Entry:
    """Decode an entry that `dump` encoded."""
    if encoded[0] == GENERAL:
        return _decode_entry(memoryview(encoded)[1:])
    row = np.frombuffer(encoded, layout)[0]
    kind = int(row["kind"])
    entry = Entry([], [])
    if kind != PARKED:
        name, timestamp_ms, floor_ms, fingerprint, predicted, score = (
            int(row[field]) for field in _PREDICTION_FIELDS
        )
        segments = tuple(int(code) for code in row["segments"])
        entry.predictions.append(
            PredictionPart(name, timestamp_ms, floor_ms, fingerprint, predicted, score, segments)
        )
    if kind != WAITING:
        entry.truths.append(
            TruthPart(
                int(row["revision"]),
                int(row["label"]),
                int(row["truth_ms"]),
                int(row["known_ms"]),
                met=kind == JOINED,
            )
        )
    return entry


def layout_for(dimensions: int) -> np.dtype[np.void]:
    """Fixed layout of the common kinds with `dimensions` segment dimensions, little-endian and
    packed.
    """
    return np.dtype(
        [
            ("kind", "u1"),
            ("name", "<u4"),
            ("predicted", "<u2"),
            ("score", "<i4"),
            ("timestamp_ms", "<i8"),
            ("floor_ms", "<i8"),
            ("fingerprint", "<u8"),
            ("label", "<u2"),
            ("revision", "<i8"),
            ("truth_ms", "<i8"),
            ("known_ms", "<i8"),
            ("segments", "<u4", (dimensions,)),
        ]
    )


def known_ms(rows: NDArray[np.void]) -> NDArray[np.int64]:
    """Time from which the truth of each joined row counts as known to its prediction, shape (N,),
    in ms.
    """
    known: NDArray[np.int64] = np.maximum(
        np.maximum(rows["known_ms"], rows["floor_ms"]), rows["timestamp_ms"]
    )
    return known
