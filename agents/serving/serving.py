"""`driftline.serving`: what is in force, for a service that serves predictions."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, NamedTuple, Self, TypeVar

from msgspec import Struct

from driftline.agents.configuration import ConfigSource, checked_config
from driftline.agents.serving.answers import (
    Answer,
    LatestFigures,
    ModelInForce,
    alerts_of,
    figures_of,
    model_of,
    version_of,
)
from driftline.agents.serving.source import NoAnswer, Source
from driftline.schemas.results import Alert, RegistryEntry

T = TypeVar("T")

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
MOST_REMEMBERED: Final = 10_000
"""Last known answers that are kept; the one that was asked for least lately goes first."""


class Counts(Struct, frozen=True, kw_only=True):
    """How questions were answered, since the start.

    Attributes
    ----------
    hits, misses
        By the source, with a value and without one.
    last_known
        From memory, because the source did not answer.
    unanswered
        Not at all: the source did not answer, and nothing was known.
    """

    hits: int = 0
    misses: int = 0
    last_known: int = 0
    unanswered: int = 0


class _Known(NamedTuple, Generic[T]):
    value: T | None
    age_s: float
    at_s: float


class Serving:
    """What is in force of each model; `driftline.serving` makes it. Threads may share one.

    Every question is one call of the source, which takes no longer than `redis.timeout` for a
    connection and as long for the answer. While the source does not answer, what it said last is
    returned with its age, and it is asked again after pauses of 0.1 to 5 s.
    """

    def __init__(self, source: Source, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, ...], _Known[Any]] = OrderedDict()
        self._counts = {"hits": 0, "misses": 0, "last_known": 0, "unanswered": 0}
        self._pause_s = 0.0
        self._again_s = 0.0
        self._problem = ""

    def model(self, model_name: str) -> Answer[ModelInForce]:
        """What is in force of a model: the champion, its threshold and configuration, the positive
        label.
        """
        key = self._source.keys.model(model_name)
        return self._ask(
            (key,), lambda hashes: model_of(hashes[0]) if hashes[0] else None, stays=True
        )

    def version(self, model_name: str, model_version: str) -> Answer[RegistryEntry]:
        """The registry entry of a version."""
        key = self._source.keys.version(model_name, model_version)
        return self._ask(
            (key,), lambda hashes: version_of(hashes[0]) if hashes[0] else None, stays=True
        )

    def figures(
        self,
        model_name: str,
        model_version: str,
        *,
        window: str,
        maturity: str | None = None,
        lane: str = "decisions",
        segment: str = "all",
    ) -> Answer[LatestFigures]:
        """The newest complete window of a series, with the baselines of its version.

        Parameters
        ----------
        window
            Name of the window, such as "1d" or "7d/1d".
        maturity
            Name of the rung, such as "1d"; None in a lane without a ladder.
        lane
            "traffic", "decisions" or "arrivals".
        segment
            "all" or "dimension=value".
        """
        keys = self._source.keys
        of_series = keys.figures(model_name, model_version, segment, lane, window, maturity)
        of_version = keys.version(model_name, model_version)
        return self._ask(
            (of_series, of_version),
            lambda hashes: figures_of(hashes[0], hashes[1]) if hashes[0] else None,
        )

    def alerts(self, model_name: str) -> Answer[list[Alert]]:
        """The open alerts of a model, the oldest first; an empty list if none is open."""
        return self._ask(
            (self._source.keys.alerts(model_name),), lambda hashes: alerts_of(hashes[0])
        )

    @property
    def counts(self) -> Counts:
        """How questions were answered, since the start."""
        with self._lock:
            return Counts(**self._counts)

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(
        self,
        keys: tuple[str, ...],
        decode: Callable[[Sequence[Mapping[str, str]]], T | None],
        *,
        stays: bool = False,
    ) -> Answer[T]:
        """The answer from some hashes; `stays` if what was there once is never taken back."""
        with self._lock:
            now_s = self._clock()
            is_pause = now_s < self._again_s
            # One question at a time tries whether the source is back.
            if not is_pause and self._pause_s:
                self._again_s = now_s + self._pause_s
        if is_pause:
            return self._last_known(keys)
        try:
            fetched = self._source.fetch(keys)
            value = decode(fetched.hashes)
            if value is None and stays and self._has(keys):
                raise NoAnswer(f"the key {keys[0]} is missing: it was evicted or deleted")
        except (NoAnswer, ValueError) as error:
            self._note_failure(str(error))
            return self._last_known(keys)
        with self._lock:
            self._pause_s = self._again_s = 0.0
            self._counts["misses" if value is None else "hits"] += 1
            self._known[keys] = _Known(value, fetched.age_s, self._clock())
            self._known.move_to_end(keys)
            if len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)
        return Answer(value=value, age_s=fetched.age_s)

    def _has(self, keys: tuple[str, ...]) -> bool:
        with self._lock:
            known = self._known.get(keys)
        return known is not None and known.value is not None

    def _note_failure(self, problem: str) -> None:
        with self._lock:
            self._problem = problem
            self._pause_s = min(LONGEST_PAUSE_S, max(FIRST_PAUSE_S, 2 * self._pause_s))
            self._again_s = self._clock() + self._pause_s

    def _last_known(self, keys: tuple[str, ...]) -> Answer[Any]:
        with self._lock:
            known = self._known.get(keys)
            if known is None:
                self._counts["unanswered"] += 1
                return Answer(value=None, age_s=None, problem=self._problem)
            self._known.move_to_end(keys)
            self._counts["last_known"] += 1
            return Answer(
                value=known.value,
                age_s=known.age_s + self._clock() - known.at_s,
                is_last_known=True,
                problem=self._problem,
            )


def serving(
    config: ConfigSource = None,
    *,
    out: str | PathLike[str] | None = None,
    broker: str | None = None,
) -> Serving:
    """What is in force, for a service that serves predictions.

    Parameters
    ----------
    config
        As for `replay`. Without `out` and `broker`, answers come from the mirror in Redis that
        `[redis]` names (docs/redis.md).
    out
        An output or export folder: the same answers from its results, in this process.
    broker
        "host:port" of a broker: the same answers from its topics, in this process. Records are
        kept in an index in the user's cache.

    Raises
    ------
    ConfigError
        If the configuration is invalid, names no Redis where none of the others is given, or its
        password cannot be read.
    MissingExtra
        If a library is not installed.
    ReadError, BrokerError, UnusableIndex
        If the folder, the broker or the index cannot be used.
    ValueError
        If a folder and a broker are given.

    Notes
    -----
    Redis need not be there at the start or at any time: see `Serving`.

    Examples
    --------
    >>> import driftline
    >>> model = {"model_name": "churn", "model_version": "1.0.0"}
    >>> hour = "2026-01-05T09:{:02d}:00Z".format
    >>> predictions = [
    ...     {"prediction_id": "a", "timestamp": hour(0), "prediction": "yes", **model},
    ...     {"prediction_id": "b", "timestamp": hour(20), "prediction": "no", **model},
    ... ]
    >>> truths = [{"prediction_id": "a", "timestamp": hour(30), "label": "yes"}]
    >>> results = driftline.replay(predictions, truths, {"defaults": {"windows": ["1h"]}})
    >>> with driftline.serving(out=results.folder) as reads:
    ...     answer = reads.version("churn", "1.0.0")
    ...     print(answer.value.stage, answer.is_last_known, reads.counts.hits)
    development False 1
    """
    settings = checked_config(config)
    if out is not None and broker is not None:
        raise ValueError("serving: out and broker are given; give one of them, or none for Redis")
    if out is None and broker is None:
        from driftline.agents.serving.redis_source import RedisSource

        return Serving(RedisSource(settings))
    from driftline.agents.read_model.read_model import open_broker, open_folder
    from driftline.agents.serving.results_source import ResultsSource

    if out is not None:
        return Serving(ResultsSource(open_folder(Path(out)), settings))
    try:
        from driftline.agents.kafka.broker.connection import Connection
    except ImportError as error:
        from driftline.agents.results import MissingExtra

        raise MissingExtra(
            f'results of a broker need the extra "kafka" ({error}): pip install "driftline[kafka]"'
        ) from error
    return Serving(ResultsSource(open_broker(Connection(settings, broker)), settings))
