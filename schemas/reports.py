"""What runs around the models and reports about itself: workers on `worker-metrics`.

Each such topic belongs to a name of its own in the place of a model, under which its rules are
configured and its alerts are raised. Stage 3 judges the records.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from driftline.schemas.events import Name
from driftline.schemas.results import key_of

__all__ = ["DIMENSIONS", "LONGEST_INTERVAL_S", "SUBJECTS", "WORKERS", "Subject", "WorkerMetrics"]

Subject = Literal["model", "workers"]
WORKERS = "driftline-workers"
"""In the place of a model: the workers, which report on `worker-metrics`."""
SUBJECTS: dict[str, Subject] = {WORKERS: "workers"}
"""What is judged under a name that is no model's."""
DIMENSIONS: dict[Subject, str] = {"workers": "worker"}
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
