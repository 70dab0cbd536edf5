"""Stage 1: joins predictions with their truths and counts, by partition.

`stage.py` takes a batch through; `entry.py` defines the state of an id and its outcome;
`batch_join.py` and `sequential_join.py` update entries; `expiry.py` ends them; `lane_counts.py`
counts, and `increments.py` sums the counts into partials.
"""

from driftline.streams.join.stage import Join, Marks

__all__ = ["Join", "Marks"]
