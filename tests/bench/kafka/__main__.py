"""`python -m tests.bench.kafka`: what the pipeline costs on a real broker.

    throughput    a backlog of the plain and the full job: processor time per joined pair of the worker and of the broker, beside a
                  hand-written consumer that keeps everything in memory; in turn, so that a slow
                  minute of the machine hits both
    growth        the plain job at ten times the size, once
    latency       at 500 pairs a second: truth to first figure, complete window to alert, share of a core; then while nothing comes
    transactions  committed transactions a second by number of partitions
    restore       millions of entries: memory, ready again from a kept and from an empty cache, kill -9 to first output

The broker is started for it and ended afterwards; one that runs already is taken with --data.
Results are printed and kept as JSON.
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
from tests.bench.kafka.restore import restore
from tests.bench.kafka.throughput import Job
from tests.bench.kafka.transactions import transactions
from tests.bench.kafka.worker import ROOT
from tests.ending import end_in_order

PARTS = ("throughput", "growth", "latency", "transactions", "restore", "expiry")
Result = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.kafka",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all without it"
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
        help="of the large plain job (default %(default)s)",
    )
    parser.add_argument(
        "--rate",
        type=int,
        default=500,
        help="pairs a second of latency and transactions (default %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=240.0,
        help="of each latency measurement (default %(default)s)",
    )
    parser.add_argument(
        "--idle",
        type=float,
        default=75.0,
        help="seconds without anything after it (default %(default)s)",
    )
    parser.add_argument(
        "--partitions",
        type=int,
        nargs="*",
        default=[4, 8, 16, 32],
        help="of transactions (default %(default)s)",
    )
    parser.add_argument(
        "--entries",
        type=int,
        nargs="*",
        default=[5_000_000],
        help="of restore and expiry (default %(default)s)",
    )
    parser.add_argument("--kills", type=int, default=5, help="of restore (default %(default)s)")
    parser.add_argument("--port", type=int, help="of the broker (default: a free one)")
    parser.add_argument("--data", type=Path, help="its data directory (default: a temporary one)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("bench-kafka.json"),
        help="where results are kept (default %(default)s)",
    )
    parser.add_argument(
        "--profile",
        type=Path,
        help="also profile the worker in one round of each job into files of this name; slow",
    )
    given = parser.parse_args(arguments)
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        parser.error(f"unknown part {', '.join(sorted(unknown))}; known are {', '.join(PARTS)}")
    end_in_order()
    with tempfile.TemporaryDirectory(prefix="driftline-bench-kafka-") as folder:
        broker = DevBroker(given.data or Path(folder) / "broker")
        before = broker.running()
        try:
            running = before or broker.up(given.port or free_port())
            measure(given, Path(folder), running.servers, running.pid)
        finally:
            if before is None:
                broker.down()


def measure(given: argparse.Namespace, folder: Path, servers: str, broker: int) -> None:
    """Every part that was asked for; what is done is kept even if a later part fails."""
    results: Result = {
        "machine": described(),
        "arguments": {name: str(value) for name, value in vars(given).items()},
    }
    print(results["machine"]["text"])
    parts: dict[str, Callable[[], Result]] = {
        "throughput": lambda: throughput(given, folder, servers, broker),
        "growth": lambda: growth(given, folder, servers, broker),
        "latency": lambda: latencies(given, folder, servers, broker),
        "transactions": lambda: by_partitions(given, folder, servers, broker),
        "restore": lambda: restores(given, folder, servers, broker),
        "expiry": lambda: expiries(given, folder, servers, broker),
    }
    for name, part in parts.items():
        if not given.parts or name in given.parts:
            load = os.getloadavg()
            print(f"\n{name} (load before: {load[0]:.1f})", flush=True)
            results[name] = part() | {"load_before": load, "load_after": os.getloadavg()}
            given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def described() -> Result:
    """What was measured, where and when."""
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
    text = f"{machine()}, aiokafka {libraries['aiokafka']}, confluent-kafka {libraries['confluent-kafka']}, Apache Kafka 4.1.0, {java}"
    at = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return {
        "text": text,
        "libraries": libraries,
        "platform": platform.platform(),
        "commit": commit,
        "at": at,
    }


def throughput(given: argparse.Namespace, folder: Path, servers: str, broker: int) -> Result:
    """Ideal, plain and full in turn."""
    plain, full = (
        Job(folder, servers, "plain", given.pairs),
        Job(folder, servers, "full", given.pairs),
    )
    found: dict[str, list[Result]] = {
        "ideal, plain": [],
        "driftline, plain": [],
        "driftline, full": [],
    }
    # The broker's own code is compiled while it runs, so what comes first would pay for it.
    plain.ideal(broker)
    plain.pipeline(broker)
    for _ in range(given.rounds):
        found["ideal, plain"].append(plain.ideal(broker))
        found["driftline, plain"].append(plain.pipeline(broker))
        found["driftline, full"].append(full.pipeline(broker))
    table(found, given.pairs)
    ratio(found, "driftline, plain", "ideal, plain", 3.5)
    ratio(found, "driftline, full", "driftline, plain", 3.0)
    figures = {
        tuple(result[key] for key in ("predictions", "joined", "right"))
        for name in found
        for result in found[name]
    }
    print(
        "figures of ideal and driftline agree:",
        "yes" if len(figures) == 1 else f"NO: {sorted(figures)}",
        flush=True,
    )
    if given.profile is not None:
        plain.pipeline(broker, profile=given.profile.with_suffix(".plain"))
        full.pipeline(broker, profile=given.profile.with_suffix(".full"))
    return {"rounds": found, "agree": len(figures) == 1}


def growth(given: argparse.Namespace, folder: Path, servers: str, broker: int) -> Result:
    """The plain job at another size."""
    job = Job(folder, servers, "plain", given.growth_pairs)
    found = {
        f"ideal, {given.growth_pairs:,}": [job.ideal(broker)],
        f"driftline, {given.growth_pairs:,}": [job.pipeline(broker)],
    }
    table(found, given.growth_pairs)
    job.bench.delete(job.bench.names())
    return {"rounds": found}


def table(found: dict[str, list[Result]], pairs: int) -> None:
    """Processor time per pair, by process."""
    print(
        f"{pairs:,} joined pairs; CPU (user + system) in microseconds per joined pair, median (least to most)"
    )
    print(f"{'':24}{'worker':>22}{'broker':>22}{'n':>4}{'wall s':>8}{'peak MiB':>10}")
    for name, results in found.items():
        cells = []
        for key in ("cpu_s", "broker_cpu_s"):
            costs = [1e6 * result[key] / pairs for result in results]
            cells.append(f"{median(costs):.2f} ({min(costs):.2f} to {max(costs):.2f})")
        wall, peak = (
            median(result["elapsed_s"] for result in results),
            max(result["peak_mib"] for result in results),
        )
        print(
            f"{name:24}{cells[0]:>22}{cells[1]:>22}{len(results):4}{wall:8.1f}{peak:10.0f}",
            flush=True,
        )


def ratio(found: dict[str, list[Result]], upper: str, lower: str, limit: float) -> None:
    """Processor time of one over another, of the program alone and with the broker."""
    for what, keys in (("worker", ("cpu_s",)), ("worker and broker", ("cpu_s", "broker_cpu_s"))):
        above, below = (
            [sum(result[key] for key in keys) for result in found[name]] for name in (upper, lower)
        )
        rounds = [a / b for a, b in zip(above, below, strict=True)]
        goal = f"; goal at most {limit}" if what == "worker" else ""
        print(
            f"{upper} / {lower}, {what}: {median(above) / median(below):.2f} (rounds {min(rounds):.2f} to {max(rounds):.2f}{goal})"
        )


def latencies(given: argparse.Namespace, folder: Path, servers: str, broker: int) -> Result:
    """One worker with all stages on the plain and the full job, and stage 1 apart."""
    results = {}
    for kind, split in (("plain", False), ("plain", True), ("full", False)):
        name = f"{kind}, {'two workers' if split else 'one worker'}"
        result = latency(
            folder,
            servers,
            broker,
            kind,
            rate=given.rate,
            seconds=given.seconds,
            idle_s=given.idle,
            split=split,
        )
        results[name] = result
        print(f"{name}, {given.rate} pairs/s for {given.seconds:.0f} s")
        print(
            f"  truth to first figure  {shown(result['truth_ms'])}; never shown {result['never_shown']}"
        )
        print(f"  due to alert           {shown(result['alert_ms'])}")
        print(
            f"  share of a core        {shares(result['core_share'])}; idle {shares(result['idle_core_share'])}"
        )
        print(
            f"  provisional records/s  {result['provisional_per_s']:.0f}; generator late by at most {result['generator_late_ms']:.0f} ms",
            flush=True,
        )
    return {"runs": results}


def by_partitions(given: argparse.Namespace, folder: Path, servers: str, broker: int) -> Result:
    """Transactions a second."""
    runs = [
        transactions(
            folder,
            servers,
            broker,
            partitions=partitions,
            rate=given.rate,
            seconds=min(given.seconds, 30.0),
        )
        for partitions in given.partitions
    ]
    print(
        f"{'partitions':>10}{'transactions/s':>16}{'worker core':>13}{'broker core':>13}   at {given.rate} pairs/s"
    )
    for run in runs:
        share = run["core_share"]
        print(
            f"{run['partitions']:10}{run['transactions_per_s']:16.1f}{share['worker']:13.2f}{share['broker']:13.2f}",
            flush=True,
        )
    return {"runs": runs}


def restores(given: argparse.Namespace, folder: Path, servers: str, broker: int) -> Result:
    """Each number of entries."""
    runs = []
    for entries in given.entries:
        run = restore(
            folder / f"restore-{entries}", servers, broker, entries=entries, kills=given.kills
        )
        runs.append(run)
        back = run["kill_to_output_s"]
        print(
            f"{entries:,} entries: filled in {run['fill_s']:.0f} s, peak {run['fill_peak_mib']:.0f} MiB, cache {run['cache_mib']:.0f} MiB"
        )
        print(
            f"  ready with a kept cache in {run['kept_cache_ready_s']:.1f} s ({run['kept_cache_peak_mib']:.0f} MiB), ",
            end="",
        )
        print(
            f"with an empty one in {run['empty_cache_ready_s']:.1f} s ({run['empty_cache_peak_mib']:.0f} MiB)"
        )
        if back:
            print(
                f"  kill -9 to first output: median {median(back):.1f} s, most {max(back):.1f} s, n {len(back)}",
                flush=True,
            )
    return {"runs": runs}


def expiries(given: argparse.Namespace, folder: Path, servers: str, broker: int) -> Result:
    """Forgetting, at each number of entries."""
    runs = []
    for entries in given.entries:
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
        right = all(run[name] == number for name, number in wanted.items())
        print(
            "  figures add up to what was sent:",
            "yes" if right else f"NO: {run} instead of {wanted}",
            flush=True,
        )
    return {"runs": runs}


def shown(found: dict[str, float]) -> str:
    """Percentiles as text."""
    if not found["n"]:
        return "none"
    return f"p50 {found['p50']:.0f}, p90 {found['p90']:.0f}, p99 {found['p99']:.0f}, most {found['max']:.0f} ms (n {found['n']:.0f})"


def shares(found: dict[str, float]) -> str:
    """Shares of a core as text."""
    return ", ".join(f"{name} {100 * share:.1f} %" for name, share in found.items())


if __name__ == "__main__":
    main()
