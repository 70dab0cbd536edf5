"""Files of a recorded log, and the decoders of their values."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path

from driftline.agents.recorded.lines import LogError
from driftline.agents.recorded.topic_log import Decode
from driftline.schemas.decode import decode_predictions, decode_ticks, decode_truths
from driftline.schemas.topics import (
    GROUND_TRUTH,
    PREDICTIONS,
    REFERENCE_PROFILES,
    REGISTRY_EFFECTS,
    REGISTRY_EVENTS,
    REPORTS,
    SIDE_INPUTS,
    TICKS,
)

NEEDED = (PREDICTIONS, GROUND_TRUTH)
FOLLOWED = (REGISTRY_EVENTS, REGISTRY_EFFECTS, REFERENCE_PROFILES)
"""What `--follow` reads beside them."""


def decoders(latest_ms: int, missing_labels: Collection[str]) -> dict[str, tuple[Decode, Decode]]:
    """The decoder of each input topic, for a plain file or a table, and for the export of a broker;
    `missing_labels` are the texts that stand for no label.

    An export marks the values that the live run rejected as too far ahead of its clock; they are
    not checked against another clock.
    """
    missing = frozenset(missing_labels)
    predictions = partial(decode_predictions, missing_labels=missing)
    truths = partial(decode_truths, missing_labels=missing)
    return {
        PREDICTIONS: (partial(predictions, latest_ms=latest_ms), predictions),
        GROUND_TRUTH: (partial(truths, latest_ms=latest_ms), truths),
        TICKS: (partial(decode_ticks, latest_ms=latest_ms), decode_ticks),
    }


def input_files(source: Path, *, follow: bool) -> dict[str, Path]:
    """The files of a recorded log by topic.

    Raises
    ------
    LogError
        If there is no such folder, or a required file is missing.
    """
    if not source.is_dir():
        raise LogError(
            f"{source} is neither the folder of a recorded log nor a table "
            "(.csv, .tsv, .parquet, with .gz or .zst if they are compressed)"
        )
    needed = [*NEEDED, *(FOLLOWED if follow else ())]
    used = [*needed, TICKS, *(REPORTS if follow else SIDE_INPUTS)]
    files = {topic: source / f"{topic}.jsonl" for topic in used}
    for topic in needed:
        if not files[topic].is_file():
            names = " and ".join(f"{name}.jsonl" for name in needed)
            raise LogError(
                f"{files[topic]} is missing; a recorded log is a folder with {names}, "
                "which may be empty"
            )
    return {topic: path for topic, path in files.items() if path.is_file()}
