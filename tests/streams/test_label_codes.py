"""Codes of labels in stage 1: bounded, and no label of one model takes the place of another's."""

from __future__ import annotations

import numpy as np
import pytest

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.settings import Config
from driftline.streams.columns import UNLABELLED
from driftline.streams.join import code_book
from driftline.streams.join.code_book import MAX_LONG_NUMBERS, MAX_OTHER_LABELS, CodeBook
from driftline.streams.lanes import NO_LABEL, OTHER_LABEL


def codes(book: CodeBook, labels: list[str], state: MemoryState) -> list[int]:
    index = np.arange(-1, len(labels))
    return book.label_codes(labels, index, state).tolist()


def test_the_numbers_of_a_regression_leave_room_for_the_labels_of_other_models() -> None:
    state = MemoryState()
    book = CodeBook(Config(), state)
    prices = [f"{i / 8:.3f}" for i in range(70_000)]
    first = codes(book, prices, state)
    assert first[0] == NO_LABEL
    assert first[1 : 1 + MAX_LONG_NUMBERS] == list(range(MAX_LONG_NUMBERS))
    assert set(first[1 + MAX_LONG_NUMBERS :]) == {OTHER_LABEL}
    assert len(book.labels) == MAX_LONG_NUMBERS
    names = ["no", "yes", "0", "1", "1234", "1.1.1", "E11.9"]
    numbers = list(range(MAX_LONG_NUMBERS, MAX_LONG_NUMBERS + len(names)))
    assert codes(book, names, state) == [NO_LABEL, *numbers]
    # After a restart the limits and the codes are the same.
    again = CodeBook(Config(), state)
    assert codes(again, [*names, "12345", "-0.5", "1e-7", prices[5]], state) == [
        NO_LABEL,
        *numbers,
        OTHER_LABEL,
        OTHER_LABEL,
        OTHER_LABEL,
        5,
    ]
    assert [again.label_text(code) for code in (5, OTHER_LABEL)] == ["0.625", "(other)"]


def test_every_code_of_a_label_fits_two_bytes_beside_the_special_ones() -> None:
    assert MAX_LONG_NUMBERS + MAX_OTHER_LABELS <= OTHER_LABEL
    assert UNLABELLED == -1


def test_labels_beyond_the_limit_have_one_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_book, "MAX_OTHER_LABELS", 2)
    state = MemoryState()
    book = CodeBook(Config(), state)
    assert codes(book, ["a", "b", "c"], state) == [NO_LABEL, 0, 1, OTHER_LABEL]
    assert codes(book, ["c", "b", "0.5"], state) == [NO_LABEL, OTHER_LABEL, 1, 2]
