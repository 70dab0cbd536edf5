"""Export of a broker's topics to a recorded log folder, which replay and the reading commands take.

Input topics become lines of `driftline.agents.recorded.topic_log.ExportedLine`: the value as on the
topic, its partition and offset, and whether the live run rejected it. Partitions are merged in the
order of a log (`driftline.streams.log_order`), as a replay merges topics, so that the export makes
no row late. Output topics become plain lines, in the order of each partition.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.ranges import (
    FetchedRecord,
    may_be_of,
    offset_ranges,
    read_records,
)
from driftline.agents.kafka.broker.wire import partition_of
from driftline.agents.kafka.tools.dead_letters import read_dead_letter
from driftline.agents.kafka.tools.settings_in_force import own_values, settings_in_force
from driftline.agents.recorded.dead_letters import dead_letter
from driftline.agents.recorded.export_manifest import SETTINGS_FILE, ExportManifest, Range
from driftline.agents.recorded.topic_log import ExportedLine, LiveReject
from driftline.schemas.decode import (
    SIDE_DECODERS,
    decode_predictions,
    decode_ticks,
    decode_truths,
)
from driftline.schemas.rejects import Reject
from driftline.schemas.setting_changes import settings_toml
from driftline.schemas.times import parse_time
from driftline.schemas.topics import (
    GROUND_TRUTH,
    METRICS,
    PREDICTIONS,
    REGISTRY_EFFECTS,
    REGISTRY_EVENTS,
    SIDE_INPUTS,
    TICKS,
    TOPICS,
    dlq_name,
)
from driftline.streams.lanes import NO_MODEL
from driftline.streams.log_order import merge_sources

# A replay detects conflicts again: such a row was well formed.
_DETECTED_BY_JOIN: Final = "conflict"
# Such a dead letter is about records that are gone, not about the record at its offset.
_LOST: Final = "lost"

Rejects = dict[tuple[int, int], LiveReject]
Decode = Callable[[Sequence[bytes], Sequence[int]], tuple[Sequence[Any], Sequence[int], Any]]


class ExportError(Exception):
    """A log cannot be exported; the message says why and what to do."""


def export(
    connection: Connection,
    out: Path,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    outputs: bool = True,
    on_progress: Callable[[str, int], None] | None = None,
) -> ExportManifest:
    """Write all input and output topics to a folder, and the settings that the workers recorded.

    Parameters
    ----------
    out
        New or empty folder.
    since_ms, until_ms
        Range of broker timestamps of the records, in ms since the epoch.
    outputs
        Whether to export output topics too. A replay does not need them; `--follow` needs
        `registry-events`, `registry-effects`, `reference-profiles`, `alert-events` and `actions`.
    on_progress
        Called with a topic and the number of lines written so far.

    Raises
    ------
    ExportError
        If the folder is not empty, or the broker lacks the predictions or the ground truth topic.
    KafkaException
        If the broker does not answer.
    """
    if out.exists() and any(out.iterdir()):
        raise ExportError(f"{out} is not empty; name a new folder with --out")
    on_progress = on_progress or (lambda topic, lines: None)
    results = (
        [
            topic.name
            for topic in TOPICS.values()
            if topic.name not in _EVENT_TIMES and topic.type is not None
        ]
        if outputs
        else []
    )
    wanted = offset_ranges(
        connection, [*_EVENT_TIMES, *results], since_ms=since_ms, until_ms=until_ms
    )
    letters_at = offset_ranges(connection, [dlq_name(topic) for topic in _EVENT_TIMES])
    passed_over = _passed_over(connection)
    for topic in (PREDICTIONS, GROUND_TRUTH):
        if not wanted[topic]:
            raise ExportError(
                f'the broker has no topic "{connection.name(topic)}"; `driftline topics list` '
                "shows the topics"
            )
    out.mkdir(parents=True, exist_ok=True)
    counts: dict[str, int] = {}
    for topic in _EVENT_TIMES:
        rejects, letters = _read_rejects(connection, topic, letters_at[dlq_name(topic)])
        if letters:
            counts[dlq_name(topic)] = write_lines(out, dlq_name(topic), iter(letters), on_progress)
        merged = merge_sources(
            _timed(connection, part, len(wanted[topic]), passed_over.get((topic, part.partition)))
            for part in wanted[topic]
        )
        counts[topic] = write_lines(
            out, topic, (exported_line(message, rejects) for _, message in merged), on_progress
        )
    if outputs:
        values = {topic: own_values(connection, wanted[topic]) for topic in results}
        events, effects = in_order_of_effect(
            values[REGISTRY_EVENTS], filter(_is_of_a_model, values[REGISTRY_EFFECTS])
        )
        values |= {
            REGISTRY_EVENTS: iter(events),
            REGISTRY_EFFECTS: iter(effects),
            METRICS: filter(_is_not_provisional, values[METRICS]),
        }
        for name, lines in values.items():
            counts[name] = write_lines(out, name, lines, on_progress)
    settings = settings_in_force(connection, until_ms)
    if settings is not None:
        (out / SETTINGS_FILE).write_text(settings_toml(settings), encoding="utf-8")
    log = ExportManifest(
        since_ms,
        until_ms,
        len(wanted[PREDICTIONS]),
        [part for topic in _EVENT_TIMES for part in wanted[topic]],
        counts,
    )
    log.write(out)
    return log


def _commands(
    topic: str, values: Sequence[bytes], offsets: Sequence[int]
) -> tuple[list[_TimedCommand], Sequence[int], list[Reject]]:
    commands, good, rejects = SIDE_DECODERS[topic](values, offsets)
    return (
        [_TimedCommand(parse_time(command.timestamp), command.model_name) for command in commands],
        good,
        rejects,
    )


class _TimedCommand(msgspec.Struct, frozen=True):
    timestamp_ms: int
    model_name: str


_EVENT_TIMES: Final[dict[str, Decode]] = {
    PREDICTIONS: decode_predictions,
    GROUND_TRUTH: decode_truths,
    TICKS: decode_ticks,
    **{topic: partial(_commands, topic) for topic in SIDE_INPUTS},
}


def _passed_over(connection: Connection) -> dict[tuple[str, int], list[range]]:
    """Offsets that the workers passed over (--resume) and that may still be in the log, by topic
    and partition.
    """
    offsets: dict[tuple[str, int], list[range]] = {}
    for part in offset_ranges(connection, [TICKS])[TICKS]:
        for messages in read_records(connection, part):
            ticks, _, _ = decode_ticks(
                [message.value for message in messages], [message.offset for message in messages]
            )
            for loss in (loss for tick in ticks for loss in tick.lost):
                of_place = offsets.setdefault((loss.topic, part.partition), [])
                if loss.fault == "deleted":
                    of_place.append(range(loss.position, loss.resumed_at))
                else:
                    # What was passed over before was in a topic, or an end of it, that is gone.
                    first = 0 if loss.fault == "made_anew" else loss.resumed_at
                    of_place[:] = [range(first, loss.resumed_at)]
    return offsets


def _timed(
    connection: Connection, wanted: Range, partitions: int, passed_over: Sequence[range] | None
) -> Iterator[tuple[int, FetchedRecord]]:
    """Event time in ms and record of a range; time 0 for an invalid record.

    A command outside the target partition of its model is left out: a worker forwards it, and the
    forwarded copy takes effect. So are records that the workers passed over.
    """
    decode = _EVENT_TIMES[wanted.topic]
    for messages in read_records(connection, wanted):
        if wanted.topic == TICKS:
            messages = [message for message in messages if not _is_request(message.value)]
        for offsets in passed_over or ():
            messages = [message for message in messages if message.offset not in offsets]
        rows, good, _ = decode(
            [message.value for message in messages], [message.offset for message in messages]
        )
        times = {index: row.timestamp_ms for index, row in zip(good, rows, strict=True)}
        elsewhere: set[int] = set()
        if wanted.topic in SIDE_INPUTS:
            targets = (
                (index, partition_of(row.model_name, partitions))
                for index, row in zip(good, rows, strict=True)
            )
            elsewhere = {index for index, target in targets if target != wanted.partition}
        for index, message in enumerate(messages):
            if index not in elsewhere:
                yield times.get(index, 0), message


def _is_request(value: bytes) -> bool:
    """Whether a tick has no positions: it is a request, the answer is a tick with positions.

    An invalid tick is kept: a replay rejects it, as the live run did.
    """
    try:
        return _TICK.decode(value).after is None
    except ValueError:
        return False


def exported_line(message: FetchedRecord, rejects: Rejects) -> bytes:
    """The line of an input record."""
    value, place = message.value, (message.partition, message.offset)
    as_text = (
        value.startswith(b"{") and value.endswith(b"}") and b"\n" not in value and _is_json(value)
    )
    content: dict[str, Any] = (
        {}
        if not message.has_value
        else {"value": msgspec.Raw(value)}
        if as_text
        else {"value_base64": base64.b64encode(value).decode()}
    )
    return _encode(
        ExportedLine(offset=place[1], partition=place[0], refused=rejects.get(place), **content)
    )


def _is_json(value: bytes) -> bool:
    try:
        msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _read_rejects(
    connection: Connection, topic: str, dlq_ranges: Sequence[Range]
) -> tuple[Rejects, list[bytes]]:
    """Records of a topic that this program rejected live, by partition and offset, and the dead
    letters as lines. Those that were rejected before they were re-keyed are not in the export.
    """
    live_rejects: Rejects = {}
    app = connection.settings.app
    letters = []
    for wanted in dlq_ranges:
        for messages in read_records(connection, wanted):
            for message in messages:
                # What another program on the same inputs rejected says nothing about this one.
                letter = read_dead_letter(message) if may_be_of(app, message.headers) else None
                if letter is None:
                    continue
                place, reject = (letter.partition, letter.reject.offset), letter.reject
                is_exported = letter.log is not None or not connection.settings.rekey
                if is_exported and reject.reason not in (_DETECTED_BY_JOIN, _LOST):
                    live_rejects[place] = LiveReject(reject.reason, reject.error)
                line = dead_letter(topic, letter.partition, reject)
                letters.append(
                    msgspec.json.encode(
                        msgspec.structs.replace(line, size=letter.size, sha256=letter.sha256)
                    )
                )
    return live_rejects, letters


def in_order_of_effect(
    events: Iterable[bytes], effects: Iterable[bytes]
) -> tuple[list[bytes], list[bytes]]:
    """Events and effects of the registry in the order in which a replay follows them.

    On the topics the records of each model are in order, but models are in several partitions.
    Effects are sorted by their frontier, and events by the effects that need them; events without
    an effect yet come last.

    Parameters
    ----------
    events, effects
        Values of the two topics; those of one model in their order.
    """
    waiting: dict[str, deque[tuple[int, bytes]]] = {}
    for value in events:
        event = _EVENT.decode(value)
        waiting.setdefault(event.model_name, deque()).append((event.revision, value))
    ordered_effects = sorted(
        ((_EFFECT.decode(value), value) for value in effects),
        key=lambda each: parse_time(each[0].frontier),
    )
    ordered = []
    for effect, _ in ordered_effects:
        of_model = waiting.get(effect.model_name, deque())
        while of_model and of_model[0][0] <= effect.revision:
            ordered.append(of_model.popleft()[1])
    ordered += [value for of_model in waiting.values() for _, value in of_model]
    return ordered, [value for _, value in ordered_effects]


def _is_of_a_model(effect: bytes) -> bool:
    """Whether a replay emits the record too."""
    return _EFFECT.decode(effect).model_name != NO_MODEL


def _is_not_provisional(metric: bytes) -> bool:
    """Whether a replay emits the record too."""
    return not _PROVISIONAL.decode(metric).provisional


class _Provisional(msgspec.Struct):
    provisional: bool = False


class _Event(msgspec.Struct):
    model_name: str
    revision: int


class _Effect(msgspec.Struct):
    model_name: str
    revision: int
    frontier: str


class _Tick(msgspec.Struct):
    after: dict[str, int] | None = None


_TICK = msgspec.json.Decoder(_Tick)
_PROVISIONAL = msgspec.json.Decoder(_Provisional)
_EVENT = msgspec.json.Decoder(_Event)
_EFFECT = msgspec.json.Decoder(_Effect)
_encode = msgspec.json.Encoder().encode


def write_lines(
    out: Path, topic: str, lines: Iterator[bytes], on_progress: Callable[[str, int], None]
) -> int:
    written = 0
    with (out / f"{topic}.jsonl").open("wb") as file:
        for line in lines:
            file.write(line + b"\n")
            written += 1
            if written % 10_000 == 0:
                on_progress(topic, written)
    on_progress(topic, written)
    return written
