"""`driftline completion`: completion of verbs and options in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from driftline.agents.cli.output import example

PROGRAM = "driftline"
VARIABLE = "_DRIFTLINE_COMPLETE"
"""By which a shell asks the program for completions; click derives it from the name."""


@click.command(
    "completion",
    epilog=example(
        "driftline completion bash >> ~/.bashrc",
        "driftline completion zsh >> ~/.zshrc",
        "driftline completion fish > ~/.config/fish/completions/driftline.fish",
    ),
)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the lines that let a shell complete verbs, options and file names."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click knows no completion for {shell}")
    click.echo(kind(context.find_root().command, {}, PROGRAM, VARIABLE).source())
