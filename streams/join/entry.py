"""The state of one prediction id, and the outcome that follows from it.

An entry holds the predictions with the id and its truths, each in the order of its own topic. Which
of them meet, the outcome, the counters and the expiry are functions of these two sequences, so they
do not depend on the order in which the topics are read, nor on the time at which the state forgets
what has expired. This file is the definition, for one id at a time; `batch_join.py` handles the
common cases for whole batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.streams.lanes import NO_LABEL

ENTRY_FORMAT: Final = 3
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

    @property
    def arrived_ms(self) -> int:
        """Event time at which it arrived: its own, but not before `floor_ms`."""
        return max(self.timestamp_ms, self.floor_ms)


class TruthPart(msgspec.Struct, array_like=True, gc=False):
    """One row of the truths.

    `label` is NO_LABEL for a retraction. `known_ms` is the time from which the truth counts as
    known. `repeats` is the index of the earlier row with the same truth, to which this one gives an
    earlier time; -1 for a truth of its own.
    """

    revision: int
    label: int
    timestamp_ms: int
    known_ms: int
    repeats: int = -1


class Entry(msgspec.Struct, array_like=True, gc=False):
    """Predictions and truths of one id, in the order of their topics."""

    predictions: list[PredictionPart]
    truths: list[TruthPart]


class Horizons(NamedTuple):
    """Limits of a model in ms; `ladder_ms` ends with the label horizon."""

    ladder_ms: tuple[int, ...]
    correction_ms: int

    @property
    def label_ms(self) -> int:
        return self.ladder_ms[-1]

    @property
    def repeat_ms(self) -> int:
        """How long after a prediction another one of its model version repeats or contradicts it.

        A prediction is kept for at least that long whatever its truths are.
        """
        return min(self.label_ms, self.correction_ms)


class TruthWaits(NamedTuple):
    """How long truths are kept, in ms.

    Attributes
    ----------
    park_ms
        How long a truth waits for its first prediction.
    repeat_ms
        How long the same truth is recognized.
    """

    park_ms: int
    repeat_ms: int


class Group(NamedTuple):
    """Predictions and truths of an entry that meet, directly or by way of others.

    Attributes
    ----------
    predictions, truths
        Their indexes in the entry; repetitions of truths are left out.
    expires_ms
        Time after which no further row meets or repeats any of them.
    """

    predictions: list[int]
    truths: list[int]
    expires_ms: int


class Meetings(NamedTuple):
    """What meets in an entry: the indexes of the truths of each prediction, and the groups."""

    truths_of: list[list[int]]
    groups: list[Group]


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
    """Outcome of one prediction: how the label in force changed, and the truths that came too
    late.
    """

    changes: list[LabelChange]
    late: list[LateTruth]


def meetings(entry: Entry, horizons: Sequence[Horizons], waits: TruthWaits) -> Meetings:
    """Find which predictions and truths meet.

    A truth comes in time for a prediction up to the label horizon after it or, once the prediction
    has met one, up to the correction horizon after the first time at which it knew one. A
    prediction comes in time for a truth up to `park_ms` after it is known or, once the truth has
    met one, up to the correction horizon after the last time at which a prediction knew it. The two
    meet if both are in time, by what is before each of them in its own topic, unless the truth has
    met another prediction of the same model version.

    Parameters
    ----------
    horizons
        Limits by the code of a model version.
    """
    known_ms = [truth.known_ms for truth in entry.truths]
    own = [i for i, truth in enumerate(entry.truths) if truth.repeats < 0]
    until_ms = [at + waits.park_ms for at in known_ms]
    names: list[list[int]] = [[] for _ in known_ms]
    is_shared = False
    groups: list[Group] = []
    for j, p in enumerate(entry.predictions):
        name, arrived_ms, limits = p.name, p.arrived_ms, horizons[p.name]
        correction_ms = limits.correction_ms
        limit_ms, first_ms = p.timestamp_ms + limits.label_ms, None
        met: list[int] = []
        for i in own:
            at = known_ms[i]
            if at > limit_ms or arrived_ms > until_ms[i] or name in names[i]:
                continue
            if at < arrived_ms:
                at = arrived_ms
            if first_ms is None or at < first_ms:
                first_ms = at
                limit_ms = first_ms + correction_ms
            if not names[i]:
                until_ms[i] = at + correction_ms
            else:
                is_shared = True
                until_ms[i] = max(until_ms[i], at + correction_ms)
            names[i].append(name)
            met.append(i)
        groups.append(Group([j], met, limit_ms))
    truths_of = [group.truths for group in groups]
    if is_shared:
        groups = _connected(groups)
    for at, group in enumerate(groups):
        kept_ms = [max(until_ms[i], known_ms[i] + waits.repeat_ms) for i in group.truths]
        groups[at] = Group(group.predictions, group.truths, max([group.expires_ms, *kept_ms]))
    groups += [
        Group([], [i], max(until_ms[i], known_ms[i] + waits.repeat_ms)) for i in own if not names[i]
    ]
    return Meetings(truths_of, groups)


def _connected(groups: Sequence[Group]) -> list[Group]:
    """Join the groups that share a truth."""
    apart: list[Group] = []
    for group in groups:
        shared = [each for each in apart if not set(group.truths).isdisjoint(each.truths)]
        apart = [each for each in apart if each not in shared]
        shared.append(group)
        apart.append(
            Group(
                sorted(j for each in shared for j in each.predictions),
                sorted({i for each in shared for i in each.truths}),
                max(each.expires_ms for each in shared),
            )
        )
    return apart


def without(entry: Entry, groups: Sequence[Group]) -> Entry:
    """The entry without some of its groups."""
    predictions = {j for group in groups for j in group.predictions}
    truths = {i for group in groups for i in group.truths}
    kept = [
        i for i, t in enumerate(entry.truths) if (i if t.repeats < 0 else t.repeats) not in truths
    ]
    place = {i: at for at, i in enumerate(kept)} | {-1: -1}
    return Entry(
        [p for j, p in enumerate(entry.predictions) if j not in predictions],
        [
            msgspec.structs.replace(entry.truths[i], repeats=place[entry.truths[i].repeats])
            for i in kept
        ],
    )


def distinct_truths(truths: Sequence[TruthPart], of: Sequence[int]) -> list[TruthPart]:
    """The truths at the indexes `of` that are among `truths`, each with the earliest times of its
    repetitions.
    """
    earliest = {i: truths[i] for i in of if i < len(truths)}
    if len(earliest) == len(truths):
        return list(earliest.values())
    for row in truths:
        if row.repeats >= 0 and (same := earliest.get(row.repeats)) is not None:
            earliest[row.repeats] = msgspec.structs.replace(
                same,
                timestamp_ms=min(same.timestamp_ms, row.timestamp_ms),
                known_ms=min(same.known_ms, row.known_ms),
            )
    return list(earliest.values())


def repeated_truth(truths: Sequence[TruthPart], part: TruthPart, waits: TruthWaits) -> int | None:
    """Index of the truth that a further row repeats; None if the row is a truth of its own.

    A row repeats a truth with the same revision and label, whatever its time, unless another label
    or a retraction has a time between the two: then the row puts the label in force again. Both
    truths are looked at for `repeat_ms` only, as long as an entry keeps them at least.
    """
    own = [
        i
        for i, truth in enumerate(truths)
        if truth.repeats < 0
        and truth.revision == part.revision
        and part.known_ms <= truth.known_ms + waits.repeat_ms
    ]
    distinct = distinct_truths(truths, own)
    for i, same in zip(own, distinct, strict=True):
        if same.label == part.label:
            first_ms, last_ms = sorted((same.timestamp_ms, part.timestamp_ms))
            if first_ms == last_ms or not any(
                first_ms <= other.timestamp_ms <= last_ms
                for other in distinct
                if other.label != part.label
            ):
                return i
    return None


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
        return Resolution([], [LateTruth(at, limit_ms, t) for at, t in known])
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
    return Resolution(changes, late)


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
