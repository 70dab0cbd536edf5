"""What a check found."""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["ok", "note", "problem"]


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of one check.

    Attributes
    ----------
    check
        What was looked at.
    level
        "ok"; "note" for what a reader of the figures should know; "problem" for what has to be
        changed.
    message
        What was found, in a sentence.
    remedy
        What to do about it; empty where there is nothing to do.
    """

    check: str
    level: Level
    message: str
    remedy: str = ""
