"""Version of the state that the stages keep, and the way from one to the next.

Whoever changes how a stage writes an entry raises STATE_VERSION and adds the step from the version
before to UPGRADES. The journal says of every commit which version wrote it, so a restore lifts old
entries one by one while it reads; a local cache of another version is not used. A task that has
been restored writes the new version from its first commit on, so there is no way back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from driftline.agents.state.overlay import rewritten
from driftline.schemas.settings import Config
from driftline.schemas.times import format_duration
from driftline.streams.join import Join
from driftline.streams.join.entry import without_fingerprints
from driftline.streams.join.state_keys import NO_ID

STATE_VERSION: Final = 2
# Stage, key and value of an entry to its value in the next version.
Upgrade = Callable[[str, bytes, bytes], bytes]


def _without_fingerprints(stage: str, key: bytes, value: bytes) -> bytes:
    """Version 2 has other fingerprints of predictions; what an earlier one took in counts as the
    same as what comes under its id again.
    """
    return (
        without_fingerprints(value) if stage == Join.name and not key.startswith(NO_ID) else value
    )


# By the version that a step starts from.
UPGRADES: Final[Mapping[int, Upgrade]] = {1: _without_fingerprints}


def shape_of(config: Config) -> str:
    """The settings that the state is laid out by: with others it cannot be read.

    A model's own ladder of maturity is left out, so that models can be added; those of the models
    that are counted are in `ladders.py`.

    Examples
    --------
    >>> shape_of(Config(pane_ms=60_000, segments=("country", "plan"), lanes=("decisions",)))
    'panes of 1m, lanes decisions, segments country and plan, maturity 1h and 6h and 1d and 3d and 7d and 30d'
    """
    lists = (
        config.lanes,
        config.segments or ("none",),
        tuple(rung.name for rung in config.defaults.maturity),
    )
    lanes, segments, maturity = (" and ".join(names) for names in lists)
    return f"panes of {format_duration(config.pane_ms)}, lanes {lanes}, segments {segments}, maturity {maturity}"


def check_shape(found: str, wanted: str, name: str) -> None:
    """Refuse a state that was laid out by other settings; an empty text fits everything.

    Raises
    ------
    StateVersionError
        If it was.
    """
    if found and wanted and found != wanted:
        raise StateVersionError(
            f"{name}: the state was kept with {found}; the configuration now has {wanted}. Put these settings back, or give the "
            "program another kafka.app, under which it starts anew from the input topics"
        )


class StateVersionError(Exception):
    """The state was written by a version that this program cannot follow; the message says what to
    do.
    """


def check_version(found: int, name: str) -> None:
    """Refuse a state that this program cannot read.

    Raises
    ------
    StateVersionError
        If it is of a newer version, or of an older one without a step that leads on.
    """
    missing = [version for version in range(found, STATE_VERSION) if version not in UPGRADES]
    if found > STATE_VERSION or missing:
        way = (
            "run the newer driftline that wrote it"
            if found > STATE_VERSION
            else "run a driftline in between first, which lifts it"
        )
        raise StateVersionError(
            f"{name}: the state has version {found}, this program reads version {STATE_VERSION}"
            f"{'' if not UPGRADES else f' and lifts those from {min(UPGRADES)} on'}; {way}, or give the program "
            "another kafka.app, under which it starts anew from the input topics"
        )


def lifted(changes: Mapping[str, bytes], found: int) -> Mapping[str, bytes]:
    """The record of changes by stage, as this version would have written it."""
    if found == STATE_VERSION:
        return changes
    records = dict(changes)
    for version in range(found, STATE_VERSION):
        upgrade = UPGRADES[version]
        records = {
            stage: rewritten(record, partial(upgrade, stage)) for stage, record in records.items()
        }
    return records
