"""Model versions, and the series of one of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from driftline.agents.model_status import judged
from driftline.agents.read_model.drift_reads import DriftFilter
from driftline.agents.read_model.figure_reads import Series, SeriesFilter, only, window_of_a_day
from driftline.agents.read_model.series_order import LANES, rung_order, window_order
from driftline.agents.serve.answers.models import LaneSeries, Model, Models, VersionFacts
from driftline.agents.serve.in_force import entries_at, labels_at
from driftline.agents.serve.pages import one_page
from driftline.agents.serve.route import AtQuery, Moment, Name, PageQuery, Route, Table
from driftline.agents.serve.series_choice import chosen_version, known_at, known_versions
from driftline.agents.serve.standing import standing
from driftline.agents.serve.view import View
from driftline.schemas.results import RegistryEntry
from driftline.schemas.times import EpochMs
from driftline.streams.lanes import ALL


class ModelsQuery(PageQuery, kw_only=True, frozen=True):
    """Parameters of `/models`."""


class ModelQuery(AtQuery, kw_only=True, frozen=True):
    """Parameters of `/model`.

    Attributes
    ----------
    model
        Name of the model.
    version
        The version whose series are listed; by default that in production, else the one with the
        newest data.
    """

    model: Name
    version: Name | None = None


def models(view: View, query: ModelsQuery) -> Models:
    """All model versions that are registered or have figures."""
    versions = known_versions(view.reads, query.at)
    shown, page = one_page(versions, query, lambda each: f"{each[0]}\n{each[1]}")
    return Models(versions=_facts(view, query.at, shown), page=page)


def model(view: View, query: ModelQuery) -> Model:
    """One model: its versions, what is known of its labels, and which series there are."""
    version = chosen_version(view, query.model, query.version, query.at)
    versions = [each for each in known_versions(view.reads, query.at) if each[0] == query.model]
    drift = view.reads.drift.targets(DriftFilter(model_name=query.model, model_version=version))
    return Model(
        model_name=query.model,
        version=version,
        versions=_facts(view, query.at, versions),
        labels=labels_at(view.reads, query.at, query.model),
        lanes=_lanes(view, query, version),
        drift_windows=sorted({window for *_, window in drift}),
        drift_targets=sorted({target for target, *_ in drift}),
    )


def _facts(
    view: View, at: Moment | None, versions: Sequence[tuple[str, str]]
) -> list[VersionFacts]:
    model_name = versions[0][0] if len({name for name, _ in versions}) == 1 else None
    entries = {
        (each.model_name, each.model_version): each
        for each in entries_at(view.reads, at, model_name=model_name)
    }
    predictions = view.reads.figures.predictions(model_name=model_name, known_at_ms=known_at(at))
    return [
        _version(name, version, entries.get((name, version)), predictions.get((name, version)))
        for name, version in versions
    ]


def _version(
    name: str, version: str, entry: RegistryEntry | None, counted: tuple[int, int] | None
) -> VersionFacts:
    known = entry or RegistryEntry(
        model_name=name, model_version=version, stage="development", revision=0
    )
    return VersionFacts(
        model_name=name,
        model_version=version,
        stage=None if entry is None else entry.stage,
        threshold=known.threshold,
        type=known.type,
        framework=known.framework,
        owner=known.owner,
        environment=known.environment,
        tags=known.tags,
        registered_at_ms=_time(known.registered_at),
        deployed_at_ms=_time(known.deployed_at),
        promoted_by=known.promoted_by,
        reference_id=known.reference_id,
        revision=None if entry is None else entry.revision,
        n_predictions=0 if counted is None else counted[0],
        data_until_ms=None if counted is None else EpochMs(counted[1]),
        baselines=list(known.baselines),
    )


def _time(text: str | None) -> EpochMs | None:
    return None if text is None else EpochMs.of(text)


def _lanes(view: View, query: ModelQuery, version: str) -> list[LaneSeries]:
    series = view.reads.figures.series(SeriesFilter(model_name=query.model, model_version=version))
    lanes: dict[str, list[Series]] = {}
    for each in series:
        if each.kind:
            lanes.setdefault(each.lane, []).append(each)
    return [_lane(view, query, version, lane, lanes[lane]) for lane in LANES if lane in lanes]


def _lane(
    view: View, query: ModelQuery, version: str, lane: str, series: Sequence[Series]
) -> LaneSeries:
    windows = sorted({(window_order(each.window, each.kind), each.kind) for each in series})
    usual = window_of_a_day(series)
    of_usual = [each for each in series if each.window == usual and each.segment == ALL]
    limit_ms = known_at(query.at)
    newest = [
        record
        for each in of_usual
        for record in view.reads.figures.newest(only(each), known_at_ms=limit_ms)
    ]
    spans = [
        span
        for each in of_usual
        if (span := view.reads.figures.span(each, known_at_ms=limit_ms)) is not None
    ]
    window, maturity, metric = usual, None, None
    if lane == "decisions":
        found = _judged(view, query, version)
        if found is not None:
            window, maturity, metric = found
    return LaneSeries(
        lane=lane,
        windows=[order[-1] for order, _ in windows],
        kinds=[kind for _, kind in windows],
        maturities=sorted({each.maturity for each in series if each.maturity}, key=rung_order),
        segments=_in_order(each.segment for each in series),
        metrics=sorted({name for record in newest for name in record.metrics}),
        scored_segments=_in_order(
            each.segment
            for each in view.reads.figures.series_with_histograms(
                SeriesFilter(model_name=query.model, model_version=version, lane=lane)
            )
        ),
        judged_window=window,
        judged_maturity=maturity,
        judged_metric=metric,
        first_ms=EpochMs(min(first for first, _ in spans)) if spans else None,
        last_ms=EpochMs(max(last for _, last in spans)) if spans else None,
    )


def _in_order(segments: Iterable[str]) -> list[str]:
    return sorted(set(segments), key=lambda name: (name != ALL, name))


def _judged(view: View, query: ModelQuery, version: str) -> tuple[str, str | None, str] | None:
    """Window, rung and metric that are judged."""
    found = standing(view, query.model, version, query.at)
    if found.entry is None:
        return None
    figure = judged(
        view.reads, found.entry, found.rules, found.windows, known_at_ms=known_at(query.at)
    )
    return None if figure is None else (figure.record.window, figure.record.maturity, figure.metric)


def _models_table(answer: Models) -> Table:
    return _version_table(answer.versions)


def _model_table(answer: Model) -> Table:
    return _version_table(answer.versions)


def _version_table(versions: Sequence[VersionFacts]) -> Table:
    columns = (
        "model_name model_version stage threshold owner registered_at deployed_at n_predictions"
        " data_until"
    ).split()
    return (
        columns,
        [
            [
                each.model_name,
                each.model_version,
                each.stage,
                each.threshold,
                each.owner,
                each.registered_at_ms,
                each.deployed_at_ms,
                each.n_predictions,
                each.data_until_ms,
            ]
            for each in versions
        ],
    )


ROUTES: Final = (
    Route(path="/models", query=ModelsQuery, answer=Models, read=models, table=_models_table),
    Route(path="/model", query=ModelQuery, answer=Model, read=model, table=_model_table),
)
