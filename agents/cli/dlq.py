"""`driftline dlq`: the dead letters of a broker or of an output folder, and sending them again."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import click

from driftline.agents.cli.broker_options import broker_option, open_connection
from driftline.agents.cli.export import range_options
from driftline.agents.cli.inputs import config_option, read_config, report_read_errors
from driftline.agents.cli.output import WrongInput, example, json_option, minute, number
from driftline.agents.cli.tables import print_table, print_wrapped
from driftline.agents.input_rules import see
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from driftline.agents.kafka.tools.dead_letters import BrokerLetter, Selection
    from driftline.agents.recorded.dead_letters import DeadLetter

SHOWN_CHARACTERS = 2_000
_NOT_ALL_SENT = 1


class Place(NamedTuple):
    """A topic of rejected records, and where in its dead letters; None for everywhere."""

    topic: str
    partition: int | None = None
    first: int | None = None
    last: int | None = None


class PlaceType(click.ParamType):
    """`TOPIC[:PARTITION[:OFFSET[-OFFSET]]]`; the topic with or without ".dlq"."""

    name = "PLACE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Place:
        """Parse an argument."""
        from driftline.agents.kafka.tools.dead_letters import LETTER_TOPICS

        name, *numbers = str(value).split(":")
        topic = name.removesuffix(".dlq")
        if topic not in LETTER_TOPICS:
            self.fail(
                f"{name!r} has no dead letters; the topics are {', '.join(LETTER_TOPICS)}, without "
                "a prefix",
                param,
                ctx,
            )
        offsets = numbers[1].split("-") if len(numbers) == 2 else []
        if (
            len(numbers) > 2
            or len(offsets) > 2
            or not all(text.isascii() and text.isdecimal() for text in [*numbers[:1], *offsets])
        ):
            self.fail(
                f"{value!r} is not TOPIC[:PARTITION[:OFFSET[-OFFSET]]]; examples are predictions, "
                "predictions.dlq:0:17 and predictions:0:17-40",
                param,
                ctx,
            )
        bounds = [int(text) for text in offsets]
        if bounds and bounds[0] > bounds[-1]:
            self.fail(f"{value!r}: the first offset is after the last one", param, ctx)
        return Place(
            topic,
            int(numbers[0]) if numbers else None,
            bounds[0] if bounds else None,
            bounds[-1] if bounds else None,
        )


class ReasonType(click.ParamType):
    """The code of a reason."""

    name = "CODE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check an option; the codes are imported only when one is given."""
        from driftline.schemas.rejects import Reason

        if value not in get_args(Reason):
            self.fail(f"{value!r} is none of {', '.join(get_args(Reason))}", param, ctx)
        return str(value)


_reason_option = click.option(
    "--reason", type=ReasonType(), help="Only letters with this reason, such as not_json."
)


_out_option = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Read the *.dlq.jsonl files of this output folder instead of a broker. Its places are "
    "those of the rejected records.",
)


@click.group()
def dlq() -> None:
    """List and show dead letters, and send them again.

    A record that cannot be used is put aside on its dead-letter topic, such as predictions.dlq,
    with the reason.
    """


@dlq.command(
    "list",
    epilog=example(
        "driftline dlq list --config driftline.toml",
        "driftline dlq list predictions --out backtest",
    ),
)
@click.argument("place", type=PlaceType(), metavar="[TOPIC[:PARTITION[:OFFSET]]]", required=False)
@_reason_option
@range_options
@_out_option
@config_option
@broker_option
@json_option
def list_letters(
    place: Place | None,
    reason: str | None,
    since_ms: int | None,
    until_ms: int | None,
    out: Path | None,
    config: Path | None,
    broker: str | None,
    as_json: bool,
) -> None:
    """Count dead letters by topic and reason, with an example of each."""
    from driftline.agents.kafka.tools.dead_letters import count_letters

    if out is not None:
        _no_times(since_ms, until_ms)
        counts: dict[tuple[str, str], list[DeadLetter]] = {}
        for line in _lines(out, place, reason):
            counts.setdefault((line.dlq_topic, line.dlq_reason), []).append(line)
        rows: list[dict[str, Any]] = [
            {
                "topic": topic,
                "reason": why,
                "count": len(lines),
                "example": _line_place(lines[-1]),
                "error": lines[-1].dlq_error,
            }
            for (topic, why), lines in counts.items()
        ]
    else:
        with _broker(config, broker) as connection:
            found = count_letters(connection, _selection(place, reason, since_ms, until_ms))
        rows = [{name: getattr(entry, name) for name in entry.__struct_fields__} for entry in found]
    if as_json:
        print_json(rows)
        return
    print_table(
        ["Topic", "Reason", ">Count", ">Sent again", "Last", "Example", "Why"],
        [
            (
                row["topic"],
                row["reason"],
                number(row["count"]),
                number(row.get("sent_again")),
                minute(row.get("last_time") or None),
                row["example"],
                row["error"],
            )
            for row in rows
        ],
        empty="no dead letters",
    )
    from driftline.agents.uncounted_rows import section_of

    sections = dict.fromkeys(section_of(row["reason"]) for row in rows)
    if named := [section for section in sections if section is not None]:
        print_wrapped(see(*named))


