"""What runs around the models and reports about itself: workers on `worker-metrics`, scheduled jobs
on `job-runs`.

Each such topic belongs to a name of its own in the place of a model, under which its rules are
configured and its alerts are raised. Stage 3 judges the records.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from driftline.schemas.events import Name
from driftline.schemas.results import key_of

__all__ = [
    "DIMENSIONS",
    "JOBS",
    "LONGEST_INTERVAL_S",
    "SUBJECTS",
    "TIME",
    "WORKERS",
    "JobRun",
    "JobStatus",
    "Subject",
    "WorkerMetrics",
]

Subject = Literal["model", "workers", "jobs"]
WORKERS = "driftline-workers"
"""In the place of a model: the workers, which report on `worker-metrics`."""
JOBS = "driftline-jobs"
"""In the place of a model: scheduled jobs, whose runs are reported on `job-runs`."""
SUBJECTS: dict[str, Subject] = {WORKERS: "workers", JOBS: "jobs"}
"""What is judged under a name that is no model's."""
DIMENSIONS: dict[Subject, str] = {"workers": "worker", "jobs": "job"}
"""What the segments of such a name are called: `worker=w1`."""

LONGEST_INTERVAL_S = 600.0

Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
Amount = Annotated[float, Meta(ge=0)]


class WorkerMetrics(Struct, kw_only=True, omit_defaults=True):
    """How a worker and its machine are. Figures that it could not read are missing.

    Attributes
    ----------
    worker
        Name of the worker, the same after a restart.
    timestamp
        When they were read.
    host
        Name of the machine.
    interval_s
        Seconds until the next record.
    cpu_share
        Share of the machine's processors that were busy since the record before.
    process_cpu
        Processors that the worker has used since then; 1.0 is one of them all the time.
    memory_share, memory_bytes
        Memory of the machine that is not available, and all of it.
    rss_bytes
        Memory that the worker holds.
    disk_share, disk_free_bytes
        Of the file system with the folder of its state.
    sent_bytes_s, received_bytes_s
        Bytes a second through all networks of the machine since the record before.
    lag_records
        Records of its inputs that it has not taken.
    restarts
        How often it was started again on the same folder of state.
    """

    worker: Name
    timestamp: str
    host: str
    interval_s: Annotated[float, Meta(gt=0, le=LONGEST_INTERVAL_S)]
    cpu_share: Share | None = None
    process_cpu: Amount | None = None
    memory_share: Share | None = None
    memory_bytes: Count | None = None
    rss_bytes: Count | None = None
    disk_share: Share | None = None
    disk_free_bytes: Count | None = None
    sent_bytes_s: Amount | None = None
    received_bytes_s: Amount | None = None
    lag_records: Count | None = None
    restarts: Count | None = None

    @property
    def model_name(self) -> str:
        """In the place of a model."""
        return WORKERS

    def key(self) -> str:
        """In the place of a model."""
        return key_of((WORKERS,))


JobStatus = Literal["running", "succeeded", "failed", "removed", "time"]
TIME: Final = "time"


class JobRun(Struct, kw_only=True, omit_defaults=True):
    """What became of a run of a scheduled job.

    Attributes
    ----------
    job
        Name of the job.
    timestamp
        When this is reported.
    status
        "running", "succeeded" or "failed". "removed": the job is no longer run, and forgotten.
        "time": nothing of a job, but time has passed; workers write it, so that a job that reports
        nothing is noticed.
    run_id
        Name of the run: the same end of it, reported again, counts once.
    started, ended
        When the run began and ended.
    interval
        How often the job is to succeed at least, a duration such as "1d"; it holds until another
        one is stated.
    message
        What happened, for a person.
    """

    job: Name
    timestamp: str
    status: JobStatus
    run_id: str | None = None
    started: str | None = None
    ended: str | None = None
    interval: str | None = None
    message: str = ""

    @property
    def model_name(self) -> str:
        """In the place of a model."""
        return JOBS

    def key(self) -> str:
        """In the place of a model."""
        return key_of((JOBS,))
