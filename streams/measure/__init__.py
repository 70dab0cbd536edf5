"""Stage 2: adds up what all partitions counted, and announces windows, metrics, drift and facts for
the registry.

`stage.py` is the stage. `frontier.py` and `windows.py` say what is due when; `panes.py` keeps the
counts (`tables.py` in `runs.py`); `evaluate.py` turns them into arrays by the columns of
`layout.py`, `figures.py` and `records.py` into records. The metrics and drift tests themselves are
plug-ins in `driftline.streams.metrics` and `driftline.streams.drift`.
"""

from driftline.streams.measure.stage import Measure

__all__ = ["Measure"]
