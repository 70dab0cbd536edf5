"""Random histories of commands: the registry stage against a slow model with full snapshots."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.results import RegistryCommand, RegistryEntry, RegistryEvent, encode
from driftline.schemas.settings import Config
from driftline.schemas.times import format_time
from driftline.streams.registry import Registry, as_of, history, replay
from driftline.streams.stage import Batch
from tests.streams.registry_model import Snapshot, SnapshotRegistry

VERSIONS = ("1.0.0", "1.1.0", "2.0.0")
START_MS = 1_700_000_000_000

parameters = {
    "register": st.sampled_from([{}, {"stage": "staging"}, {"threshold": 0.25}]),
    "promote": st.sampled_from([{}, {"to": "production"}, {"to": "staging"}]),
    "archive": st.just({}),
    "delete": st.just({}),
    "set_threshold": st.sampled_from(
        [{"threshold": 0.25}, {"threshold": 0.75}, {"threshold": 1.5}]
    ),
    "rollback": st.one_of(
        st.just({}), st.integers(0, 12).map(lambda revision: {"to_revision": revision})
    ),
}


@st.composite
def one_command(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(
        st.sampled_from(
            [
                "register",
                "promote",
                "promote",
                "archive",
                "delete",
                "set_threshold",
                "set_threshold",
                "rollback",
                "rollback",
            ]
        )
    )
    return {
        "command": name,
        "version": draw(st.sampled_from(VERSIONS)),
        "params": draw(parameters[name]),
        "expected": draw(st.integers(0, 5)) if draw(st.integers(0, 9)) == 0 else None,
        "dry_run": draw(st.integers(0, 7)) == 0,
        "again": draw(st.integers(0, 7)) == 0,
    }


def settings_of(entries: dict[str, RegistryEntry]) -> Snapshot:
    return {
        v: {
            "stage": e.stage,
            "threshold": e.threshold,
            "deployed_at": e.deployed_at,
            "deleted_at": e.deleted_at,
        }
        for v, e in entries.items()
    }


def plain(command: str, version: str) -> dict[str, Any]:
    return {
        "command": command,
        "version": version,
        "params": {},
        "expected": None,
        "dry_run": False,
        "again": False,
    }


def registered(version: str) -> dict[str, Any]:
    return plain("register", version)


ROLLBACK_OF_A_ROLLBACK_UNDER_ANOTHER_CHAMPION = [
    plain("register", "1.0.0"),
    plain("register", "1.1.0"),
    plain("promote", "1.1.0"),
    plain("rollback", "1.1.0"),
    plain("promote", "1.0.0"),
    plain("rollback", "1.1.0"),
]
"""Once left two versions in production: the second rollback restored the stage of 1.1.0 alone."""


@example(ROLLBACK_OF_A_ROLLBACK_UNDER_ANOTHER_CHAMPION, [])
@given(
    # Most histories begin with registered versions: commands to unregistered ones are rejected,
    # which tests little.
    st.builds(
        lambda first, later: [*map(registered, first), *later],
        st.sampled_from([(), VERSIONS[:2], VERSIONS, VERSIONS]),
        st.lists(one_command(), min_size=8, max_size=30),
    ),
    st.lists(st.integers(1, 5), max_size=10),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_registry_equals_the_snapshot_model_for_any_history_of_commands(
    plan: list[dict[str, Any]], cuts: list[int]
) -> None:
    slow, state, stage = SnapshotRegistry(), MemoryState(), Registry(Config())
    sent: list[RegistryCommand] = []
    expected_answers: list[str] = []
    for number, step in enumerate(plan):
        command = RegistryCommand(
            command_id=f"c{number}",
            command=step["command"],
            model_name="churn",
            model_version=step["version"],
            timestamp=format_time(START_MS + 1_000 * number),
            requested_by="ada",
            params=step["params"],
            expected_revision=step["expected"],
            dry_run=step["dry_run"],
        )
        for _ in range(2 if step["again"] else 1):
            sent.append(command)
            answer = slow.send(
                command.command_id,
                command.command,
                step["version"],
                step["params"],
                step["expected"],
                command.timestamp,
                step["dry_run"],
            )
            expected_answers.append(answer)
    events: list[RegistryEvent] = []
    in_force: dict[str, RegistryEntry] = {}
    rest = list(sent)
    for cut in [*cuts, len(rest) or 1]:
        part, rest = rest[:cut], rest[cut:]
        for record in stage.process(Batch(records={"registry-commands": part}), state):
            value = msgspec.json.decode(encode(record.value), type=type(record.value))
            if isinstance(value, RegistryEvent):
                events.append(value)
            else:
                in_force[value.model_version] = value

    answers = [
        "rejected" if e.event == "rejected" else "would change" if e.dry_run else "changed"
        for e in events
    ]
    assert answers == [answer for answer in expected_answers if answer != "repeated"]
    assert settings_of(in_force) == slow.snapshots[-1]
    changes = [event for event in events if event.event != "rejected" and not event.dry_run]
    assert [event.revision for event in changes] == list(range(1, len(slow.snapshots)))
    for revision, snapshot in enumerate(slow.snapshots):
        model = as_of(events, revision=revision).get("churn")
        assert (
            settings_of({e.model_version: e for e in model.entries()}) if model else {}
        ) == snapshot
    for event in changes:
        model = as_of(events, at_ms=START_MS + 1_000 * int(event.command_id[1:]))["churn"]
        assert model.revision == event.revision
    if changes:
        assert {e.model_version: e for e in replay(events)["churn"].entries()} == in_force
        champions = [e for e in in_force.values() if e.stage == "production"]
        assert len(champions) <= 1
    assert all(event.error for event in events if event.event == "rejected")
    assert history(events) == events[::-1]
