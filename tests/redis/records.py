"""Records of topics for tests of the mirror, and what a mirror must hold after them by slow, plain
code that knows the documents only (docs/redis.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from driftline.schemas.results import (
    Alert,
    ModelLabels,
    RegistryEntry,
    WindowFigures,
    to_plain,
)
from driftline.schemas.times import EpochMs

HOUR = 3_600_000


def entry(model: str, version: str, revision: int, **fields: Any) -> RegistryEntry:
    """A registry entry."""
    fields.setdefault("stage", "development")
    return RegistryEntry(model_name=model, model_version=version, revision=revision, **fields)


def labels(model: str, revision: int, positive: str) -> ModelLabels:
    """Labels that a command has set."""
    return ModelLabels(
        model_name=model, revision=revision, labels=["no", positive], positive_label=positive
    )


def figures(
    model: str = "churn",
    version: str = "1",
    *,
    window: int = 0,
    revision: int = 1,
    value: float | None = 0.5,
    segment: str = "all",
    maturity: str | None = "1d",
    provisional: bool = False,
) -> WindowFigures:
    """Figures of an hour; `window` is its number."""
    return WindowFigures(
        model_name=model,
        model_version=version,
        segment=segment,
        lane="decisions",
        window="1h",
        kind="tumbling",
        window_start_ms=EpochMs(window * HOUR),
        window_end_ms=EpochMs((window + 1) * HOUR),
        maturity=maturity,
        final=True,
        provisional=provisional,
        revision=revision,
        registry_revision=1,
        n_predictions=10,
        n=8,
        label_coverage=0.8,
        completeness=1.0,
        metrics={"f1": value, "auc": None},
        ci={} if value is None else {"f1": (value - 0.1, value + 0.1)},
        null_reasons={"auc": "one class"},
        complete_at_ms=EpochMs((window + 25) * HOUR),
    )


def alert(model: str, name: str, *, is_open: bool = True, at: int = 0) -> Alert:
    """A record of an alert."""
    return Alert(
        fingerprint=name,
        alert_id=name,
        group_id=name,
        model_name=model,
        model_version="1",
        segment="all",
        rule=name,
        status="firing" if is_open else "resolved",
        change="firing" if is_open else "resolved",
        severity="error",
        summary=f"{name} at {at}",
        starts_at_ms=EpochMs(0),
        at_ms=EpochMs(at),
    )


def name_of(*parts: str) -> str:
    """The names of a key as the documents say: percent-encoded, with slashes between them."""
    return "/".join(quote(part, safe="=:,@") for part in parts)


def expected(
    prefix: str,
    entries: Iterable[RegistryEntry],
    of_labels: Iterable[ModelLabels],
    of_figures: Iterable[WindowFigures],
    alerts: Iterable[Alert],
    configured: dict[str, tuple[list[str], str]] | None = None,
) -> dict[str, dict[str, str]]:
    """All hashes of a mirror after the records of each topic, in their order."""
    found: dict[str, dict[str, str]] = {}
    versions: dict[str, dict[str, dict[str, Any]]] = {}
    for record in entries:
        versions.setdefault(record.model_name, {})[record.model_version] = to_plain(record)
    classes = {record.model_name: to_plain(record) for record in of_labels}
    for model in {*versions, *classes}:
        fields: dict[str, str] = {"model_name": model, "labels_revision": "0"}
        known = versions.get(model, {})
        if known:
            fields["revision"] = str(max(each["revision"] for each in known.values()))
            fields["versions"] = json.dumps(sorted(known), separators=(",", ":"))
        for version, plain in known.items():
            found[f"{prefix}:version:{name_of(model, version)}"] = _texts(plain)
            if plain["stage"] == "production":
                fields["champion"] = version
                for name in ("threshold", "configuration", "deployed_at"):
                    if plain.get(name) is not None:
                        fields[name] = _text(plain[name])
        configured_of = (configured or {}).get(model)
        if configured_of is not None:
            fields["labels"] = _text(configured_of[0])
            fields["positive_label"] = configured_of[1]
        if model in classes:
            of_model = classes[model]
            fields["labels_revision"] = str(of_model["revision"])
            for source in (of_model.get("settled") or {}, of_model):
                for name in ("labels", "positive_label"):
                    if source.get(name) is not None:
                        fields[name] = _text(source[name])
        found[f"{prefix}:model:{name_of(model)}"] = fields
    newest: dict[str, dict[str, Any]] = {}
    for record in of_figures:
        plain = to_plain(record)
        names = (record.model_name, record.model_version, record.segment, record.lane)
        key = f"{prefix}:figures:{name_of(*names, record.window, record.maturity or '-')}"
        place = (record.window_start_ms, record.revision)
        if not record.provisional and (key not in newest or place >= newest[key]["place"]):
            newest[key] = {"place": place, "record": record, "plain": plain}
    for key, each in newest.items():
        found[key] = _figure_texts(each["record"], each["plain"])
    for record in alerts:
        key = f"{prefix}:alerts:{name_of(record.model_name)}"
        of_model = found.setdefault(key, {})
        of_model.pop(record.alert_id, None)
        if record.status != "resolved":
            of_model[record.alert_id] = json.dumps(
                to_plain(record), separators=(",", ":"), ensure_ascii=False
            )
    return {key: fields for key, fields in found.items() if fields}


def _figure_texts(record: WindowFigures, plain: dict[str, Any]) -> dict[str, str]:
    fields = {
        name: _text(plain[name])
        for name in (
            *("model_name", "model_version", "segment", "lane", "window", "kind", "maturity"),
            *("revision", "registry_revision", "n", "n_predictions", "positive_label"),
        )
        if plain.get(name) is not None
    }
    fields["window_start_ms"] = str(int(record.window_start_ms))
    fields["window_end_ms"] = str(int(record.window_end_ms))
    fields["complete_at_ms"] = str(int(record.complete_at_ms))
    fields["final"] = "1" if plain["final"] else "0"
    for name in ("label_coverage", "completeness"):
        if plain[name] is not None:
            fields[name] = str(float(plain[name]))
    fields["covered_share"] = str(float(plain.get("covered_share", 1.0)))
    for metric, value in plain["metrics"].items():
        if value is not None:
            fields[f"metric:{metric}"] = str(float(value))
        if metric in plain.get("ci", {}):
            low, high = plain["ci"][metric]
            fields[f"low:{metric}"], fields[f"high:{metric}"] = str(float(low)), str(float(high))
        if metric in plain.get("null_reasons", {}):
            fields[f"reason:{metric}"] = plain["null_reasons"][metric]
    return fields


def _texts(plain: dict[str, Any]) -> dict[str, str]:
    return {name: _text(value) for name, value in plain.items() if value not in (None, {}, [])}


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict | list):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
    return str(value)
