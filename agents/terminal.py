"""Standard output: a console for people, JSON documents for machines."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

# Width of output to a pipe or a file, unless COLUMNS is set: one line per record, for grep.
PIPE_WIDTH = 400


def console(*, stderr: bool = False) -> Console:
    """A console that follows NO_COLOR and COLUMNS."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
    return Console(file=stream, width=width, highlight=False, emoji=False)


def print_json(document: Any) -> None:
    """Print one indented JSON document, control characters as escapes; structs are encoded as on
    their topic.
    """
    import msgspec

    from driftline.schemas.results import encode

    text = msgspec.json.format(encode(document), indent=2).decode()
    if not text.replace("\n", "").isprintable():
        text = "".join(
            each if each == "\n" or each.isprintable() else json.dumps(each)[1:-1] for each in text
        )
    sys.stdout.write(text + "\n")


def inert(text: str) -> str:
    r"""A text without what a terminal would obey, such as an escape sequence in a name; line feeds
    stay.

    Examples
    --------
    >>> inert("churn \x1b[31m")
    'churn \\x1b[31m'
    """
    if text.isprintable():
        return text
    return "".join(
        each
        if each == "\n" or each.isprintable()
        else each.encode("unicode_escape", "surrogatepass").decode()
        for each in text
    )
