"""The tuner: which threshold would have been better, by how much, and what it brought afterwards.

`threshold.py` finds the best threshold of a histogram, `gain.py` judges it on other rows,
`follow.py` keeps recommendations and looks at what became of them; what "better" means is one file
each in `objectives/`. Carrying a recommendation out is the registry's affair.
"""

from driftline.streams.decide.tuner.settings import build_tuner

__all__ = ["build_tuner"]
