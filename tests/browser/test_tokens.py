"""Colours of the page: contrast by the formula of WCAG 2.2, in both themes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TOKENS = Path(__file__).resolve().parents[2] / "agents/serve/page/css/tokens.css"
TEXT = 4.5
GRAPHIC = 3.0
ON_GROUNDS = ("ink", "ink-2", "ink-3", "accent", "worse", "warning", "fine", "info")
GROUNDS = ("ground", "panel", "inset")
ON_SOFT = (
    ("worse", "worse-soft"),
    ("warning", "warning-soft"),
    ("fine", "fine-soft"),
    ("info", "info-soft"),
    ("accent", "accent-soft"),
    ("on-accent", "accent"),
    ("ink", "worse-fill"),
    ("ink", "right-fill"),
    ("ink", "accent-soft"),
)
MARKS = (
    *("accent", "line-strong", "worse-mark", "warning-mark", "fine-mark", "info-mark"),
    *("positive", "negative", "mild", "moderate", "severe"),
)


def colours() -> dict[str, tuple[str, str]]:
    """By token, its colour in light and in dark."""
    text = TOKENS.read_text(encoding="utf-8")
    found = re.findall(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", text)
    return {name: (light, dark) for name, light, dark in found}


def luminance(colour: str) -> float:
    """Relative luminance of sRGB in [0, 1]."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_black_on_white_has_the_greatest_contrast() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)


PAIRS = [
    *((text, ground, TEXT) for text in ON_GROUNDS for ground in GROUNDS),
    *((text, soft, TEXT) for text, soft in ON_SOFT),
    *((mark, "panel", GRAPHIC) for mark in MARKS),
]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("front", "back", "least"), PAIRS)
def test_text_and_marks_stand_out_from_what_is_behind_them(
    front: str, back: str, least: float, theme: int
) -> None:
    known = colours()
    assert contrast(known[front][theme], known[back][theme]) >= least
