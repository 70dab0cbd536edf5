"""The same answers without Redis: from an output folder or a broker, kept in memory and followed on
a thread of its own, so that no answer waits for either.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from driftline.agents.mirror.documents import Documents
from driftline.agents.mirror.intake import Intake
from driftline.agents.mirror.keys import Keys
from driftline.agents.output_folder import latest
from driftline.agents.read_model.figure_reads import SeriesFilter
from driftline.agents.read_model.read_model import ReadModel
from driftline.agents.serving.source import Fetched, NoAnswer
from driftline.schemas.results import Alert, ModelLabels, RegistryEntry
from driftline.schemas.settings import Config
from driftline.schemas.topics import ALERTS, MODEL_LABELS, REGISTRY

log = logging.getLogger(__name__)

REFRESH_S: Final = 1.0
_CLOSE_S: Final = 5.0
_NEVER_MS: Final = 1 << 60


class ResultsSource:
    """The results of a read model.

    Parameters
    ----------
    model
        The results; closed with this source.
    config
        Has the labels that are configured.
    refresh_s
        How often it looks for what is new.
    clock
        Seconds that only grow.
    """

    def __init__(
        self,
        model: ReadModel,
        config: Config,
        *,
        refresh_s: float = REFRESH_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.keys = Keys.of(config)
        self._model = model
        self._config = config
        self._refresh_s = refresh_s
        self._clock = clock
        self._problem: str | None = None
        self._ended = threading.Event()
        self._read_s = clock()
        self._documents = self._read()
        self._thread = threading.Thread(target=self._follow, name="serving", daemon=True)
        self._thread.start()

    def fetch(self, wanted: Sequence[str]) -> Fetched:
        """See `Source.fetch`; never waits."""
        if self._problem is not None:
            raise NoAnswer(self._problem)
        read_s, documents = self._read_s, self._documents
        return Fetched([documents.hash(key) for key in wanted], max(0.0, self._clock() - read_s))

    def close(self) -> None:
        """End the thread, and close the results."""
        self._ended.set()
        self._thread.join(_CLOSE_S)
        self._model.close()

    def _follow(self) -> None:
        while not self._ended.wait(self._refresh_s):
            began_s = self._clock()
            try:
                if self._model.refresh():
                    self._documents = self._read()
            except Exception as error:
                # A broker or a folder that is away for a while; the thread must outlive it.
                if self._problem is None:
                    log.warning("serving: the results cannot be read: %s", error)
                self._problem = f"the results of {self._model.place} cannot be read: {error}"
            else:
                self._read_s, self._problem = began_s, None

    def _read(self) -> Documents:
        documents, intake = Documents(), Intake(self.keys, self._config)
        with self._model.reading() as reads:
            for entry in reads.records.latest(REGISTRY, RegistryEntry):
                intake.take_entry(entry)
            for labels in reads.records.latest(MODEL_LABELS, ModelLabels):
                intake.take_labels(labels)
            for model in intake.models():
                documents.apply(intake.registry_write(model, 0, whole=True))
            for record in reads.figures.newest(SeriesFilter()):
                if (write := intake.figures_write(record, 0, _NEVER_MS)) is not None:
                    documents.apply(write)
            for alert in latest(reads.records.all(ALERTS, Alert), group=lambda each: each.alert_id):
                documents.apply(intake.alert_write(alert, 0))
        return documents
