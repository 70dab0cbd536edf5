"""Summaries of texts and of whole features."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import xxhash

from driftline.streams.summaries.feature_summary import FeatureSummary
from driftline.streams.summaries.numeric_bins import NumericSummary
from driftline.streams.summaries.text_summary import MAX_VALUES, StringSummary
from tests.streams.summaries import merged_features, merged_texts


def zero_bits(text: str) -> int:
    return format(xxhash.xxh64_intdigest(text.encode()), "064b").find("1") % 65


def test_up_to_1000_values_are_all_kept() -> None:
    summary = StringSummary.of([f"v{i}" for i in range(1000)] * 2)
    assert (summary.level, summary.identifier, summary.total) == (0, False, 2000)
    assert len(summary.values) == 1000


def test_above_1000_values_those_with_the_rarest_hashes_are_kept() -> None:
    names = [f"user {i}" for i in range(30_000)]
    summary = StringSummary.of(names)
    assert summary.identifier
    assert set(summary.values) == {name for name in names if zero_bits(name) >= summary.level}
    assert (
        len(summary.values)
        <= MAX_VALUES
        < sum(zero_bits(name) >= summary.level - 1 for name in names)
    )
    assert summary.total == 30_000


def test_result_depends_on_the_multiset_alone() -> None:
    base = np.random.default_rng(1)
    rows = [f"v{i}" for i in base.zipf(1.3, 6000)]
    whole = StringSummary.of(rows)
    assert whole.identifier
    for seed in range(200):
        rng = np.random.default_rng(seed)
        parts = np.array_split(
            rng.permutation(rows), np.sort(rng.integers(0, len(rows), rng.integers(0, 9)))
        )
        heap = [StringSummary.of(part.tolist()) for part in parts]
        while len(heap) > 1:
            heap.append(
                merged_texts(
                    [
                        heap.pop(int(rng.integers(len(heap))))
                        for _ in range(min(len(heap), int(rng.integers(2, 4))))
                    ]
                )
            )
        assert heap[0] == whole, f"seed {seed}"
        assert json.dumps(heap[0].to_dict()) == json.dumps(whole.to_dict())


def test_long_text_is_replaced_by_its_start_and_hash() -> None:
    one, other = "x" * 1_000_000, "x" * 999_999 + "y"
    summary = StringSummary.of([one, other, one])
    assert sorted(summary.values.values()) == [1, 2]
    assert all(len(text) == 128 for text in summary.values)
    assert StringSummary.of(summary.values) == StringSummary.of_counts(
        dict.fromkeys(summary.values, 1)
    )


def test_lone_surrogate_is_counted() -> None:
    odd = json.loads('"\\ud800"')
    summary = StringSummary.of([odd] + [f"v{i}" for i in range(1500)])
    assert summary.total == 1501


def test_plain_form_restores_the_summary() -> None:
    summary = StringSummary.of(["b", "a", "b"])
    assert StringSummary.from_dict(json.loads(json.dumps(summary.to_dict()))) == summary


def test_feature_counts_numbers_texts_and_missing_values_separately() -> None:
    numbers = FeatureSummary(numbers=NumericSummary.of(np.array([1.0, 2.0])), missing=1)
    words = FeatureSummary(texts=StringSummary.of(["n/a"]))
    both = replace(merged_features([numbers, words, FeatureSummary()]), missing=1)
    assert (numbers.kind, words.kind, both.kind, FeatureSummary(missing=3).kind) == (
        "number",
        "string",
        "mixed",
        "empty",
    )
    assert (both.n, both.missing, both.missing_share) == (3, 1, 0.25)
    assert both.judged is both.numbers
    assert np.isnan(FeatureSummary().missing_share)
    for feature in (numbers, words, both, FeatureSummary()):
        assert FeatureSummary.from_dict(json.loads(json.dumps(feature.to_dict()))) == feature
