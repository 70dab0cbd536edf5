"""The steps of the demo, from the flights or the sample to the summary."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from driftline.agents.demo.flights import DemoDataError, data_folder
from driftline.agents.demo.summary import summarise
from driftline.agents.demo.view import View
from driftline.agents.demo.words import summary_lines, wrap_line
from driftline.agents.inprocess.replay import replay
from driftline.agents.inprocess.run_summary import Progress
from driftline.agents.sample_log import write_sample
from driftline.agents.terminal import console, print_json
from driftline.schemas.config import load_config

LOG_FOLDER = "log"
OUTPUT_FOLDER = "output"
MARKER = ".driftline-demo"  # marks a folder that the demo may replace


class KafkaUnavailable(Exception):
    """The demo cannot run on Kafka; the message gives the remedy."""


class FolderInUse(Exception):
    """The folder holds other files; the message gives the remedy."""


def run(out: Path, *, json_output: bool, offline_sample: bool, on_kafka: bool) -> int:
    """See `driftline.agents.demo.run_demo`."""
    terminal = console(stderr=json_output)
    try:
        if on_kafka:
            _stop_earlier_broker(out)
        _prepare_folder(out)
    except (FolderInUse, KafkaUnavailable) as error:
        return _report_error(error)
    started = time.monotonic()
    output = out / OUTPUT_FOLDER
    view = View(terminal, output)
    with view.open():
        config, log = _write_log(out, view, offline_sample=offline_sample)
        if on_kafka:
            try:
                lines = _on_kafka(config, log, out, view)
            except KafkaUnavailable as error:
                return _report_error(error)
        else:
            lines = _in_process(config, log, output, view)
    summary = summarise(output)
    if json_output:
        print_json(summary)
        return 0
    for line in summary_lines(summary):
        terminal.print(wrap_line(line, terminal.width), markup=False, soft_wrap=True)
    lines[0] += f"; the whole demo took {time.monotonic() - started:.0f} s."
    lines[0] = wrap_line(lines[0], terminal.width)
    for line in ("", *lines):
        terminal.print(line, markup=False, soft_wrap=True)
    return 0


def _report_error(error: Exception) -> int:
    console(stderr=True).print(f"driftline: {error}", markup=False, soft_wrap=True)
    return 2


def _in_process(config: Path, log: Path, output: Path, view: View) -> list[str]:
    """Replay the log; returns lines on the time it took."""
    view.step("running it through the pipeline")
    done = replay(log, output, load_config(config), progress=_reporter(view))
    predictions = done.lines.get("predictions", 0)
    rate = predictions / max(done.cpu_s, 1e-9)
    return [
        f"The pipeline took {done.elapsed_s:.0f} s for {predictions:,} predictions and "
        f"{done.lines.get('ground-truth', 0):,} truths ({rate:,.0f} predictions per second of CPU)"
    ]


def _on_kafka(config: Path, log: Path, out: Path, view: View) -> list[str]:
    """Send the log through Kafka and two workers; returns lines on the time it took, and commands
    that show the topics.
    """
    from driftline.agents.demo.live import LiveFailed, run_live

    try:
        done = run_live(config, log, out, out / OUTPUT_FOLDER, view)
    except LiveFailed as error:
        raise KafkaUnavailable(str(error)) from error
    predictions = done.records.get("predictions", 0)
    return [
        f"Kafka and two workers took {done.elapsed_s:.0f} s for {predictions:,} predictions and "
        f"{done.records.get('ground-truth', 0):,} truths ({done.cpu_s:.0f} s of the workers' CPU)",
        "",
        "To look at the alert topic and the consumer group:",
        *(f"  {command}" for command in done.commands),
    ]


def _stop_earlier_broker(out: Path) -> None:
    try:
        from driftline.agents.demo.live import stop_broker
    except ImportError as error:
        raise KafkaUnavailable(
            f'--kafka needs the extra "kafka" ({error}): pip install "driftline[kafka]"'
        ) from error
    if (out / MARKER).is_file():
        stop_broker(out)


def _prepare_folder(out: Path) -> None:
    """Empty the folder of an earlier demo; any other folder must be new or empty."""
    if out.exists() and any(out.iterdir()):
        if not (out / MARKER).is_file():
            raise FolderInUse(
                f"{out} holds files that are not from a demo; name another folder with --out"
            )
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARKER).write_text(
        "Written by `driftline demo`, which replaces this folder each time.\n", encoding="utf-8"
    )


def _write_log(out: Path, view: View, *, offline_sample: bool) -> tuple[Path, Path]:
    """Write the recorded log; returns the configuration file and the folder of the log."""
    folder = None if offline_sample else data_folder()
    if folder is not None:
        try:
            return _write_flights(folder, out, view)
        except DemoDataError as error:
            view.step(f"the flights cannot be read: {error}. Using the sample instead")
    elif not offline_sample:
        view.step(
            "the flights are not installed "
            '(pip install "driftline[demo]" adds them); using the sample instead'
        )
    else:
        view.step("writing the sample: a churn model that degrades on the second of two days")
    return write_sample(out)


def _write_flights(folder: Path, out: Path, view: View) -> tuple[Path, Path]:
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
    """Report progress to the view: by bytes while the log is read, by event time while the last
    windows are completed.
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
                "advancing time until every window is final", total=now.end_ms - end_of_log_ms
            )
        view.advance(now.event_ms - end_of_log_ms)

    return report
