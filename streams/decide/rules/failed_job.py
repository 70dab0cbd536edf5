"""Alert rule: a scheduled job fails again and again, or has not succeeded for too long."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec

from driftline.schemas.times import format_duration, format_time
from driftline.streams.decide.judgement import (
    JobStanding,
    Judgement,
    Measurement,
    Part,
    Severity,
    Situation,
)
from driftline.streams.decide.report_rule import ReportRule
from driftline.streams.decide.rule import Positive, Reads
from driftline.streams.decide.wording import figure, moment

_SHOWN = 200


class FailedJobRule(
    ReportRule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="failed_job",
):
    """Fires while the last runs of a job have failed, or while it has not succeeded for longer than
    the interval that it states.

    It resolves with the next run that succeeds, or when the job is removed.

    Parameters
    ----------
    failures
        Number of runs in a row.
    overdue
        Number of intervals without a success; a job that never states an interval is never overdue.
    severity
        Severity of the alert.

    Examples
    --------
    >>> FailedJobRule(failures=2, segment="job=nightly").severity
    'critical'
    """

    segment: str = "job=*"
    failures: Annotated[int, msgspec.Meta(ge=1)] = 3
    overdue: Positive = 1.5
    severity: Severity = "critical"

    reads: ClassVar[Reads] = "jobs"
    concerns: ClassVar[Literal["behavior", "supply", "service", "alerts"]] = "service"

    def judge(self, measurement: Measurement, situation: Situation) -> Judgement:
        """Judge a job; "clear" unless one of both holds."""
        if not isinstance(measurement, JobStanding):
            raise TypeError(f"{self.kind}: reads jobs, got {type(measurement).__name__}")
        job = measurement
        parts: dict[str, Part] = {}
        if job.failures >= self.failures:
            parts["failed"] = Part(1, _failed(job))
        if job.interval_ms is not None and (
            job.at_ms - job.since_ms > self.overdue * job.interval_ms
        ):
            parts["overdue"] = Part(1, self._overdue(job, job.interval_ms))
        texts = [part.text for part in parts.values()]
        last = format_time(job.since_ms) if job.has_succeeded else None
        return Judgement(
            verdict="breach" if parts else "clear",
            window_start_ms=job.at_ms,
            window_end_ms=job.at_ms,
            at_ms=job.at_ms,
            severity=self.severity,
            finding=f"Job {job.job} {' and '.join(texts) or 'is back in order'}",
            metric="failures",
            value=job.failures,
            threshold=self.failures,
            comparator=">=",
            details={"job": job.job, "last_success": last, "message": job.message[:_SHOWN]},
            parts=parts,
        )

    def _overdue(self, job: JobStanding, interval_ms: int) -> str:
        what = "has not succeeded since" if job.has_succeeded else "has never succeeded since"
        return (
            f"{what} {moment(job.since_ms)}, for longer than {figure(self.overdue)} times its "
            f"interval of {format_duration(interval_ms)}"
        )


def _failed(job: JobStanding) -> str:
    times = "once" if job.failures == 1 else f"{job.failures:,} times in a row"
    message = " ".join(job.message.split())[:_SHOWN]
    return f"failed {times}" + (f" (last: {message})" if message else "")
