"""The campaign in short, and the defects that it has to find."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.chaos import campaign, faults, table
from tests.chaos.campaign import Pace, Report, Round
from tests.kafka.brokers import BrokerProcess, need_java

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
SEED = 4_100
# An hour of event time in six seconds; the pauses between faults last up to half a second.
QUICK = Pace(rate=100.0, speed=600.0, pause=0.5)
NUMBERS = {"positions-outside": 1, "cache-first": 2}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    need_java()
    own = BrokerProcess(tmp_path_factory.mktemp("broker"))
    own.start()
    yield own
    own.stop()


def play(
    one: Round,
    broker: BrokerProcess,
    folder: Path,
    number: int,
    command: tuple[str, ...] = campaign.PRODUCT,
) -> Report:
    report = campaign.play(
        one,
        broker,
        folder / "round",
        seed=SEED,
        number=number,
        pace=QUICK,
        command=command,
        told=True,
    )
    print(table.text([report]))
    return report


def test_everything_is_counted_once_through_kills_zombies_and_a_broker_that_dies(
    broker: BrokerProcess, tmp_path: Path
) -> None:
    named = [
        faults.kill_at(point)
        for point in ("restoring", "produced", "committed", "cached", "revoking")
    ]
    some = [faults.kill] * 6 + named + [faults.zombie] * 2 + [faults.broker]
    Random(SEED).shuffle(some)
    report = play(Round("all together", 2, True, tuple(some)), broker, tmp_path, 0)
    assert report.right, f"seed {SEED}\n{table.text([report])}"
    assert sum(happening.kind.startswith("kill -9") for happening in report.happenings) == 11
    assert report.verdict.pairs > 1_000


@pytest.mark.parametrize(
    ("defect", "point"), [("positions-outside", "produced"), ("cache-first", "cached")]
)
def test_planted_defect_is_found(
    broker: BrokerProcess, tmp_path: Path, defect: str, point: str
) -> None:
    one = Round(defect, 1, True, (faults.kill_at(point),))
    report = play(one, broker, tmp_path, NUMBERS[defect], ("-m", "tests.chaos.planted", defect))
    assert not report.right
    assert report.verdict.lost + report.verdict.twice > 0
