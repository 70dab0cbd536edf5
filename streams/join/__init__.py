"""Stage 1: join predictions with their truths and count, by partition.

`stage.py` is the way of a batch; `entry.py` says what is kept of an id and what follows from it;
`join.py` does the same for whole batches of ordinary rows; `forget.py` ends what has waited long
enough; `increments.py` turns it all into partials.
"""

from driftline.streams.join.stage import Join, Marks

__all__ = ["Join", "Marks"]
