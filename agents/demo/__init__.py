"""The demo: a model that predicts late flights in 2013, with truths that arrive hours later.

`flights.py` reads the flights, `model.py` predicts, and `log.py` writes the recorded log. The
pipeline replays it like any log (`live.py`: on Kafka). `view.py` shows the progress, `summary.py`
adds up the results and `words.py` prints them. The pipeline does not depend on any of it.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["run_demo"]


def run_demo(out: Path, *, json_output: bool, offline_sample: bool, on_kafka: bool = False) -> int:
    """Run the demo and print its summary.

    Parameters
    ----------
    out
        Folder for the recorded log and the output; an earlier demo in it is replaced.
    json_output
        Print the summary as one JSON document; progress goes to standard error.
    offline_sample
        Use the two-day sample even if the flights are installed.
    on_kafka
        Send the log through a broker and two workers instead of replaying it in process.

    Returns
    -------
    int
        Exit code: 0 for success, 2 if the folder or the broker cannot be used.
    """
    from driftline.agents.demo.run import run

    return run(out, json_output=json_output, offline_sample=offline_sample, on_kafka=on_kafka)
