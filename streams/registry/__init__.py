"""Stage 4: commands become events, and events add up to the state in force.

`stage.py` is the stage; `commands.py` says what each command changes and when it is rejected;
`model_state.py` is the state of one model and how an event changes it; `history.py` queries a log
of events; `policy.py` decides which recommendations are applied without a person. Notifying people
and mirroring to other stores is left to `agents`.
"""

from driftline.streams.registry.history import as_of, history, replay
from driftline.streams.registry.stage import Registry

__all__ = ["Registry", "as_of", "history", "replay"]
