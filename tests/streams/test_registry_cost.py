"""The cost of a registry command in state, by the number of versions of its model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytest

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.results import RegistryEntry
from driftline.schemas.settings import Config
from driftline.streams.pipeline import Downstream
from tests.streams.registry_commands import START_MS, command, registrations

FEW, MANY = 400, 4_000


class Cost(NamedTuple):
    """Keys and bytes that a command reads from the state of stages 2 to 4 and writes to it."""

    keys_read: int
    bytes_read: int
    keys_written: int
    bytes_written: int


class CountedState(MemoryState):
    """Counts the keys and bytes of every access."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = [0, 0, 0, 0]

    def get(self, key: bytes) -> bytes | None:
        value = super().get(key)
        self.counts[0] += 1
        self.counts[1] += len(value or b"")
        return value

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self.get(key) for key in keys]

    def put(self, key: bytes, value: bytes) -> None:
        self.counts[2] += 1
        self.counts[3] += len(value)
        super().put(key, value)

    def put_many(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        for key, value in zip(keys, values, strict=True):
            self.put(key, value)


class Costs:
    """Stages 2 to 4 of one model with a number of registered versions."""

    def __init__(self, versions: int) -> None:
        self._states = {name: CountedState() for name in ("measure", "decide", "registry")}
        self._stages = Downstream(Config(), self._states.__getitem__)
        self._stages.finish(registrations(versions))
        self._sent = versions

    def of(self, name: str, version: str, **params: object) -> Cost:
        """The cost of one more command, which has to be accepted."""
        self._sent += 1
        before = self._counts()
        sent = command(name, version, at_ms=START_MS + self._sent, **params)
        emitted = self._stages.finish([sent])
        assert any(isinstance(record.value, RegistryEntry) for record in emitted), emitted
        return Cost(*(now - then for now, then in zip(self._counts(), before, strict=True)))

    def _counts(self) -> list[int]:
        return [
            sum(values)
            for values in zip(*(state.counts for state in self._states.values()), strict=True)
        ]


@pytest.fixture(scope="module")
def few() -> Costs:
    return Costs(FEW)


@pytest.fixture(scope="module")
def many() -> Costs:
    return Costs(MANY)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("register", {}),
        ("promote", {}),
        ("set_threshold", {"threshold": 0.25}),
        ("update", {"owner": "ada"}),
        ("record_baseline", {"maturity": "1d", "metrics": {"f1": 0.5}}),
        ("rollback", {}),
    ],
)
def test_command_costs_the_same_with_4000_versions_as_with_400(
    few: Costs, many: Costs, name: str, params: dict[str, object]
) -> None:
    version = "new" if name == "register" else "v7"
    cost, limit = many.of(name, version, **params), few.of(name, version, **params)
    assert cost.keys_read <= limit.keys_read
    assert cost.keys_written <= limit.keys_written
    # Longer version names and revisions, and a fuller chunk of the names of stage 2.
    assert cost.bytes_read <= limit.bytes_read + 100
    assert cost.bytes_written <= limit.bytes_written + 2_048


def test_profile_is_not_written_again_when_its_version_changes(few: Costs) -> None:
    profile = {"features": {f"f{number}": [0.5] * 100 for number in range(100)}}
    recorded = few.of("record_reference", "v9", reference_id="r", profile=profile)
    changed = few.of("set_threshold", "v9", threshold=0.25)
    assert recorded.bytes_written > 50_000
    assert changed.bytes_written < 5_000