@dlq.command(
    "show",
    epilog=example(
        "driftline dlq show predictions.dlq:0:17 --config driftline.toml",
        "driftline dlq show ground-truth --limit 3 --out backtest",
    ),
)
@click.argument("place", type=PlaceType(), metavar="TOPIC[:PARTITION[:OFFSET]]")
@_reason_option
@range_options
@click.option(
    "--limit", type=click.IntRange(min=1), default=10, show_default=True, help="At most this many."
)
@_out_option
@config_option
@broker_option
@json_option
def show_letters(
    place: Place,
    reason: str | None,
    since_ms: int | None,
    until_ms: int | None,
    limit: int,
    out: Path | None,
    config: Path | None,
    broker: str | None,
    as_json: bool,
) -> None:
    """Show dead letters: where the record was, the reason, key and value.

    Bytes that are not text are escaped, and long values are cut; with --json they are whole, in
    base64.
    """
    from itertools import islice

    from driftline.agents.kafka.tools.dead_letters import letters

    if out is not None:
        _no_times(since_ms, until_ms)
        shown = [_line_fields(line) for line in islice(_lines(out, place, reason), limit)]
    else:
        with _broker(config, broker) as connection:
            found = letters(connection, _selection(place, reason, since_ms, until_ms))
            shown = [_letter_fields(letter) for letter in islice(found, limit)]
    if not shown:
        raise WrongInput(
            f"no dead letter of {place.topic} matches; `driftline dlq list` shows which there are"
        )
    if as_json:
        print_json([{name: _as_json(value) for name, value in each.items()} for each in shown])
        return
    from driftline.agents.uncounted_rows import section_of

    for at, each in enumerate(shown):
        if at:
            click.echo()
        for name, value in each.items():
            click.echo(f"{name + ':':<11}{_as_text(value)}")
        if section := section_of(each["reason"]):
            click.echo(f"{'rules:':<11}{see(section)}")


@dlq.command(
    "retry",
    epilog=example(
        "driftline dlq retry predictions --reason too_far_ahead --dry-run",
        "driftline dlq retry predictions:0:17-40 --config driftline.toml",
    ),
)
@click.argument("place", type=PlaceType(), metavar="TOPIC[:PARTITION[:OFFSET[-OFFSET]]]")
@_reason_option
@range_options
@click.option("--dry-run", is_flag=True, help="Send nothing, only say what would be sent.")
@config_option
@broker_option
@json_option
def retry_letters(
    place: Place,
    reason: str | None,
    since_ms: int | None,
    until_ms: int | None,
    dry_run: bool,
    config: Path | None,
    broker: str | None,
    as_json: bool,
) -> None:
    """Send dead letters again, each once: with its key, to the partition it came from.

    A letter that was sent again is left out by later calls. If its record is rejected once more,
    that is a new letter. Exit code 1 if there are letters that cannot be sent, because they have no
    bytes.
    """
    from driftline.agents.kafka.tools.dead_letters import INPUTS, send_again

    if place.topic not in INPUTS:
        raise WrongInput(
            f"dead letters of {place.topic} are not sent again: workers write that topic; the "
            f"topics are {', '.join(INPUTS)}"
        )
    with _broker(config, broker) as connection:
        done = send_again(
            connection, _selection(place, reason, since_ms, until_ms), dry_run=dry_run
        )
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                "sent": done.sent,
                "sent_before": done.already,
                "without_bytes": done.incomplete,
            }
        )
    else:
        sent = sum(done.sent.values())
        click.echo(
            f"{'would send' if dry_run else 'sent'} {number(sent)} "
            f"record{'' if sent == 1 else 's'} of {place.topic}"
            + (f"; {number(done.already)} were sent again before" if done.already else "")
        )
        if done.incomplete:
            click.echo(
                f"{number(len(done.incomplete))} cannot be sent, the first {done.incomplete[0]}: "
                "the letter has no bytes, only their size and SHA-256; the record is at the place "
                "that `driftline dlq show` names, as long as its topic keeps it"
            )
    if done.incomplete:
        click.get_current_context().exit(_NOT_ALL_SENT)


