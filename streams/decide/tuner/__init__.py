"""The tuner: better thresholds, their gain, and their outcome afterwards.

`best_threshold.py` finds the best threshold of a histogram, `gain.py` judges it on other rows,
`recommendation_lifecycle.py` issues recommendations and follows them; what "better" means is one
file each in `objectives/`. The registry applies recommendations.
"""

from driftline.streams.decide.tuner.settings import build_tuner

__all__ = ["build_tuner"]
