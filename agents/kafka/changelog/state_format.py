"""What a stored state must agree with before a task uses it: the formats of its stages, and the
settings that it is laid out by.

Each stage names the formats of its entries (`Stage.state_format`), beside the code that writes
them. Every commit of a journal and every local copy carries the formats that wrote it. State of
other formats is refused, never converted.
"""

from __future__ import annotations

from driftline.agents.kafka.broker.task_kinds import STAGES
from driftline.schemas.settings import Config
from driftline.schemas.times import format_duration
from driftline.streams import pipeline


class StateFormatError(Exception):
    """Stored state of other formats or other settings; the message says which, what this program
    needs, and what to do.
    """


def state_format(kind: str) -> str:
    """Formats of the state of a kind of task, stage by stage.

    Examples
    --------
    >>> state_format("join").split()[0]
    'join'
    """
    return ", ".join(
        f"{stage.name} {'.'.join(map(str, stage.state_format))}"
        for stage in pipeline.STAGES
        if stage.name in STAGES[kind]
    )


def check_journal_format(found: str, kind: str, name: str) -> None:
    """Refuse a commit of a journal whose state has other formats.

    Parameters
    ----------
    found
        `state_format` of the program that wrote it.
    name
        The journal, for the message.

    Raises
    ------
    StateFormatError
        If this program cannot read it.
    """
    needed = state_format(kind)
    if found != needed:
        raise StateFormatError(
            f'{name}: the changelog holds state of format "{found}", this release needs '
            f'"{needed}"; '
            "run the release that wrote it, or give the program another kafka.app, under which it "
            "starts anew from the input topics"
        )


def check_copy_format(found: str, kind: str, name: str, folder: str) -> None:
    """Refuse a local copy whose state has other formats.

    Parameters
    ----------
    found
        `state_format` of the program that wrote it.
    name, folder
        The journal that it is a copy of, and where it lies; for the message.

    Raises
    ------
    StateFormatError
        If this program cannot read it.
    """
    needed = state_format(kind)
    if found != needed:
        raise StateFormatError(
            f'{name}: the local copy in {folder} holds state of format "{found}", this release '
            f'needs "{needed}"; delete {folder}, so that the state is restored from the changelog, '
            "or give the program another kafka.app, under which it starts anew from the input "
            "topics"
        )


def shape_of(config: Config) -> str:
    """The settings that the state is laid out by: with others it cannot be read.

    A model's own maturity ladder is left out, so that models can be added; the ladders of counted
    models are in `maturity_ladders.py`.

    Examples
    --------
    >>> shape_of(Config(pane_ms=60_000, segments=("country", "plan"), lanes=("decisions",)))[:57]
    'panes of 1m, lanes decisions, segments country and plan, '
    """
    lists = (
        config.lanes,
        config.segments or ("none",),
        tuple(rung.name for rung in config.defaults.maturity),
    )
    lanes, segments, maturity = (" and ".join(names) for names in lists)
    return (
        f"panes of {format_duration(config.pane_ms)}, lanes {lanes}, segments {segments}, "
        f"maturity {maturity}"
    )


def check_shape(found: str, wanted: str, name: str) -> None:
    """Refuse state that other settings laid out; an empty text fits every configuration.

    Raises
    ------
    StateFormatError
        If the settings differ.
    """
    if found and wanted and found != wanted:
        raise StateFormatError(
            f"{name}: the state was laid out with {found}; the configuration now has {wanted}. "
            "Restore these settings, or give the program another kafka.app, under which it starts "
            "anew from the input topics"
        )
