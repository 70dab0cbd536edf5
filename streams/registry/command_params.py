"""What each command's `params` may hold.

Unknown fields are refused where a person writes them; the facts that stage 2 records may carry more
than is read here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from driftline.schemas.results import Artifact, Interval

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Kind = Literal["supervised", "unsupervised", "semi-supervised", "reinforcement"]


class Metadata(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What people know about a model version. All of it is optional."""

    type: Kind | None = None
    framework: str | None = None
    owner: str | None = None
    environment: str | None = None
    tags: dict[str, str] | None = None
    configuration: dict[str, Any] | None = None
    artifact: Artifact | None = None


class Registration(
    Metadata, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A new version: where it starts, with which threshold."""

    stage: Literal["development", "staging"] = "development"
    threshold: Share | None = None


class Promotion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The stage to promote to."""

    to: Literal["staging", "production"] = "production"


class Threshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A score at or above `threshold` means the positive label."""

    threshold: Share


class Rollback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Back to the state after `to_revision`; without it, the last change of the command's version
    is taken back.
    """

    to_revision: Annotated[int, msgspec.Meta(ge=0)] | None = None


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For commands without parameters."""


class ReferenceFact(msgspec.Struct, frozen=True, kw_only=True):
    """A reference profile: its name, the span of event time behind it (RFC 3339; null for an
    uploaded one), and the profile itself.
    """

    reference_id: str
    profile: dict[str, Any]
    span: tuple[str, str] | None = None


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """How a version did on its reference span, at one maturity.

    Parameters
    ----------
    metrics, ci
        Values and 95 % intervals by metric.
    span
        Event time behind it, RFC 3339, end excluded.
    n, n_predictions, label_coverage
        Outcomes, predictions, and their ratio.
    daily_variance, days
        Sample variance of the daily values by metric, and the number of days.
    """

    metrics: dict[str, float | None]
    span: tuple[str, str] | None = None
    ci: dict[str, Interval] = {}
    n: int = 0
    n_predictions: int = 0
    label_coverage: float | None = None
    daily_variance: dict[str, float] = {}
    days: int = 0


class BaselineFact(Baseline, frozen=True, kw_only=True):
    """A baseline and the maturity that it is for; "-" for the traffic lane."""

    maturity: str
