"""A short campaign, and planted defects that it must find."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.chaos import campaign, faults, report
from tests.chaos.campaign import LoadRate, Round, RoundReport
from tests.kafka.brokers import BrokerProcess, need_java

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
SEED = 4_100
# An hour of event time in six seconds; the pauses between faults last up to half a second.
QUICK = LoadRate(rate=100.0, speed=600.0, pause=0.5)
# The faults of operators take longer; so that they do not meet more rows, these come more slowly.
FEW_ROWS = LoadRate(rate=40.0, speed=300.0, pause=0.5)
NUMBERS = {"positions-outside": 1, "cache-first": 2}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    need_java()
    own = BrokerProcess(tmp_path_factory.mktemp("broker"))
    own.start()
    yield own
    own.stop()


def play(
    round_: Round,
    broker: BrokerProcess,
    folder: Path,
    number: int,
    command: tuple[str, ...] = campaign.PRODUCT,
    load_rate: LoadRate = QUICK,
) -> RoundReport:
    result = campaign.play(
        round_,
        broker,
        folder / "round",
        seed=SEED,
        number=number,
        load_rate=load_rate,
        command=command,
        verbose=True,
    )
    print(report.text([result]))
    return result


def test_every_row_is_counted_once_across_kills_zombies_and_a_broker_failure(
    broker: BrokerProcess, tmp_path: Path
) -> None:
    named = [
        faults.kill_at(point)
        for point in ("restoring", "produced", "committed", "cached", "revoking")
    ]
    mixed = [faults.kill] * 6 + named + [faults.zombie] * 2 + [faults.broker]
    Random(SEED).shuffle(mixed)
    result = play(Round("all together", 2, True, tuple(mixed)), broker, tmp_path, 0)
    assert result.is_correct, f"seed {SEED}\n{report.text([result])}"
    assert (
        sum(fault_result.kind.startswith("kill -9") for fault_result in result.fault_results) == 11
    )
    assert result.verdict.pairs > 1_000


def test_operators_faults_are_counted_exactly_or_announced(
    broker: BrokerProcess, tmp_path: Path
) -> None:
    operators, added = campaign.operator_rounds(Random(SEED))
    result = play(operators, broker, tmp_path, 3, load_rate=FEW_ROWS)
    assert result.is_correct, f"seed {SEED}\n{report.text([result])}"
    assert len(result.fault_results) == 5
    (second,) = result.beside
    assert second.pairs > 100
    verdict = result.verdict
    assert verdict.lost_rows > 0
    assert 0 < verdict.announced <= verdict.marked < verdict.figures
    assert verdict.dead_letters > 15

    last = play(added, broker, tmp_path / "added", 4, load_rate=FEW_ROWS)
    assert last.is_correct, f"seed {SEED}\n{report.text([last])}"
    assert last.verdict.lost_rows > 0
    assert 0 < last.verdict.announced <= last.verdict.marked < last.verdict.figures
    assert last.verdict.figures > 1_000
    assert min(last.verdict.labelled.values()) > 100
    kinds = {fault_result.kind for each in (result, last) for fault_result in each.fault_results}
    assert kinds > {"predictions made anew", "ground-truth made anew"}


@pytest.mark.parametrize(
    ("defect", "point"), [("positions-outside", "produced"), ("cache-first", "cached")]
)
def test_planted_defect_is_found(
    broker: BrokerProcess, tmp_path: Path, defect: str, point: str
) -> None:
    round_ = Round(defect, 1, True, (faults.kill_at(point),))
    result = play(
        round_, broker, tmp_path, NUMBERS[defect], ("-m", "tests.chaos.planted_defects", defect)
    )
    assert not result.is_correct
    assert result.verdict.lost + result.verdict.twice > 0
