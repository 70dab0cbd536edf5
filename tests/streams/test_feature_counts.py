"""Feature summaries of a batch: the same with and without columns, in partials of bounded size."""

from __future__ import annotations

from random import Random
from typing import Any
from unittest import mock

import numpy as np
import pytest

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.rows import PredictionRow
from driftline.schemas.settings import Config
from driftline.streams import named_columns
from driftline.streams.columns import PredictionColumns
from driftline.streams.join import Join
from driftline.streams.join.increments import MOST_SUMMARIES
from driftline.streams.partial import Partial, decode, encode
from driftline.streams.stage import Batch
from driftline.streams.summaries.feature_summary import FeatureSummary
from driftline.streams.summaries.feature_table import concatenate_tables

LARGEST_RECORD = 16 << 20


def partials_of(features: list[dict[str, Any]]) -> list[Partial]:
    """What stage 1 makes of predictions of one pane."""
    rows = [
        PredictionRow(
            prediction_id=f"p{number}",
            model_name="m",
            model_version=str(number % 2),
            timestamp_ms=1_000 + number,
            score=0.5,
            features=of_row,
        )
        for number, of_row in enumerate(features)
    ]
    columns = PredictionColumns.of(rows, np.arange(len(rows)), lambda model: None)
    records = Join(Config(), 0, 1).process(Batch(predictions=columns), MemoryState())
    return [record.value for record in records if isinstance(record.value, Partial)]


def summaries_of(partials: list[Partial]) -> dict[tuple[str, str], FeatureSummary]:
    """Summaries by version and feature."""
    (series,) = {tuple(partial.series) for partial in partials}
    table = concatenate_tables([partial.features for partial in partials])
    return {
        (series[number][1], name): summary
        for (number, name), summary in table.summed().summaries().items()
    }


@pytest.mark.parametrize("seed", range(5))
def test_summaries_are_the_same_whether_a_feature_has_a_column_or_not(seed: int) -> None:
    random = Random(seed)
    values = (None, True, 1, 2.5, -0.0, "a", "b")
    features = [
        {f"f{random.randrange(30)}": random.choice(values) for _ in range(random.randrange(6))}
        for _ in range(60)
    ]
    found = []
    for few in (1, 4, 100):
        with mock.patch.object(named_columns, "FEW", few):
            found.append(summaries_of(partials_of(features)))
    assert found[0] == found[1] == found[2]
    for (version, name), summary in found[0].items():
        sent = [of_row.get(name) for of_row in features[int(version) :: 2]]
        numbers = [value for value in sent if type(value) in (int, float)]
        texts = [str(value).lower() for value in sent if type(value) in (bool, str)]
        assert summary.numbers.total == len(numbers)
        assert summary.texts.values == {text: texts.count(text) for text in sorted(set(texts))}


def test_very_many_summaries_go_into_several_partials() -> None:
    features = [{f"n{row}_{k}": k for k in range(4_096)} for row in range(9)]
    partials = partials_of(features)
    assert [len(partial.features) for partial in partials] == [MOST_SUMMARIES] * 2 + [4_096]
    assert [len(partial.counts["pane"]) > 0 for partial in partials] == [True, False, False]
    found = summaries_of([decode(encode(partial)) for partial in partials])
    assert found.keys() == {
        (str(row % 2), name) for row, of_row in enumerate(features) for name in of_row
    }
    assert {summary.n for summary in found.values()} == {1}


def test_partials_with_long_names_and_texts_fit_into_a_record() -> None:
    long = "é" * 1_000
    features = [{f"{row}_{k}_{long}": f"{row}_{k}_{long}" for k in range(400)} for row in range(40)]
    partials = partials_of(features)
    assert len(partials) > 3
    assert max(len(encode(partial)) for partial in partials) < LARGEST_RECORD
    assert sum(len(partial.features) for partial in partials) == 40 * 400
