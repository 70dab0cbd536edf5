"""Stage 3: figures become alerts and recommendations.

`stage.py` is the stage. A rule (`rule.py`, one file each in `rules/`) judges one measurement;
`alert_lifecycle.py` turns judgements into alerts that fire and resolve; `judged_rung.py` chooses
the rung of the maturity ladder that is judged; `tuner/` finds better thresholds. Applying
recommendations is the registry's part, notifying people the notifiers'.
"""

from driftline.streams.decide.rule_builder import build_rules
from driftline.streams.decide.stage import Decide

__all__ = ["Decide", "build_rules"]
