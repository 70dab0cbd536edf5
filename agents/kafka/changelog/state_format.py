"""What a stored state must agree with before a task uses it: the formats of its stages. The
settings are `driftline.agents.kafka.stages.recorded_settings`.

Each stage names the formats of its entries (`Stage.state_format`), beside the code that writes
them. Every commit of a journal and every local copy carries the formats that wrote it. State of
other formats is refused, never converted.
"""

from __future__ import annotations

from driftline.agents.kafka.broker.task_kinds import STAGES
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
