"""Records of topics become writes of a mirror."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from driftline.agents.mirror.keys import Keys, member_of
from driftline.agents.mirror.writes import (
    AlertWrite,
    FiguresWrite,
    RegistryWrite,
    VersionWrite,
    flat,
)
from driftline.schemas.results import (
    Alert,
    ModelLabels,
    RegistryEntry,
    WindowFigures,
    encode,
)
from driftline.schemas.settings import Config
from driftline.schemas.topics import ALERTS, METRICS, MODEL_LABELS, REGISTRY

MIRRORED: Final = (REGISTRY, MODEL_LABELS, METRICS, ALERTS)
"""Topics that are mirrored."""
REGISTRY_TOPICS: Final = (REGISTRY, MODEL_LABELS)
"""Those whose records together are the state of a model."""


class _Model:
    """What was read of one model."""

    def __init__(self) -> None:
        self.entries: dict[str, RegistryEntry] = {}
        self.labels: ModelLabels | None = None
        self.changed: dict[str, None] = {}


class Intake:
    """Makes the writes of records.

    What the registry says of a model is in records of two topics, and a promotion changes two
    versions: they are taken one by one, and become one write when `registry_write` is called.

    Parameters
    ----------
    keys
        Where the writes go.
    config
        Has the positive labels that are configured, and how long figures are kept.
    """

    def __init__(self, keys: Keys, config: Config) -> None:
        self._keys = keys
        self._config = config
        self._models: dict[str, _Model] = {}

    def take_entry(self, entry: RegistryEntry) -> None:
        """Take a record of `registry`; an earlier revision than the one known is passed over."""
        model = self._models.setdefault(entry.model_name, _Model())
        known = model.entries.get(entry.model_version)
        if known is None or known.revision <= entry.revision:
            model.entries[entry.model_version] = entry
            model.changed[entry.model_version] = None

    def take_labels(self, labels: ModelLabels) -> None:
        """Take a record of `model-labels`, as `take_entry`."""
        model = self._models.setdefault(labels.model_name, _Model())
        if model.labels is None or model.labels.revision <= labels.revision:
            model.labels = labels

    def models(self) -> list[str]:
        """Names of the models that the registry has."""
        return list(self._models)

    def registry_write(self, model_name: str, offset: int, *, whole: bool = False) -> RegistryWrite:
        """The write of a model, with the versions that changed since the last one, or all.

        Raises
        ------
        KeyError
            If nothing of the model was taken.
        """
        model = self._models[model_name]
        changed = model.entries if whole else model.changed
        write = RegistryWrite(
            offset=offset,
            model_name=model_name,
            key=self._keys.model(model_name),
            revision=max((entry.revision for entry in model.entries.values()), default=0),
            fields=_in_force(model_name, model.entries.values()),
            labels_revision=0 if model.labels is None else model.labels.revision,
            labels=self._labels(model_name, model.labels),
            versions=[
                VersionWrite(
                    self._keys.version(model_name, version),
                    model.entries[version].revision,
                    _entry(model.entries[version]),
                )
                for version in changed
            ],
        )
        model.changed = {}
        return write

    def figures_write(
        self, record: WindowFigures, offset: int, written_at_ms: int
    ) -> FiguresWrite | None:
        """The write of a record of `metrics`; None while its window is open."""
        if record.provisional:
            return None
        series = record.segment, record.lane, record.window, record.maturity
        expires_at_ms = written_at_ms + self._config.redis.figures_ttl_ms
        return FiguresWrite(
            offset=offset,
            model_name=record.model_name,
            model_version=record.model_version,
            key=self._keys.figures(record.model_name, record.model_version, *series),
            series_key=self._keys.series(record.model_name, record.model_version),
            member=member_of(*series),
            window_start_ms=int(record.window_start_ms),
            revision=record.revision,
            written_at_ms=written_at_ms,
            expires_at_ms=expires_at_ms,
            fields=_figures(record),
        )

    def alert_write(self, record: Alert, offset: int) -> AlertWrite:
        """The write of a record of `alerts`."""
        return AlertWrite(
            offset=offset,
            model_name=record.model_name,
            model_version=record.model_version,
            key=self._keys.alerts(record.model_name),
            alert_id=record.alert_id,
            record="" if record.status == "resolved" else encode(record).decode(),
        )

    def _labels(self, model_name: str, labels: ModelLabels | None) -> list[str]:
        config = self._config.for_model(model_name)
        classes: Any = config.labels
        positive = config.positive_label
        if labels is not None and labels.settled is not None:
            classes = labels.settled.labels
            positive = labels.settled.positive_label or positive
        if labels is not None:
            classes = labels.labels or classes
            positive = labels.positive_label or positive
        return flat(
            {
                "model_name": model_name,
                "labels_revision": str(0 if labels is None else labels.revision),
                "labels": _json(classes),
                "positive_label": positive,
            }
        )


def _in_force(model_name: str, entries: Iterable[RegistryEntry]) -> list[str]:
    """Fields of a model that its entries give; none without an entry."""
    listed = sorted(entries, key=lambda entry: entry.model_version)
    if not listed:
        return []
    champion = next((entry for entry in listed if entry.stage == "production"), None)
    return flat(
        {
            "model_name": model_name,
            "revision": str(max(entry.revision for entry in listed)),
            "versions": _json([entry.model_version for entry in listed]),
            "champion": None if champion is None else champion.model_version,
            "threshold": None if champion is None else _number(champion.threshold),
            "configuration": None if champion is None else _json(champion.configuration),
            "deployed_at": None if champion is None else champion.deployed_at,
        }
    )


def _entry(entry: RegistryEntry) -> list[str]:
    return flat(
        {
            "model_name": entry.model_name,
            "model_version": entry.model_version,
            "stage": entry.stage,
            "revision": str(entry.revision),
            "threshold": _number(entry.threshold),
            "configuration": _json(entry.configuration),
            "reference_id": entry.reference_id,
            "baselines": _json(entry.baselines or None),
            "registered_at": entry.registered_at,
            "deployed_at": entry.deployed_at,
            "promoted_by": entry.promoted_by,
            "type": entry.type,
            "framework": entry.framework,
            "owner": entry.owner,
            "environment": entry.environment,
            "tags": _json(entry.tags or None),
            "artifact": _json(entry.artifact),
        }
    )


def _figures(record: WindowFigures) -> list[str]:
    fields = {
        "model_name": record.model_name,
        "model_version": record.model_version,
        "segment": record.segment,
        "lane": record.lane,
        "window": record.window,
        "kind": record.kind,
        "maturity": record.maturity,
        "window_start_ms": str(record.window_start_ms),
        "window_end_ms": str(record.window_end_ms),
        "complete_at_ms": str(record.complete_at_ms),
        "revision": str(record.revision),
        "registry_revision": str(record.registry_revision),
        "final": str(int(record.final)),
        "n": str(record.n),
        "n_predictions": str(record.n_predictions),
        "label_coverage": _number(record.label_coverage),
        "covered_share": _number(record.covered_share),
        "completeness": _number(record.completeness),
        "positive_label": record.positive_label,
    }
    for metric, value in sorted(record.metrics.items()):
        low, high = record.ci.get(metric, (None, None))
        fields[f"metric:{metric}"] = _number(value)
        fields[f"low:{metric}"] = _number(low)
        fields[f"high:{metric}"] = _number(high)
        fields[f"reason:{metric}"] = record.null_reasons.get(metric)
    return flat(fields)


def _number(value: float | None) -> str | None:
    return None if value is None else repr(float(value))


def _json(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value, order="deterministic").decode()
