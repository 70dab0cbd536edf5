"""Stage 3: decide. Figures, drift and score histograms become alerts and recommendations.

Works record by record in the order of the batch, model by model through `watch.py`; how a batch is
cut does not matter.
"""

from __future__ import annotations

from driftline.schemas import topics
from driftline.schemas.settings import Config
from driftline.streams.decide.model_watch import Watch
from driftline.streams.decide.rule_index import Plan
from driftline.streams.decide.stored_state import FORMAT, Memories
from driftline.streams.lanes import NO_MODEL
from driftline.streams.stage import Batch, Record, State


class Decide:
    """Alerts and recommendations of every model of one partition.

    Reads no provisional figure, so that a replay raises the same alerts.

    Raises
    ------
    ValueError
        If a rule or a tuner of the configuration is wrong; the text begins with its path in the
        file.
    """

    name = "decide"
    inputs: tuple[str, ...] = (topics.REGISTRY, topics.METRICS, topics.DRIFT, topics.HISTOGRAMS)
    state_format: tuple[int, ...] = (FORMAT,)

    def __init__(self, config: Config) -> None:
        self._default = Plan(config.defaults)
        self._plans = {name: Plan(model) for name, model in config.models.items()}

    def process(self, batch: Batch, state: State) -> list[Record]:
        """What follows from the records: registry first, then metrics, drift and histograms."""
        memories = Memories(state)
        watches: dict[str, Watch] = {}

        def watch(model_name: str) -> Watch:
            if model_name not in watches:
                watches[model_name] = Watch(
                    model_name, self._plans.get(model_name, self._default), memories
                )
            return watches[model_name]

        records: list[Record] = []
        for entry in batch.records.get(topics.REGISTRY, ()):
            records += watch(entry.model_name).registry(entry)
        for metric in batch.records.get(topics.METRICS, ()):
            if metric.model_name != NO_MODEL and not metric.provisional:
                records += watch(metric.model_name).metric(metric)
        for drift in batch.records.get(topics.DRIFT, ()):
            records += watch(drift.model_name).drift(drift)
        for histogram in batch.records.get(topics.HISTOGRAMS, ()):
            records += watch(histogram.model_name).histogram(histogram)
        memories.write()
        return records
