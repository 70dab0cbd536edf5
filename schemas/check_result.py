"""The result of one check."""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["ok", "note", "problem"]


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """One finding of one check.

    Attributes
    ----------
    check
        What was checked.
    level
        "ok"; "note" for a fact that a reader of the figures should know; "problem" for something
        that has to be changed.
    message
        The finding, in a sentence.
    remedy
        What to do about it; empty if nothing.
    """

    check: str
    level: Level
    message: str
    remedy: str = ""
