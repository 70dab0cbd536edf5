"""Base class of the rules that read single outcomes in the order in which they became known."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

import msgspec

from driftline.schemas.settings import ModelConfig
from driftline.schemas.times import parse_duration
from driftline.streams.decide.detectors import outcome_history, river_detectors
from driftline.streams.decide.detectors.outcome_history import Change, Detector, OutcomeHistory
from driftline.streams.decide.judgement import (
    Judgement,
    Measurement,
    SeriesOutcomes,
    Severity,
    Situation,
    Verdict,
)
from driftline.streams.decide.rule import InvalidRule, Reads, Rule
from driftline.streams.decide.wording import figure, subject

Share = Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)]
AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
Place = tuple[str, ...]


class OutcomeRule(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """A rule by a detector of river on the errors of a series: 1 for a wrong prediction, else 0.

    The fields of the derived class are the parameters of the detector, with their names and
    defaults in river.

    Parameters
    ----------
    clear_after
        Time without another detection after which the alert resolves, with the first outcomes that
        become known then.
    memory
        Most outcomes since the last detection that are kept; then the detector begins anew with the
        newest half of them.
    severity
        Severity of the alert.
    """

    clear_after: str = "7d"
    memory: Annotated[int, msgspec.Meta(ge=100, le=1_000_000)] = 20_000
    severity: Severity = "info"

    reads: ClassVar[Reads] = "outcomes"
    title: ClassVar[str] = ""
    """Name of the detector in a sentence."""
    river_class: ClassVar[str] = ""
    """Name of its class in river."""

    def bound(self, config: ModelConfig) -> Self:
        """As `Rule.bound`; checks that river is installed and that stage 2 keeps outcomes."""
        if not river_detectors.is_installed():
            raise InvalidRule(
                "type",
                f'"{self.kind}" needs river, which is not installed: '
                'pip install "driftline[river]"',
            )
        if not config.last_n:
            raise InvalidRule(
                "type",
                f'"{self.kind}" reads the newest outcomes, and last_n of this model is empty; '
                "give it a number",
            )
        if self.for_ != 1:
            raise InvalidRule("for", "a detection does not last; leave it out")
        try:
            parse_duration(self.clear_after)
        except ValueError as error:
            raise InvalidRule("clear_after", str(error)) from error
        return super().bound(config)

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters of the detector."""
        return {
            name: getattr(self, name)
            for name in self.__struct_fields__
            if name not in OutcomeRule.__struct_fields__
        }

    def create(self) -> Detector:
        """A new detector."""
        return river_detectors.create(self.river_class, self.parameters)

    def judge(self, measurement: Measurement, situation: Situation) -> Judgement:
        """Judge some outcomes without any before them."""
        if not isinstance(measurement, SeriesOutcomes):
            raise TypeError(f"{self.kind}: reads outcomes, got {type(measurement).__name__}")
        return self.judge_next(measurement, OutcomeHistory(), None)[1]

    def judge_next(
        self, measured: SeriesOutcomes, history: OutcomeHistory, detector: Detector | None
    ) -> tuple[OutcomeHistory, Judgement, Detector | None]:
        """The history with these outcomes, a judgement, and the detector after them.

        Parameters
        ----------
        detector
            The one that has read the history; None has it rebuilt.
        """
        if not measured.errors:
            return history, self._judgement(measured, history, "unclear"), detector
        if detector is None:
            detector = outcome_history.rebuilt(history, self.create)
        history, detector, detections, change = outcome_history.read(
            history, detector, measured.errors, create=self.create, memory=self.memory
        )
        if change is not None:
            history = msgspec.structs.replace(
                history, detections=history.detections + detections, detected_ms=measured.end_ms
            )
            return history, self._judgement(measured, history, "breach", change), detector
        if history.detected_ms < 0:
            return history, self._judgement(measured, history, "unclear"), detector
        if measured.end_ms - history.detected_ms < parse_duration(self.clear_after):
            return history, self._judgement(measured, history, "within"), detector
        judged = self._judgement(measured, history, "clear")
        return msgspec.structs.replace(history, detections=0, detected_ms=-1), judged, detector

    def _judgement(
        self,
        measured: SeriesOutcomes,
        history: OutcomeHistory,
        verdict: Verdict,
        change: Change | None = None,
    ) -> Judgement:
        who = subject(measured.model_name, measured.model_version, measured.segment)
        plain = Judgement(
            verdict=verdict,
            window_start_ms=measured.start_ms,
            window_end_ms=measured.end_ms,
            at_ms=measured.end_ms,
            severity=self.severity,
            finding=f"{self.title} found no other change in the outcomes of {who} for "
            f"{self.clear_after}",
            details={
                "detector": self.title,
                "parameters": self.parameters,
                "detections": history.detections,
            },
        )
        if change is None:
            return plain
        before = _accuracy(change.n_before, change.wrong_before)
        since = _accuracy(change.n_since, change.wrong_since)
        usual = "" if before is None else f", {figure(before)} of {change.n_before:,} before"
        return msgspec.structs.replace(
            plain,
            finding=f"{self.title} found a change in the outcomes of {who}: accuracy "
            f"{figure(since or 0.0)} of the last {change.n_since:,}{usual}",
            metric="accuracy",
            value=since,
            baseline=before,
            n=change.n_since,
            details=plain.details | {"n_before": change.n_before, "n_since": change.n_since},
        )


class KeptDetectors:
    """Detectors that have read the histories in the state, so that they need not be rebuilt."""

    most = 10_000

    def __init__(self) -> None:
        self._kept: dict[Place, tuple[OutcomeRule, OutcomeHistory, Detector]] = {}

    def take(self, place: Place, rule: OutcomeRule, history: OutcomeHistory) -> Detector | None:
        """The detector of a rule that has read this history, if it is here. It is not kept any
        more, since it will read on.
        """
        kept = self._kept.pop(place, None)
        return kept[2] if kept is not None and kept[:2] == (rule, history) else None

    def keep(
        self, place: Place, rule: OutcomeRule, history: OutcomeHistory, detector: Detector | None
    ) -> None:
        """Keep the detector of a rule that has read this history; the one unused for the longest
        time goes if there are too many.
        """
        if detector is not None:
            self._kept[place] = (rule, history, detector)
            if len(self._kept) > self.most:
                del self._kept[next(iter(self._kept))]


def _accuracy(n: int, wrong: int) -> float | None:
    return (n - wrong) / n if n else None
