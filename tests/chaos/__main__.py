"""`make chaos`: the campaign from the command line."""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from tests.chaos import campaign, planted_defects, report
from tests.ending import end_in_order


def main() -> int:
    """Run a campaign; returns 0 if every row was counted exactly once."""
    parser = argparse.ArgumentParser(
        prog="make chaos",
        description="Kill workers and broker again and again, then verify all figures.",
    )
    parser.add_argument(
        "--kills", type=int, default=100, help="kill -9 of workers, including those below"
    )
    parser.add_argument("--restoring", type=int, default=20, help="kills while a worker restores")
    parser.add_argument(
        "--points",
        nargs="+",
        choices=sorted(set(campaign.POINTS)),
        default=campaign.POINTS,
        help="named points of half of the other kills",
    )
    parser.add_argument(
        "--graceful", type=int, default=40, help="SIGTERM, workers added and removed"
    )
    parser.add_argument(
        "--zombies", type=int, default=20, help="SIGSTOP past the session timeout, then SIGCONT"
    )
    parser.add_argument("--broker", type=int, default=10, help="kill -9 of the broker")
    parser.add_argument("--caches", type=int, default=20, help="local copies deleted or truncated")
    parser.add_argument("--disks", type=int, default=4, help="full disks")
    parser.add_argument(
        "--operators",
        type=int,
        default=3,
        help="each kind of an operator's fault: poison, second programs, a wrong clock, a topic "
        "made anew, partitions added",
    )
    parser.add_argument(
        "--seed",
        type=int,
        help="repeat the faults of an earlier campaign, as far as timing allows",
    )
    parser.add_argument("--rate", type=float, default=150.0, help="predictions per second")
    parser.add_argument(
        "--speed", type=float, default=240.0, help="seconds of event time per second"
    )
    parser.add_argument(
        "--mixed",
        action="store_true",
        help="one round with all faults instead of one for each kind",
    )
    parser.add_argument(
        "--planted",
        choices=sorted(planted_defects.DEFECTS),
        help="run workers with a planted defect, which the verifier must find",
    )
    parser.add_argument("--out", type=Path, default=Path("chaos.json"), help="file for the result")
    parser.add_argument(
        "--keep", action="store_true", help="keep logs and topics even if the result is correct"
    )
    options = parser.parse_args()
    end_in_order()
    seed = secrets.randbelow(1 << 31) if options.seed is None else options.seed
    counts = {
        name: getattr(options, name)
        for name in (
            "kills",
            "restoring",
            "graceful",
            "zombies",
            "broker",
            "caches",
            "disks",
            "operators",
        )
    }
    folder = Path(tempfile.mkdtemp(prefix="driftline-chaos-"))
    print(f"seed {seed}; logs in {folder}, deleted if the result is correct", flush=True)
    command = (
        campaign.PRODUCT
        if options.planted is None
        else ("-m", "tests.chaos.planted_defects", options.planted)
    )
    rounds = campaign.plan(seed, **counts, points=options.points, mixed=options.mixed)
    settings = {
        "seed": seed,
        **counts,
        "points": options.points,
        "rate": options.rate,
        "speed": options.speed,
        "planted": options.planted,
    }
    reports: list[campaign.RoundReport] = []
    with closing(
        campaign.run(
            rounds,
            folder,
            seed=seed,
            load_rate=campaign.LoadRate(options.rate, options.speed),
            command=command,
        )
    ) as results:
        for result in results:
            reports.append(result)
            print(report.round_text(result), flush=True)
            report.write(options.out, reports, settings)
    print(report.text(reports))
    is_correct = all(result.is_correct for result in reports)
    if is_correct and not options.keep:
        shutil.rmtree(folder)
    else:
        print(f"logs: {folder}")
    return 0 if is_correct else 1


if __name__ == "__main__":
    sys.exit(main())
