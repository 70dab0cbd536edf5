"""`driftline schema`: the schemas of the topics, and the validation of a file against them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from driftline.agents.cli.output import WrongInput, example, json_option, number
from driftline.agents.input_rules import see
from driftline.agents.terminal import inert, print_json

if TYPE_CHECKING:
    from driftline.schemas.explain import Explanation


@click.group()
def schema() -> None:
    """Export the schemas of the topics, and validate files."""


@schema.command(epilog=example("driftline schema export docs/schemas"))
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def export(folder: Path) -> None:
    """Write a JSON Schema for every topic and one AsyncAPI document to FOLDER."""
    from driftline.schemas.json_schema import write_all

    for path in write_all(folder):
        click.echo(f"wrote {path}")


@schema.command(
    epilog=example(
        "driftline schema validate log/predictions.jsonl",
        "driftline schema validate export.jsonl --topic ground-truth",
    )
)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--topic", help="Topic of the lines; by default the name of the file.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="Number of rejected lines to show; 0 shows all.",
)
@json_option
def validate(file: Path, topic: str | None, limit: int, as_json: bool) -> int:
    """Decode FILE as the pipeline does and report each invalid line.

    Also lists the field names of other systems that were accepted as aliases, and the fields that
    are ignored. Ends with 1 if a line is invalid.
    """
    from driftline.agents.recorded.lines import LogError
    from driftline.schemas.explain import EXPLAINED_TOPICS

    topic = topic or file.name.removesuffix(".jsonl")
    if topic not in EXPLAINED_TOPICS:
        raise click.BadParameter(
            f"{topic!r} is none of {', '.join(EXPLAINED_TOPICS)}; name the topic of {file}",
            param_hint="--topic",
        )
    report = _Report(limit)
    try:
        for offset, explanation in enumerate(_explain_lines(file, topic)):
            report.add(offset, explanation)
            if explanation.error and not as_json and report.shown(offset):
                click.echo(inert(f"line {offset + 1}: {explanation.reason}: {explanation.error}"))
    except LogError as error:
        raise WrongInput(str(error)) from error
    if as_json:
        print_json({"file": str(file), "topic": topic, **report.document()})
    else:
        report.print(topic)
    return 1 if report.reasons else 0


def _explain_lines(file: Path, topic: str) -> Iterator[Explanation]:
    from driftline.agents.recorded.lines import LineFile
    from driftline.schemas.explain import explain
    from driftline.schemas.settings import Config

    latest_ms = int(time.time() * 1000) + Config().max_ahead_ms
    with LineFile(file) as lines:
        while (portion := lines.read()) is not None:
            for value in portion.values:
                yield explain(value, topic, latest_ms=latest_ms)


class _Report:
    """Counts and rejected lines of a file."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.lines = 0
        self.reasons: Counter[str] = Counter()
        self.aliases: Counter[tuple[str, str]] = Counter()
        self.ignored: Counter[str] = Counter()
        self.rejected: list[dict[str, Any]] = []

    def add(self, offset: int, explanation: Explanation) -> None:
        """Count one line; the first `limit` rejected ones are kept."""
        self.lines += 1
        self.aliases.update(explanation.aliases.items())
        self.ignored.update(explanation.ignored)
        if explanation.error is not None:
            self.reasons[str(explanation.reason)] += 1
            if not self.limit or len(self.rejected) < self.limit:
                self.rejected.append(
                    {
                        "line": offset + 1,
                        "offset": offset,
                        "reason": explanation.reason,
                        "error": explanation.error,
                    }
                )

    def shown(self, offset: int) -> bool:
        """Whether the line at this offset was kept as one of the first rejected ones."""
        return bool(self.rejected) and self.rejected[-1]["offset"] == offset

    def document(self) -> dict[str, Any]:
        """The report as a JSON document."""
        return {
            "lines": self.lines,
            "accepted": self.lines - self.reasons.total(),
            "reasons": dict(self.reasons),
            "rejected": self.rejected,
            "aliases": {
                alias: {"means": name, "lines": count}
                for (alias, name), count in self.aliases.items()
            },
            "ignored": dict(self.ignored),
        }

    def print(self, topic: str) -> None:
        """Print the report."""
        rejected = self.reasons.total()
        if rejected > len(self.rejected):
            click.echo(
                f"... and {number(rejected - len(self.rejected))} more invalid lines; "
                "--limit 0 shows all"
            )
        click.echo(
            f"{number(self.lines - rejected)} of {number(self.lines)} lines are valid {topic}"
        )
        for (alias, name), count in sorted(self.aliases.items()):
            click.echo(inert(f'alias "{alias}" was read as {name} ({number(count)} lines)'))
        for name, count in sorted(self.ignored.items()):
            click.echo(inert(f'field "{name}" is ignored ({number(count)} lines)'))
        for reason, count in sorted(self.reasons.items()):
            click.echo(f"rejected {number(count)}: {reason}")
        if self.aliases or self.ignored or self.reasons:
            click.echo(see("Values of an event", "Records of other producers"))
