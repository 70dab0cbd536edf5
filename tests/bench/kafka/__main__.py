"""`python -m tests.bench.kafka`: the cost of the pipeline on a real broker.

    throughput    a backlog of the plain and the full job: processor time per joined pair of the
                  worker and of the broker, compared with a hand-written consumer that keeps
                  everything in memory; in turn, so that a slow minute of the machine affects both
    growth        the plain job at ten times the size, once
    latency       at 500 pairs a second: truth to first figure, complete window to alert, share of
                  a core; then without input
    transactions  committed transactions a second by number of partitions
    restore       millions of entries: memory, time until ready with a kept and with an empty local
                  copy, kill -9 to first output
    expiry        millions of entries that expire: processor time an entry
    many_models   thousands of models of five predictions: cost, memory, longest call of the loop

A broker is started and ended afterwards; --data uses the one of that folder if it runs. Results are
printed and written as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from driftline.agents.devbroker import DevBroker
from driftline.agents.devbroker.broker import free_port
from tests.bench.__main__ import machine
from tests.bench.kafka.expiry import expiry
from tests.bench.kafka.latency import latency
from tests.bench.kafka.many_models import many_models
from tests.bench.kafka.restore import restore
from tests.bench.kafka.throughput import Job
from tests.bench.kafka.transactions import transactions
from tests.bench.kafka.worker import ROOT
from tests.ending import end_in_order

PARTS = ("throughput", "growth", "latency", "transactions", "restore", "expiry", "many_models")
Result = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.kafka",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}; default all"
    )
    parser.add_argument(
        "--pairs",
        type=int,
        default=200_000,
        help="joined pairs of the plain and the full job (default %(default)s)",
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="measurements of each (default %(default)s)"
    )
    parser.add_argument(
        "--growth-pairs",
        type=int,
        default=2_000_000,
        help="joined pairs of the large plain job (default %(default)s)",
    )
    parser.add_argument(
        "--rate",
        type=int,
        default=500,
        help="pairs a second, for latency and transactions (default %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=240.0,
        help="length of each latency measurement (default %(default)s)",
    )
    parser.add_argument(
        "--idle",
        type=float,
        default=75.0,
        help="seconds without input after it (default %(default)s)",
    )
    parser.add_argument(
        "--partitions",
        type=int,
        nargs="*",
        default=[4, 8, 16, 32],
        help="numbers of partitions, for transactions (default %(default)s)",
    )
    parser.add_argument(
        "--entries",
        type=int,
        nargs="*",
        default=[5_000_000],
        help="numbers of entries, for restore and expiry (default %(default)s)",
    )
    parser.add_argument(
        "--models", type=int, default=2_000, help="models, for many_models (default %(default)s)"
    )
    parser.add_argument(
        "--kills", type=int, default=5, help="kills, for restore (default %(default)s)"
    )
    parser.add_argument("--port", type=int, help="port of the broker (default: a free one)")
    parser.add_argument(
        "--data", type=Path, help="data directory of the broker (default: a temporary one)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("bench-kafka.json"),
        help="file for the results (default %(default)s)",
    )
    parser.add_argument(
        "--profile",
        type=Path,
        help="also profile the worker in one slow round of each job, into files of this name",
    )
    options = parser.parse_args(arguments)
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"unknown part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    end_in_order()
    with tempfile.TemporaryDirectory(prefix="driftline-bench-kafka-") as folder:
        broker = DevBroker(options.data or Path(folder) / "broker")
        before = broker.running()
        try:
            running = before or broker.up(options.port or free_port())
            measure(options, Path(folder), running.servers, running.pid)
        finally:
            if before is None:
                broker.down()


def measure(options: argparse.Namespace, folder: Path, servers: str, broker: int) -> None:
    """Run the chosen parts; results are written after each, in case a later one fails."""
    results: Result = {
        "machine": describe_run(),
        "arguments": {name: str(value) for name, value in vars(options).items()},
    }
    print(results["machine"]["text"])
    parts: dict[str, Callable[[], Result]] = {
        "throughput": lambda: throughput(options, folder, servers, broker),
        "growth": lambda: growth(options, folder, servers, broker),
        "latency": lambda: latencies(options, folder, servers, broker),
        "transactions": lambda: by_partitions(options, folder, servers, broker),
        "restore": lambda: restores(options, folder, servers, broker),
        "expiry": lambda: expiries(options, folder, servers, broker),
        "many_models": lambda: small_models(options, folder, servers, broker),
    }
    for name, part in parts.items():
        if not options.parts or name in options.parts:
            load = os.getloadavg()
            print(f"\n{name} (load before: {load[0]:.1f})", flush=True)
            results[name] = part() | {"load_before": load, "load_after": os.getloadavg()}
            options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def describe_run() -> Result:
    """Versions, machine, commit and time of the measurement."""
    libraries = {
        name: version(name)
        for name in (
            "faust-streaming",
            "aiokafka",
            "confluent-kafka",
            "rocksdict",
            "numpy",
            "msgspec",
        )
    }
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    java = subprocess.run(
        [shutil.which("java") or "java", "-version"], capture_output=True, text=True, check=False
    ).stderr.partition("\n")[0]
    clients = ", ".join(f"{name} {libraries[name]}" for name in ("aiokafka", "confluent-kafka"))
    text = f"{machine()}, {clients}, Apache Kafka 4.1.0, {java}"
    at = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return {
        "text": text,
        "libraries": libraries,
        "platform": platform.platform(),
        "commit": commit,
        "at": at,
    }


def throughput(options: argparse.Namespace, folder: Path, servers: str, broker: int) -> Result:
    """Ideal, plain and full in turn."""
    plain, full = (
        Job(folder, servers, "plain", options.pairs),
        Job(folder, servers, "full", options.pairs),
    )
    results: dict[str, list[Result]] = {
        "ideal, plain": [],
        "driftline, plain": [],
        "driftline, full": [],
    }
    # The broker compiles its code while it runs, at the expense of the first contestants: warm up.
    plain.ideal(broker)
    plain.pipeline(broker)
    for _ in range(options.rounds):
        results["ideal, plain"].append(plain.ideal(broker))
        results["driftline, plain"].append(plain.pipeline(broker))
        results["driftline, full"].append(full.pipeline(broker))
    print_table(results, options.pairs)
    print_ratio(results, "driftline, plain", "ideal, plain", 3.5)
    print_ratio(results, "driftline, full", "driftline, plain", 3.0)
    figures = {
        tuple(result[key] for key in ("predictions", "joined", "right"))
        for of_name in results.values()
        for result in of_name
    }
    print(
        "figures of ideal and driftline agree:",
        "yes" if len(figures) == 1 else f"NO: {sorted(figures)}",
        flush=True,
    )
    if options.profile is not None:
        plain.pipeline(broker, profile=options.profile.with_suffix(".plain"))
        full.pipeline(broker, profile=options.profile.with_suffix(".full"))
    return {"rounds": results, "agree": len(figures) == 1}


def growth(options: argparse.Namespace, folder: Path, servers: str, broker: int) -> Result:
    """The plain job at a larger size."""
    job = Job(folder, servers, "plain", options.growth_pairs)
    results = {
        f"ideal, {options.growth_pairs:,}": [job.ideal(broker)],
        f"driftline, {options.growth_pairs:,}": [job.pipeline(broker)],
    }
    print_table(results, options.growth_pairs)
    job.bench.delete(job.bench.names())
    return {"rounds": results}


def print_table(results: dict[str, list[Result]], pairs: int) -> None:
    """Processor time per pair, by process."""
    print(
        f"{pairs:,} joined pairs; CPU (user + system) in microseconds per joined pair, "
        "median (least to most)"
    )
    print(f"{'':24}{'worker':>22}{'broker':>22}{'n':>4}{'wall s':>8}{'peak MiB':>10}")
    for name, of_name in results.items():
        cells = []
        for key in ("cpu_s", "broker_cpu_s"):
            costs = [1e6 * result[key] / pairs for result in of_name]
            cells.append(f"{median(costs):.2f} ({min(costs):.2f} to {max(costs):.2f})")
        wall, peak = (
            median(result["elapsed_s"] for result in of_name),
            max(result["peak_mib"] for result in of_name),
        )
        print(
            f"{name:24}{cells[0]:>22}{cells[1]:>22}{len(of_name):4}{wall:8.1f}{peak:10.0f}",
            flush=True,
        )


def print_ratio(results: dict[str, list[Result]], upper: str, lower: str, limit: float) -> None:
    """Processor time of one contestant over another, without and with the broker."""
    for what, keys in (("worker", ("cpu_s",)), ("worker and broker", ("cpu_s", "broker_cpu_s"))):
        above, below = (
            [sum(result[key] for key in keys) for result in results[name]]
            for name in (upper, lower)
        )
        rounds = [a / b for a, b in zip(above, below, strict=True)]
        goal = f"; goal at most {limit}" if what == "worker" else ""
        print(
            f"{upper} / {lower}, {what}: {median(above) / median(below):.2f} "
            f"(rounds {min(rounds):.2f} to {max(rounds):.2f}{goal})"
        )


def latencies(options: argparse.Namespace, folder: Path, servers: str, broker: int) -> Result:
    """One worker with all stages on the plain and the full job; two workers on the plain job."""
    results = {}
    for kind, split in (("plain", False), ("plain", True), ("full", False)):
        name = f"{kind}, {'two workers' if split else 'one worker'}"
        result = latency(
            folder,
            servers,
            broker,
            kind,
            rate=options.rate,
            seconds=options.seconds,
            idle_s=options.idle,
            split=split,
        )
        results[name] = result
        print(f"{name}, {options.rate} pairs/s for {options.seconds:.0f} s")
        print(
            f"  truth to first figure  {percentiles_text(result['truth_ms'])}; "
            f"never shown {result['never_shown']}"
        )
        print(f"  due to alert           {percentiles_text(result['alert_ms'])}")
        print(
            f"  share of a core        {shares_text(result['core_share'])}; "
            f"idle {shares_text(result['idle_core_share'])}"
        )
        print(
            f"  provisional records/s  {result['provisional_per_s']:.0f}; "
            f"generator late by at most {result['generator_late_ms']:.0f} ms",
            flush=True,
        )
    return {"runs": results}


def by_partitions(options: argparse.Namespace, folder: Path, servers: str, broker: int) -> Result:
    """Transactions a second for each number of partitions."""
    runs = [
        transactions(
            folder,
            servers,
            broker,
            partitions=partitions,
            rate=options.rate,
            seconds=min(options.seconds, 30.0),
        )
        for partitions in options.partitions
    ]
    print(
        f"{'partitions':>10}{'transactions/s':>16}{'worker core':>13}{'broker core':>13}"
        f"   at {options.rate} pairs/s"
    )
    for run in runs:
        share = run["core_share"]
        print(
            f"{run['partitions']:10}{run['transactions_per_s']:16.1f}"
            f"{share['worker']:13.2f}{share['broker']:13.2f}",
            flush=True,
        )
    return {"runs": runs}


def restores(options: argparse.Namespace, folder: Path, servers: str, broker: int) -> Result:
    """Restores for each number of entries."""
    runs = []
    for entries in options.entries:
        run = restore(
            folder / f"restore-{entries}", servers, broker, entries=entries, kills=options.kills
        )
        runs.append(run)
        back = run["kill_to_output_s"]
        print(
            f"{entries:,} entries: filled in {run['fill_s']:.0f} s, "
            f"peak {run['fill_peak_mib']:.0f} MiB, local copy {run['cache_mib']:.0f} MiB"
        )
        print(
            f"  ready with a kept local copy in {run['kept_cache_ready_s']:.1f} s "
            f"({run['kept_cache_peak_mib']:.0f} MiB), "
            f"with an empty one in {run['empty_cache_ready_s']:.1f} s "
            f"({run['empty_cache_peak_mib']:.0f} MiB)"
        )
        if back:
            print(
                f"  kill -9 to first output: median {median(back):.1f} s, "
                f"most {max(back):.1f} s, n {len(back)}",
                flush=True,
            )
    return {"runs": runs}


def small_models(options: argparse.Namespace, folder: Path, servers: str, broker: int) -> Result:
    """Many models of few predictions."""
    run = many_models(folder / "many", servers, broker, models=options.models)
    print(
        f"{run['models']:,} models, {run['sent']:,} predictions ({run['counted']:,} counted): "
        f"worker {run['ms_per_prediction']:.2f} ms a prediction, broker "
        f"{run['broker_ms_per_prediction']:.2f}; peak {run['peak_mib']:.0f} MiB; metrics "
        f"{run['metrics']:,} records, {run['metrics_mb']:.0f} MB"
    )
    print(
        f"  sent in {run['sent_s']:.1f} s, settled {run['finish_s']:.1f} s later, stopped in "
        f"{run['stop_s']:.1f} s; /health/live worst {1e3 * run['worst_probe_s']:.0f} ms of "
        f"{run['probes']}, failed {run['failed_probes']}"
    )
    for cpu_s, seconds, name in run["longest_calls"][:5]:
        print(f"  call of {1e3 * seconds:.0f} ms, {1e3 * cpu_s:.0f} of a core: {name}", flush=True)
    return {"run": run}


def expiries(options: argparse.Namespace, folder: Path, servers: str, broker: int) -> Result:
    """Expiry for each number of entries."""
    runs = []
    for entries in options.entries:
        run = expiry(folder / f"expiry-{entries}", servers, broker, entries=entries)
        runs.append(run)
        print(f"{entries:,} entries a label horizon; CPU in microseconds an entry")
        for name, phase in run["phases"].items():
            cost = ", ".join(
                f"{process} {use:.2f}" for process, use in phase["us_per_entry"].items()
            )
            print(
                f"  {name:26}{phase['elapsed_s']:7.1f} s; {cost}; peak {phase['peak_mib']:.0f} MiB"
            )
        wanted = {
            "predictions": run["sent"],
            "joined": run["labelled"],
            "expired": run["sent"] - run["labelled"],
        }
        is_complete = all(run[name] == number for name, number in wanted.items())
        print(
            "  figures add up to the rows sent:",
            "yes" if is_complete else f"NO: {run} instead of {wanted}",
            flush=True,
        )
    return {"runs": runs}


def percentiles_text(latency_ms: dict[str, float]) -> str:
    """Percentiles as text."""
    if not latency_ms["n"]:
        return "none"
    percentiles = ", ".join(f"{name} {latency_ms[name]:.0f}" for name in ("p50", "p90", "p99"))
    return f"{percentiles}, most {latency_ms['max']:.0f} ms (n {latency_ms['n']:.0f})"


def shares_text(share_by_name: dict[str, float]) -> str:
    """Shares of a core as text."""
    return ", ".join(f"{name} {100 * share:.1f} %" for name, share in share_by_name.items())


if __name__ == "__main__":
    main()
