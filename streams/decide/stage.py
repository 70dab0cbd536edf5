"""Stage 3: decide. Figures, drift and score histograms become alerts and recommendations.

`model_watch.py` handles one model, record by record in the order of the batch; the result does not
depend on how batches are cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from driftline.schemas import topics
from driftline.schemas.reports import SUBJECTS
from driftline.schemas.results import RuleLevel
from driftline.schemas.setting_changes import with_decisions
from driftline.schemas.settings import Config
from driftline.streams.decide.model_watch import ModelWatch
from driftline.streams.decide.outcome_rule import KeptDetectors
from driftline.streams.decide.rule_index import RuleIndex
from driftline.streams.decide.stored_state import FORMAT, StateCache, WatchedModel
from driftline.streams.lanes import NO_MODEL
from driftline.streams.ordered_outcomes import ORDERED_OUTCOMES
from driftline.streams.stage import Batch, Record, State
from driftline.streams.work_slices import WorkSlices, in_slices, run_slices


class Decide:
    """Alerts and recommendations of all models of one partition.

    A batch holds whole steps of time, as stage 2 emits them: rules that read alerts are judged at
    the end of each.

    Provisional figures are not read, so that a replay raises the same alerts. A record of
    `registry-effects` with settings of a model puts them in force in place of those of the
    configuration; a record of `model-rules` puts the levels in force that commands have set.

    Raises
    ------
    ValueError
        If a rule or a tuner of the configuration is invalid; the message begins with its path in
        the file.
    """

    name = "decide"
    inputs: tuple[str, ...] = (
        topics.ALERT_COMMANDS,
        topics.WORKER_METRICS,
        topics.JOB_RUNS,
        topics.REGISTRY_EFFECTS,
        topics.REGISTRY,
        topics.MODEL_RULES,
        topics.METRICS,
        topics.DRIFT,
        topics.HISTOGRAMS,
        ORDERED_OUTCOMES,
    )
    state_format: tuple[int, ...] = (FORMAT,)

    def __init__(self, config: Config) -> None:
        self._config = config
        self._default = RuleIndex(config.defaults)
        self._indexes = {
            name: RuleIndex(config.for_rules(name)) for name in (*config.models, *SUBJECTS)
        }
        self._changed: dict[str, tuple[_Changes, RuleIndex]] = {}
        self._detectors = KeptDetectors()

    def process(self, batch: Batch, state: State) -> list[Record]:
        """Alerts and recommendations: from commands and registry entries first, then from metrics,
        drift and histograms.
        """
        return run_slices(self.work(batch, state))

    def work(self, batch: Batch, state: State) -> WorkSlices[list[Record]]:
        """As `process`, in slices of some records each."""
        cache = StateCache(state)
        watches: dict[str, ModelWatch] = {}

        def watch(model_name: str) -> ModelWatch:
            if model_name not in watches:
                index = self._index(model_name, cache)
                watches[model_name] = ModelWatch(model_name, index, cache, self._detectors)
            return watches[model_name]

        records: list[Record] = []
        for effect in batch.records.get(topics.REGISTRY_EFFECTS, ()):
            if effect.settings is not None:
                cache.load(WatchedModel, effect.model_name).settings = effect.settings
                watches.pop(effect.model_name, None)
        for rules in batch.records.get(topics.MODEL_RULES, ()):
            model = cache.load(WatchedModel, rules.model_name)
            model.levels = rules.rules
            model.registry_revision = max(model.registry_revision, rules.revision)
            watches.pop(rules.model_name, None)
        for topic, handle in _HANDLERS:
            for values in in_slices(batch.records.get(topic, ())):
                for value in values:
                    if topic != topics.METRICS or (
                        value.model_name != NO_MODEL and not value.provisional
                    ):
                        records += handle(watch(value.model_name), value)
                yield
        for each in watches.values():
            records += each.finish()
        cache.write()
        return records

    def reads_outcomes(self, model_name: str, state: State) -> bool:
        """Whether a rule in force for a model reads single outcomes; state is only read."""
        return bool(self._index(model_name, StateCache(state)).outcome_rules)

    def _index(self, model_name: str, cache: StateCache) -> RuleIndex:
        """Rules and tuner of a model that are in force."""
        model = cache.load(WatchedModel, model_name)
        changes = _Changes(model.settings, model.levels)
        if changes == _NO_CHANGES:
            return self._indexes.get(model_name, self._default)
        known = self._changed.get(model_name)
        if known is None or known[0] != changes:
            config = self._config.for_rules(model_name)
            if changes.settings is not None:
                config = with_decisions(config, changes.settings)
            known = self._changed[model_name] = (changes, RuleIndex(config, changes.levels))
        return known[1]


class _Changes(NamedTuple):
    """What differs from the configuration with which the stage was built."""

    settings: dict[str, Any] | None
    levels: dict[str, RuleLevel]


_NO_CHANGES: Final = _Changes(None, {})


_HANDLERS: Final[tuple[tuple[str, Callable[[ModelWatch, Any], Iterator[Record]]], ...]] = (
    (topics.ALERT_COMMANDS, ModelWatch.command),
    (topics.WORKER_METRICS, ModelWatch.worker),
    (topics.JOB_RUNS, ModelWatch.job),
    (topics.REGISTRY, ModelWatch.registry),
    (topics.METRICS, ModelWatch.metric),
    (topics.DRIFT, ModelWatch.drift),
    (topics.HISTOGRAMS, ModelWatch.histogram),
    (ORDERED_OUTCOMES, ModelWatch.outcomes),
)
