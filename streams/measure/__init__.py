"""Stage 2: adds up partials and turns windows into figures, drift records and registry facts.

`stage.py` runs the stage. Below it, a room imports only rooms further down this list: `facts`,
`drift`, `figures`, `counts`, `timing`. `state_keys.py` names all keys of the stage in `State`.
"""

from driftline.streams.measure.stage import Measure

__all__ = ["Measure"]
