"""From the flights, or the sample, to the summary: the steps of the demo in their order."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from driftline.agents.cli.output import console, print_json
from driftline.agents.demo.flights import DemoDataError, data_folder
from driftline.agents.demo.summary import summarise
from driftline.agents.demo.view import View
from driftline.agents.demo.words import broken_at_words, tell
from driftline.agents.inprocess.replay import replay
from driftline.agents.inprocess.run_summary import Progress
from driftline.agents.sample_log import write_sample
from driftline.schemas.config import load_config

LOG_FOLDER = "log"
OUTPUT_FOLDER = "output"
MARKER = (
    ".driftline-demo"  # tells a folder of ours, which may be written anew, from somebody's work
)


class NotOnKafka(Exception):
    """The demo cannot run on Kafka; the message says what to do."""


class FolderTaken(Exception):
    """The folder holds something that is not the demo's; the message says what to do."""


def run(out: Path, *, json_output: bool, offline_sample: bool, on_kafka: bool) -> int:
    """See `driftline.agents.demo.run_demo`."""
    terminal = console(stderr=json_output)
    try:
        if on_kafka:
            _release(out)
        _make_room(out)
    except (FolderTaken, NotOnKafka) as refused:
        return _refused(refused)
    started = time.monotonic()
    output = out / OUTPUT_FOLDER
    view = View(terminal, output)
    with view.open():
        config, log = _prepare(out, view, offline_sample=offline_sample)
        if on_kafka:
            try:
                lines = _on_kafka(config, log, out, view)
            except NotOnKafka as refused:
                return _refused(refused)
        else:
            lines = _in_process(config, log, output, view)
    summary = summarise(output)
    if json_output:
        print_json(summary)
        return 0
    for line in tell(summary):
        terminal.print(
            broken_at_words(line, terminal.width) if terminal.is_terminal else line,
            markup=False,
            soft_wrap=True,
        )
    lines[0] += f"; the whole demo {time.monotonic() - started:.0f} s."
    for line in ("", *lines):
        terminal.print(line, markup=False, soft_wrap=True)
    return 0


def _refused(reason: Exception) -> int:
    console(stderr=True).print(f"driftline: {reason}", markup=False, soft_wrap=True)
    return 2


def _in_process(config: Path, log: Path, output: Path, view: View) -> list[str]:
    """Replay the log; gives what it took, in words."""
    view.step("streaming it through the pipeline")
    done = replay(log, output, load_config(config), progress=_reporter(view))
    predictions = done.lines.get("predictions", 0)
    return [
        f"{predictions:,} predictions and {done.lines.get('ground-truth', 0):,} truths took {done.elapsed_s:.0f} s "
        f"({predictions / max(done.cpu_s, 1e-9):,.0f} predictions per second of CPU)"
    ]


def _on_kafka(config: Path, log: Path, out: Path, view: View) -> list[str]:
    """Send the log through Kafka and two workers; gives what it took, in words, and commands that
    show the topics.
    """
    from driftline.agents.demo.live import LiveFailed, run_live

    try:
        done = run_live(config, log, out, out / OUTPUT_FOLDER, view)
    except LiveFailed as error:
        raise NotOnKafka(str(error)) from error
    predictions = done.records.get("predictions", 0)
    took = (
        f"{predictions:,} predictions and {done.records.get('ground-truth', 0):,} truths went through Kafka and two workers in "
        f"{done.elapsed_s:.0f} s ({done.cpu_s:.0f} s of the workers' CPU)"
    )
    return [
        took,
        "",
        "What lies on the topics, the alerts first:",
        *(f"  {line}" for line in done.lines),
    ]


def _release(out: Path) -> None:
    try:
        from driftline.agents.demo.live import release
    except ImportError as error:
        raise NotOnKafka(
            f'this needs the extra "kafka" ({error}); install driftline[kafka]'
        ) from error
    if (out / MARKER).is_file():
        release(out)


def _make_room(out: Path) -> None:
    """Empty the folder of an earlier demo; any other folder has to be new or empty."""
    if out.exists() and any(out.iterdir()):
        if not (out / MARKER).is_file():
            raise FolderTaken(
                f"{out} holds something that is not the demo's; name another folder with --out"
            )
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARKER).write_text(
        "Made by `driftline demo`, which writes this folder anew each time.\n", encoding="utf-8"
    )


def _prepare(out: Path, view: View, *, offline_sample: bool) -> tuple[Path, Path]:
    """Write the recorded log; returns the configuration file and the log's folder."""
    folder = None if offline_sample else data_folder()
    if folder is not None:
        try:
            return _prepare_flights(folder, out, view)
        except DemoDataError as error:
            view.step(f"the flights cannot be used: {error}. Running the sample instead")
    elif not offline_sample:
        view.step(
            'the flights are not installed (they come with: pip install "driftline[demo]"); running the sample instead'
        )
    else:
        view.step("writing the sample: a churn model over two days that gets worse on the second")
    return write_sample(out)


def _prepare_flights(folder: Path, out: Path, view: View) -> tuple[Path, Path]:
    from driftline.agents.demo.flights import read_flights
    from driftline.agents.demo.log import write_log
    from driftline.agents.demo.model import score_flights

    view.step("reading the flights of 2013")
    flights = read_flights(folder)
    view.step("training on January to March, predicting the year")
    scored = score_flights(flights)
    view.step(
        "writing predictions and truths as a recorded log",
        total=len(flights) + int(flights.known.sum()),
    )
    write_log(out / LOG_FOLDER, flights, scored, progress=view.advance)
    return out / "driftline.toml", out / LOG_FOLDER


def _reporter(view: View) -> Callable[[Progress], None]:
    """Tells the view how far the run has come: by bytes while it reads, by event time while it
    closes the last windows.
    """
    end_of_log_ms: int | None = None

    def report(now: Progress) -> None:
        nonlocal end_of_log_ms
        if now.end_ms is None:
            view.advance(now.bytes, total=now.total_bytes)
            return
        if end_of_log_ms is None:
            end_of_log_ms = now.event_ms
            view.end_of_log(end_of_log_ms)
            view.step(
                "letting time run on until every window is final", total=now.end_ms - end_of_log_ms
            )
        view.advance(now.event_ms - end_of_log_ms)

    return report
