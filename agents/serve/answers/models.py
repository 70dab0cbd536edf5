"""Answers about model versions: what is known of them, and which series there are."""

from __future__ import annotations

from driftline.agents.serve.answers.answer import Answer, Page
from driftline.schemas.results import ModelLabels
from driftline.schemas.times import EpochMs


class VersionFacts(Answer):
    """One model version in the registry.

    Attributes
    ----------
    n_predictions, data_until_ms
        All predictions, and the end of the newest window with any; null without one.
    baselines
        Rungs with a recorded baseline.
    """

    model_name: str
    model_version: str
    stage: str | None
    threshold: float | None
    type: str | None
    framework: str | None
    owner: str | None
    environment: str | None
    tags: dict[str, str]
    registered_at_ms: EpochMs | None
    deployed_at_ms: EpochMs | None
    promoted_by: str | None
    reference_id: str | None
    revision: int | None
    n_predictions: int
    data_until_ms: EpochMs | None
    baselines: list[str]


class Models(Answer):
    """All model versions in the order of their names."""

    versions: list[VersionFacts]
    page: Page


class LaneSeries(Answer):
    """The series of one lane of a version.

    Attributes
    ----------
    windows
        Names, the smallest first.
    kinds
        Kind of each window, in the same order.
    maturities
        Rungs in order; empty in a lane without a ladder.
    segments
        "all" first.
    metrics
        Names of the metrics of the newest window.
    scored_segments
        Those with score histograms, "all" first; empty where predictions carry no scores.
    judged_window, judged_maturity, judged_metric
        What routes use where a question leaves it out; null where there is none.
    first_ms, last_ms
        Start of the first and end of the last complete window.
    """

    lane: str
    windows: list[str]
    kinds: list[str]
    maturities: list[str]
    segments: list[str]
    metrics: list[str]
    scored_segments: list[str]
    judged_window: str | None
    judged_maturity: str | None
    judged_metric: str | None
    first_ms: EpochMs | None
    last_ms: EpochMs | None


class Model(Answer):
    """A model: its versions, and the series of one of them.

    Attributes
    ----------
    version
        The version whose series are listed: the one of the question, else that in production, else
        the one with the newest data.
    labels
        What is known of the labels, as on the topic `model-labels`; null if nothing is.
    drift_windows, drift_targets
        What there are drift results of.
    """

    model_name: str
    version: str
    versions: list[VersionFacts]
    labels: ModelLabels | None
    lanes: list[LaneSeries]
    drift_windows: list[str]
    drift_targets: list[str]
