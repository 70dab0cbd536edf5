"""Base class of the rules that gather evidence on shares of rows of features."""

from __future__ import annotations

from typing import ClassVar

from driftline.streams.decide.detectors.share_evidence import Tracks
from driftline.streams.decide.judgement import DriftWindow, Judgement, Measurement, Situation
from driftline.streams.decide.rule import Reads, Rule


class ShareRule(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """A rule on drift results that keeps tracks of shares (`detectors/share_evidence.py`)."""

    reads: ClassVar[Reads] = "drift"

    def judge(self, measurement: Measurement, situation: Situation) -> Judgement:
        """Judge one window without any before it."""
        if not isinstance(measurement, DriftWindow):
            raise TypeError(f"{self.kind}: reads drift, got {type(measurement).__name__}")
        return self.judge_next(measurement, situation, {})[1]

    def judge_next(
        self, window: DriftWindow, situation: Situation, tracks: Tracks
    ) -> tuple[Tracks, Judgement]:
        """The tracks with this window, and a judgement."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a method judge_next(window, situation, tracks)"
        )
