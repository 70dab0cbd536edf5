"""One background thread keeps the read model up to date, and says what changed.

It looks about once a second, less often while nothing comes. Where the source is away, the answers
stay as they are, and it says since when. A source that is back may be another one, such as a new
run in the same folder: its index is opened anew, and the old one is closed once nobody reads it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from driftline.agents.read_model.intake import Changed
from driftline.agents.read_model.read_model import ReadModel, Reads
from driftline.agents.serve.answers.pipeline import PartitionLag, SourceState
from driftline.agents.terminal import inert
from driftline.schemas.errors import DriftlineError
from driftline.schemas.times import EpochMs

log = logging.getLogger(__name__)

READERS: Final = 4
"""Threads that answer; the connection of each keeps up to 32 MiB of the pages of the index."""
LEAST_PAUSE_S: Final = 1.0
MOST_PAUSE_S: Final = 4.0
LOOK_MS: Final = 10_000
EVERYTHING: Final = Changed("", "", "")
"""Stands for anything: another process added to the index, or the index is another one."""
_JOIN_S: Final = 1.0


class Lease:
    """A read model that is closed once it is replaced and nobody reads it."""

    def __init__(self, model: ReadModel) -> None:
        self.model = model
        # The threads that answer, and the one that follows.
        model.reserve(READERS + 1)
        self._guard = threading.Lock()
        self._readers = 0
        self._is_replaced = False

    @contextmanager
    def __call__(self) -> Iterator[ReadModel]:
        with self._guard:
            self._readers += 1
        try:
            yield self.model
        finally:
            with self._guard:
                self._readers -= 1
                is_last = self._is_replaced and not self._readers
            if is_last:
                self.model.close()

    def replace(self) -> None:
        """Close the model, now or after the last reader."""
        with self._guard:
            self._is_replaced = True
            is_free = not self._readers
        if is_free:
            self.model.close()


class Follower:
    """Follows one source.

    Parameters
    ----------
    open_model
        Opens the read model of the source, not refreshed.
    errors
        What a source that is away raises, beside errors of this program and of the system.
    look
        Asks a broker for the lag of its inputs; called every ten seconds or so.

    Raises
    ------
    DriftlineError
        If the source cannot be opened.
    """

    def __init__(
        self,
        open_model: Callable[[], ReadModel],
        errors: tuple[type[Exception], ...] = (),
        look: Callable[[], list[PartitionLag]] | None = None,
    ) -> None:
        self._open = open_model
        self._look = look
        self._partitions: tuple[list[PartitionLag], EpochMs | None] = ([], None)
        self._errors: tuple[type[Exception], ...] = (DriftlineError, OSError, *errors)
        self._lease = Lease(open_model())
        self._listeners: list[Callable[[set[Changed]], None]] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="driftline-follower", daemon=True)
        self._guard = threading.Lock()
        self._state = SourceState(
            place=inert(self._lease.model.place),
            state="catching_up",
            since_ms=_now(),
            problem=None,
            checked_at_ms=None,
            changed_at_ms=None,
            unreadable={},
        )

    def listen(self, listener: Callable[[set[Changed]], None]) -> None:
        """Call a function in the thread of the follower with what changed; an empty set says that
        the state of the source did.
        """
        self._listeners.append(listener)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """End, after at most about a second: a broker that does not answer is not waited for."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(_JOIN_S)
        self._lease.replace()

    @contextmanager
    def reading(self) -> Iterator[Reads]:
        """Answers from one state of the index."""
        with self.model() as model, model.reading() as reads:
            yield reads

    @contextmanager
    def model(self) -> Iterator[ReadModel]:
        """The read model in use."""
        with self._guard:
            lease = self._lease
        with lease() as model:
            yield model

    def source(self) -> SourceState:
        """How the source is."""
        with self._guard:
            return self._state

    def partitions(self) -> tuple[list[PartitionLag], EpochMs | None]:
        """The lag of the inputs, and when the broker was asked; None before the first time."""
        with self._guard:
            return self._partitions

    def _run(self) -> None:
        pause_s = LEAST_PAUSE_S
        while not self._stopped.is_set():
            is_new = self._follow()
            pause_s = LEAST_PAUSE_S if is_new else min(2 * pause_s, MOST_PAUSE_S)
            self._stopped.wait(pause_s)

    def _follow(self) -> bool:
        """Take over what is new; whether anything was."""
        is_new = False
        try:
            if self.source().state == "away":
                self._reopen()
            with self.model() as model:
                if model.changed_by_others():
                    is_new = True
                    self._tell({EVERYTHING})
                for changed in model.follow():
                    is_new = is_new or bool(changed)
                    if changed:
                        self._tell(changed)
                    if self._stopped.is_set():
                        return is_new
                with model.reading() as reads:
                    unreadable = {topic: count for topic, (count, _) in reads.unreadable.items()}
            self._look_at_partitions()
        except self._errors as error:
            self._away(inert(str(error)))
            return False
        self._here(is_new, unreadable)
        return is_new

    def _look_at_partitions(self) -> None:
        _, looked_ms = self.partitions()
        now = _now()
        if self._look is not None and (looked_ms is None or now - looked_ms > LOOK_MS):
            found = self._look()
            with self._guard:
                self._partitions = found, now

    def _reopen(self) -> None:
        """Open the source anew, since another one may be in its place."""
        new = Lease(self._open())
        with self._guard:
            old, self._lease = self._lease, new
        old.replace()
        self._tell({EVERYTHING})

    def _here(self, is_new: bool, unreadable: dict[str, int]) -> None:
        before, now = self.source(), _now()
        was_here = before.state == "following"
        state = SourceState(
            place=before.place,
            state="following",
            since_ms=before.since_ms if was_here else now,
            problem=None,
            checked_at_ms=now,
            changed_at_ms=now if is_new else before.changed_at_ms,
            unreadable=unreadable,
        )
        self._set(state)
        if not was_here:
            log.info("following %s", before.place)
            self._tell(set())

    def _away(self, problem: str) -> None:
        before = self.source()
        was_away = before.state == "away"
        self._set(
            SourceState(
                place=before.place,
                state="away",
                since_ms=before.since_ms if was_away else _now(),
                problem=problem,
                checked_at_ms=before.checked_at_ms,
                changed_at_ms=before.changed_at_ms,
                unreadable=before.unreadable,
            )
        )
        if not was_away:
            log.warning("the source is away: %s", problem)
            self._tell(set())

    def _set(self, state: SourceState) -> None:
        with self._guard:
            self._state = state

    def _tell(self, changed: set[Changed]) -> None:
        for listener in self._listeners:
            listener(changed)


def _now() -> EpochMs:
    return EpochMs(time.time_ns() // 1_000_000)
