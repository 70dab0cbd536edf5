"""Stage 3: figures become alerts and recommendations.

`stage.py` is the stage. A rule (`rule.py`, one file each in `rules/`) judges one measurement;
`life.py` turns judgements into an alert that fires and resolves; `maturity.py` says which rung of
the ladder is worth judging; `tuner/` finds better thresholds. Who is told, and whether something
changes because of it, is the registry's and the notifiers' affair.
"""

from driftline.streams.decide.rule_builder import build_rules
from driftline.streams.decide.stage import Decide

__all__ = ["Decide", "build_rules"]
