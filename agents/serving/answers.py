"""What a service is told, and how it is read from the hashes of a mirror."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from driftline.schemas.results import Alert, Interval, RegistryEntry, decoder
from driftline.schemas.times import EpochMs

T = TypeVar("T")


class Answer(Struct, Generic[T], frozen=True, kw_only=True):
    """An answer and its age.

    Attributes
    ----------
    value
        What was asked for; None if there is no such thing, or if nothing is known.
    age_s
        Time since this was known to be what holds, in seconds; None if nothing is known.
    is_last_known
        Whether the source does not answer now, and this is what it said before.
    problem
        Why it does not answer; None if it does.
    """

    value: T | None
    age_s: float | None
    is_last_known: bool = False
    problem: str | None = None


class ModelInForce(Struct, frozen=True, kw_only=True):
    """What is in force of a model.

    Attributes
    ----------
    champion
        The version in production; None without one.
    threshold
        Its decision threshold; None if the registry sets none.
    configuration
        Its configuration; None if the registry has none.
    revision
        Revision of the model; 0 without a version.
    versions
        All registered versions.
    labels, positive_label
        Classes and the positive one, as the configuration, the events or a command say; None if
        that is not known.
    """

    model_name: str
    champion: str | None = None
    threshold: float | None = None
    configuration: dict[str, Any] | None = None
    deployed_at: str | None = None
    revision: int = 0
    versions: list[str] = []
    labels: list[str] | None = None
    positive_label: str | None = None


class MetricValue(Struct, frozen=True, kw_only=True):
    """One metric of a window.

    Attributes
    ----------
    value, ci
        The value and its 95 % interval; None where there is none.
    reason
        Why there is no value.
    baseline
        What the registry recorded to compare with, at the same maturity; None without it.
    """

    value: float | None = None
    ci: Interval | None = None
    reason: str | None = None
    baseline: float | None = None


class LatestFigures(Struct, frozen=True, kw_only=True):
    """The newest complete window of a series; the fields are those of `WindowFigures`."""

    model_name: str
    model_version: str
    segment: str
    lane: str
    window: str
    maturity: str | None
    window_start_ms: EpochMs
    window_end_ms: EpochMs
    complete_at_ms: EpochMs
    final: bool
    n: int
    n_predictions: int
    metrics: dict[str, MetricValue]


_decode_alert: Final = decoder(Alert).decode
_JSON: Final = ("configuration", "baselines", "tags", "artifact", "versions", "labels")


def model_of(fields: Mapping[str, str]) -> ModelInForce:
    """A model from its hash.

    Raises
    ------
    ValueError
        As all of these: if the hash is not what a mirror writes.
    """
    return msgspec.convert(_plain(fields), ModelInForce, strict=False)


def version_of(fields: Mapping[str, str]) -> RegistryEntry:
    """A registry entry from its hash."""
    return msgspec.convert(_plain(fields), RegistryEntry, strict=False)


def alerts_of(fields: Mapping[str, str]) -> list[Alert]:
    """The open alerts of a model from its hash, the oldest first."""
    alerts = [_decode_alert(record) for record in fields.values()]
    return sorted(alerts, key=lambda alert: (alert.starts_at_ms, alert.alert_id))


def figures_of(fields: Mapping[str, str], version: Mapping[str, str]) -> LatestFigures:
    """Figures from their hash, with the baseline in that of their version."""
    maturity = fields.get("maturity")
    try:
        baseline: Mapping[str, Any] = _plain(version).get("baselines", {}).get(maturity or "-", {})
        usual = baseline.get("metrics", {})
        names = {
            name.partition(":")[2]: None
            for name in fields
            if name.partition(":")[0] in ("metric", "reason")
        }
        return LatestFigures(
            model_name=fields["model_name"],
            model_version=fields["model_version"],
            segment=fields["segment"],
            lane=fields["lane"],
            window=fields["window"],
            maturity=maturity,
            window_start_ms=EpochMs(fields["window_start_ms"]),
            window_end_ms=EpochMs(fields["window_end_ms"]),
            complete_at_ms=EpochMs(fields["complete_at_ms"]),
            final=fields["final"] == "1",
            n=int(fields["n"]),
            n_predictions=int(fields["n_predictions"]),
            metrics={name: _metric(name, fields, usual.get(name)) for name in names},
        )
    except (KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{error!r} in the figures of a mirror") from error


def _metric(name: str, fields: Mapping[str, str], baseline: float | None) -> MetricValue:
    value, low, high = (fields.get(f"{kind}:{name}") for kind in ("metric", "low", "high"))
    return MetricValue(
        value=None if value is None else float(value),
        ci=None if low is None or high is None else (float(low), float(high)),
        reason=fields.get(f"reason:{name}"),
        baseline=baseline,
    )


def _plain(fields: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: msgspec.json.decode(value) if name in _JSON else value
        for name, value in fields.items()
    }
