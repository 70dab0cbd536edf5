"""The demo: a model that predicts late flights through the year 2013, with the truth arriving hours
later.

`flights.py` reads the year, `model.py` predicts, `log.py` records, the pipeline runs over it as
over any log (`live.py`: over a real Kafka), `view.py` shows it going on and `summary.py` and
`words.py` say what came out. Nothing here is known to the pipeline.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["run_demo"]


def run_demo(out: Path, *, json_output: bool, offline_sample: bool, on_kafka: bool = False) -> int:
    """Run the demo and print its summary.

    Parameters
    ----------
    out
        Folder for the recorded log and the output; what an earlier demo left there is replaced.
    json_output
        Print the summary as one JSON document; progress goes to standard error.
    offline_sample
        Run the two-day sample even where the flights are installed.
    on_kafka
        Send everything through a broker and two workers instead of replaying it in process.

    Returns
    -------
    int
        Exit code: 0 done, 2 the folder or the broker cannot be used.
    """
    from driftline.agents.demo.run import run

    return run(out, json_output=json_output, offline_sample=offline_sample, on_kafka=on_kafka)