@contextmanager
def _broker(config: Path | None, broker: str | None) -> Iterator[Any]:
    with open_connection(read_config(config), broker) as connection:
        yield connection


def _selection(
    place: Place | None, reason: str | None, since_ms: int | None, until_ms: int | None
) -> Selection:
    from driftline.agents.kafka.tools.dead_letters import LETTER_TOPICS, Selection

    return Selection(
        topics=LETTER_TOPICS if place is None else (place.topic,),
        partition=place and place.partition,
        first=place and place.first,
        last=place and place.last,
        reason=reason,
        since_ms=since_ms,
        until_ms=until_ms,
    )


def _no_times(since_ms: int | None, until_ms: int | None) -> None:
    if since_ms is not None or until_ms is not None:
        raise WrongInput("--since and --until go with a broker: an output folder has no times")


def _lines(out: Path, place: Place | None, reason: str | None) -> Iterator[DeadLetter]:
    """The dead letters of an output folder that are meant."""
    from driftline.agents.output_folder import check_folder, read_records
    from driftline.agents.recorded.dead_letters import DeadLetter
    from driftline.schemas.topics import dlq_name

    with report_read_errors():
        check_folder(out)
        for path in sorted(out.glob("*.dlq.jsonl")):
            topic = path.name.removesuffix(".dlq.jsonl")
            if place is not None and topic != place.topic:
                continue
            for line in read_records(out, dlq_name(topic), DeadLetter):
                if (
                    (reason is None or reason == line.dlq_reason)
                    and (
                        place is None
                        or place.partition is None
                        or place.partition == line.dlq_partition
                    )
                    and (place is None or place.first is None or place.first <= line.dlq_offset)
                    and (place is None or place.last is None or line.dlq_offset <= place.last)
                ):
                    yield line


def _line_place(line: DeadLetter) -> str:
    return f"{line.dlq_topic}:{line.dlq_partition}:{line.dlq_offset}"


def _line_fields(line: DeadLetter) -> dict[str, Any]:
    value = (
        base64.b64decode(line.value_base64)
        if line.value_base64 is not None
        else (line.value or "").encode()
    )
    fields = {
        "record": f"{line.dlq_topic}[{line.dlq_partition}]@{line.dlq_offset}",
        "reason": line.dlq_reason,
        "error": line.dlq_error,
        "size": line.size,
        "sha256": line.sha256,
        "value": value,
    }
    return {name: part for name, part in fields.items() if part is not None}


def _letter_fields(letter: BrokerLetter) -> dict[str, Any]:
    fields = {
        "letter": letter.place,
        "record": f"{letter.topic}[{letter.partition}]@{letter.reject.offset}",
        "time": letter.time,
        "reason": letter.reject.reason,
        "error": letter.reject.error,
        "size": letter.size,
        "sha256": letter.sha256,
        "key": letter.key,
        "value": letter.reject.raw if letter.has_value else None,
    }
    return {
        name: part for name, part in fields.items() if part is not None or name in ("key", "value")
    }


def _as_json(value: Any) -> Any:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _as_text(value: Any) -> str:
    """Bytes as escaped text, cut to `SHOWN_CHARACTERS`.

    Examples
    --------
    >>> _as_text(b"\\xff{\\n"), _as_text(None)
    ('\\\\xff{\\\\n', 'null')
    """
    if value is None:
        return "null"
    if not isinstance(value, bytes):
        return str(value)
    text = value[: 4 * SHOWN_CHARACTERS].decode("utf-8", errors="backslashreplace")
    text = "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )
    if len(value) > 4 * SHOWN_CHARACTERS or len(text) > SHOWN_CHARACTERS:
        return f"{text[:SHOWN_CHARACTERS]}... ({number(len(value))} bytes)"
    return text
