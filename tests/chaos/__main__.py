"""`make chaos`: the campaign from the command line."""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from tests.chaos import campaign, planted, table
from tests.ending import end_in_order


def main() -> int:
    """Run a campaign; 0 if everything was counted once."""
    parser = argparse.ArgumentParser(
        prog="make chaos",
        description="Kill workers and broker again and again, then count everything.",
    )
    parser.add_argument(
        "--kills", type=int, default=100, help="kill -9 of workers, those below included"
    )
    parser.add_argument("--restoring", type=int, default=20, help="kills while a worker restores")
    parser.add_argument(
        "--points",
        nargs="+",
        choices=sorted(set(campaign.POINTS)),
        default=campaign.POINTS,
        help="where half of the other kills happen",
    )
    parser.add_argument(
        "--graceful", type=int, default=40, help="SIGTERM, workers added and removed"
    )
    parser.add_argument(
        "--zombies", type=int, default=20, help="SIGSTOP past the session timeout, then SIGCONT"
    )
    parser.add_argument("--broker", type=int, default=10, help="kill -9 of the broker")
    parser.add_argument("--caches", type=int, default=20, help="caches wiped or truncated")
    parser.add_argument("--disks", type=int, default=4, help="no space left for the caches")
    parser.add_argument(
        "--seed",
        type=int,
        help="repeat the faults of an earlier campaign, as far as timing lets them",
    )
    parser.add_argument("--rate", type=float, default=150.0, help="predictions per second")
    parser.add_argument(
        "--speed", type=float, default=240.0, help="seconds of event time per second"
    )
    parser.add_argument(
        "--mixed",
        action="store_true",
        help="one round with everything in place of one for each sort of fault",
    )
    parser.add_argument(
        "--planted",
        choices=sorted(planted.DEFECTS),
        help="run workers with a defect, which has to be found",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("chaos.json"), help="where the result is written"
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep logs and topics even if all is well"
    )
    given = parser.parse_args()
    end_in_order()
    seed = secrets.randbelow(1 << 31) if given.seed is None else given.seed
    counts = {
        name: getattr(given, name)
        for name in ("kills", "restoring", "graceful", "zombies", "broker", "caches", "disks")
    }
    folder = Path(tempfile.mkdtemp(prefix="driftline-chaos-"))
    print(f"seed {seed}; logs in {folder}, deleted if all is well", flush=True)
    command = (
        campaign.PRODUCT if given.planted is None else ("-m", "tests.chaos.planted", given.planted)
    )
    rounds = campaign.plan(seed, **counts, points=given.points, mixed=given.mixed)
    settings = {
        "seed": seed,
        **counts,
        "points": given.points,
        "rate": given.rate,
        "speed": given.speed,
        "planted": given.planted,
    }
    reports: list[campaign.Report] = []
    with closing(
        campaign.run(
            rounds, folder, seed=seed, pace=campaign.Pace(given.rate, given.speed), command=command
        )
    ) as told:
        for report in told:
            reports.append(report)
            print(table.said(report), flush=True)
            table.write(given.out, reports, settings)
    print(table.text(reports))
    right = all(report.right for report in reports)
    if right and not given.keep:
        shutil.rmtree(folder)
    else:
        print(f"logs: {folder}")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
