"""What the `params` of each command may hold.

Unknown fields are rejected where a person writes them. The facts that stage 2 reports may carry
more fields than are read here.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from driftline.schemas.labels import MAX_TEXT_CHARACTERS, MOST_LABELS, PositiveBasis
from driftline.schemas.results import Artifact, LostRows
from driftline.streams.baseline import Baseline

SYSTEM: Final = "driftline"
"""`requested_by` of the commands that Driftline sends itself."""

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
LabelText = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT_CHARACTERS)]
LearningType = Literal["supervised", "unsupervised", "semi-supervised", "reinforcement"]


class Metadata(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Description of a model version, for `update`. Every field is optional."""

    type: LearningType | None = None
    framework: str | None = None
    owner: str | None = None
    environment: str | None = None
    tags: dict[str, str] | None = None
    configuration: dict[str, Any] | None = None
    artifact: Artifact | None = None


class Registration(
    Metadata, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A new version: its description, its first stage and its threshold."""

    stage: Literal["development", "staging"] = "development"
    threshold: Share | None = None


class Promotion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The stage to promote to."""

    to: Literal["staging", "production"] = "production"


class ThresholdParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A score at or above `threshold` means the positive label."""

    threshold: Share


class LabelParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The classes of a model and its positive label.

    Parameters
    ----------
    labels
        The classes, 2 to 100; every other label is a stray. Without them, the events decide.
    positive_label
        The positive one. Without it, the events or the labels themselves decide.
    """

    labels: (
        Annotated[list[LabelText], msgspec.Meta(min_length=2, max_length=MOST_LABELS)] | None
    ) = None
    positive_label: LabelText | None = None


class LabelFact(msgspec.Struct, frozen=True, kw_only=True):
    """The classes of a model as its events have settled them.

    Parameters
    ----------
    labels
        The classes, in the order of a confusion matrix.
    positive_label, positive_basis
        As in `WindowFigures`; None where they are not known.
    """

    labels: list[str]
    positive_label: str | None = None
    positive_basis: PositiveBasis | None = None


class Rollback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Restore the settings after `to_revision`.

    Without `to_revision`, undo the last change of the settings of the command's version; or, if
    `only` is given, of its threshold and configuration, or put the version in production that was
    there before it.
    """

    to_revision: Annotated[int, msgspec.Meta(ge=0)] | None = None
    only: Literal["configuration", "version"] | None = None


class NoParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For commands without parameters."""


class ReferenceFact(msgspec.Struct, frozen=True, kw_only=True):
    """A reference profile to measure drift against.

    Parameters
    ----------
    reference_id
        Its name, used for one profile of the model only.
    profile
        The summaries by segment and target.
    span
        Event time of its rows, RFC 3339, end excluded; None for an uploaded profile.
    losses
        By input, the lost rows that may belong to the span: the profile lacks them.
    """

    reference_id: str
    profile: dict[str, Any]
    span: tuple[str, str] | None = None
    losses: list[LostRows] = []


class BaselineFact(Baseline, frozen=True, kw_only=True):
    """A baseline and its maturity; "-" for the traffic lane."""

    maturity: str
