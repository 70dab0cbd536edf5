"""What the HTTP API costs: `python -m tests.bench.serve --models 200 --days 365`.

Writes a folder with hourly windows of many models and daily drift tests of many features, serves
it, and prints the time of each route, the memory of the server, and its processor time with 50
readers of events while the folder grows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import urllib3

from driftline.agents.output_folder import LOG_FILE
from driftline.schemas.times import DAY_MS, HOUR_MS, format_time
from tests.agents.sample_output import sample_lines
from tests.agents.serve.cases import QUESTIONS
from tests.agents.serve.serving import Api, served

START_MS = 1_735_689_600_000  # 2025-01-01T00:00:00Z
READERS = 50
REPEATS = 7


def template(topic: str, **fields: Any) -> dict[str, Any]:
    """The last record of the sample with these fields."""
    found = [json.loads(line) for line in sample_lines()[topic]]
    return [each for each in found if all(each.get(k) == v for k, v in fields.items())][-1]


def windows(model: str, hours: range) -> Iterator[dict[str, Any]]:
    for lane, maturity in (("traffic", None), ("decisions", "1d"), ("decisions", "2d")):
        for size_ms, name in ((HOUR_MS, "1h"), (DAY_MS, "1d")):
            record = template("metrics", lane=lane, maturity=maturity, window="1d", segment="all")
            delay_ms = {None: 0, "1d": DAY_MS, "2d": 2 * DAY_MS}[maturity]
            for hour in hours:
                start_ms = START_MS + hour * HOUR_MS
                if start_ms % size_ms:
                    continue
                yield record | {
                    "model_name": model,
                    "window": name,
                    "kind": "tumbling",
                    "window_start": format_time(start_ms),
                    "window_end": format_time(start_ms + size_ms),
                    "complete_at": format_time(start_ms + size_ms + delay_ms),
                }


def drifts(model: str, days: range, features: int) -> Iterator[dict[str, Any]]:
    record = template("drift", method="psi")
    for day in days:
        for feature in range(features):
            yield record | {
                "model_name": model,
                "target": f"feature:f{feature}",
                "window_start": format_time(START_MS + day * DAY_MS),
                "window_end": format_time(START_MS + (day + 1) * DAY_MS),
            }


def write(folder: Path, models: int, days: int, features: int) -> None:
    (folder / LOG_FILE).write_text("{}", encoding="utf-8")
    entry = template("registry")
    # As many drift results as an index keeps.
    tested = range(max(0, days - 10_000 // features), days)
    with (
        (folder / "metrics.jsonl").open("a", encoding="utf-8") as metrics,
        (folder / "drift.jsonl").open("a", encoding="utf-8") as drift,
        (folder / "registry.jsonl").open("a", encoding="utf-8") as registry,
    ):
        for number in range(models):
            name = f"model-{number}"
            registry.write(json.dumps(entry | {"model_name": name}) + "\n")
            for record in windows(name, range(24 * days)):
                metrics.write(json.dumps(record, separators=(",", ":")) + "\n")
            for record in drifts(name, tested, features):
                drift.write(json.dumps(record, separators=(",", ":")) + "\n")


def timed(api: Api, path: str, question: dict[str, Any]) -> tuple[float, float, int]:
    """Milliseconds of the first answer and of the later ones in the middle, and bytes."""
    times, size = [], 0
    for _ in range(REPEATS):
        since = time.perf_counter()
        found = api.ask(f"/api{path}", question)
        times.append(1e3 * (time.perf_counter() - since))
        size = len(found.body)
        assert found.status in (200, 404), found.body
    return times[0], statistics.median(times[1:]), size


def listen(url: str, stop: threading.Event, counts: list[int], place: int) -> None:
    with urllib3.PoolManager() as pool:
        response = pool.request("GET", f"{url}/api/events", preload_content=False, timeout=30)
        for part in response.stream(64):
            counts[place] += part.count(b"event: changed")
            if stop.is_set():
                break
        response.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--features", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=20, help="how long the readers listen")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="driftline-bench-") as name:
        folder = Path(name)
        write(folder, arguments.models, arguments.days, arguments.features)
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        print(f"{arguments.models} models, {arguments.days} days of hours: {size:,.0f} MB of lines")
        since = time.perf_counter()
        with served("--out", name) as api:
            while api.get("/health")["status"] != "ok":
                time.sleep(0.2)
            print(f"indexed after {time.perf_counter() - since:,.1f} s")
            process = psutil.Process(api.process.pid)
            print(f"{'route':<20}{'first ms':>10}{'later ms':>10}{'kB':>8}")
            for path, questions in QUESTIONS.items():
                question = {**questions[0]}
                if "model" in question:
                    question["model"] = "model-7"
                first, later, bytes_ = timed(api, path, question)
                print(f"{path:<20}{first:>10,.1f}{later:>10,.1f}{bytes_ / 1e3:>8,.0f}")
            print(f"memory of the server: {process.memory_info().rss / 2**20:,.0f} MiB")
            listeners(api, process, folder, arguments.days, arguments.seconds)
            print(f"memory of the server: {process.memory_info().rss / 2**20:,.0f} MiB")


def listeners(api: Api, process: psutil.Process, folder: Path, days: int, seconds: int) -> None:
    """50 readers, each of whom hears of an hour of ten models every second."""
    stop, counts = threading.Event(), [0] * READERS
    threads = [
        threading.Thread(target=listen, args=(api.url, stop, counts, place), daemon=True)
        for place in range(READERS)
    ]
    for thread in threads:
        thread.start()
    before, since = process.cpu_times(), time.perf_counter()
    for second in range(seconds):
        with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            for number in range(10):
                for record in windows(
                    f"model-{number}", range(24 * days + second, 24 * days + second + 1)
                ):
                    file.write(json.dumps(record) + "\n")
        api.get("/overview")
        time.sleep(1)
    took, after = time.perf_counter() - since, process.cpu_times()
    used = (after.user + after.system - before.user - before.system) / took
    stop.set()
    print(
        f"{READERS} readers of events, ten models an hour on each second, one overview a second: "
        f"{used:.2f} of a processor, {sum(counts):,} events in {took:.0f} s"
    )


if __name__ == "__main__":
    main()
