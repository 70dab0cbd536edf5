"""Stage 4: commands become events, events add up to the state in force.

`stage.py` is the stage; `commands.py` says what each command does to which state and when it is
refused; `model.py` is the state of one model and how an event changes it; `history.py` reads a log
of events backwards in time; `policy.py` decides which recommendations apply themselves. Telling
people, and mirroring to other stores, is `agents`.
"""

from driftline.streams.registry.history import as_of, history, replay
from driftline.streams.registry.stage import Registry

__all__ = ["Registry", "as_of", "history", "replay"]
