"""The registry: what each command may do, what it answers, and that an id counts once."""

from __future__ import annotations

from typing import Any

import pytest

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.results import (
    Expected,
    Recommendation,
    ReferenceProfile,
    RegistryCommand,
    RegistryEntry,
    RegistryEvent,
)
from driftline.schemas.settings import Config, ModelConfig
from driftline.schemas.times import EpochMs
from driftline.streams.registry import Registry, as_of, history
from driftline.streams.registry.policy import build_policy
from driftline.streams.stage import Batch


class Desk:
    """Sends commands one by one and remembers all that came back."""

    def __init__(self, config: Config | None = None) -> None:
        self.stage, self.state = Registry(config or Config()), MemoryState()
        self.events: list[RegistryEvent] = []
        self.entries: dict[str, RegistryEntry] = {}
        self.profiles: list[ReferenceProfile] = []

    def send(
        self, command: str, version: str | None = "1.0.0", **more: Any
    ) -> RegistryEvent | None:
        number = len(self.events)
        known = {
            k: more.pop(k)
            for k in (
                "command_id",
                "timestamp",
                "expected_revision",
                "reason",
                "dry_run",
                "requested_by",
            )
            if k in more
        }
        given = {
            "command_id": f"c{number}",
            "timestamp": f"2026-11-{number + 1:02d}T00:00:00Z",
            "requested_by": "ada",
        } | known
        return self.take(
            "registry-commands",
            RegistryCommand(
                command=command, model_name="churn", model_version=version, params=more, **given
            ),
        )

    def take(self, topic: str, value: Any) -> RegistryEvent | None:
        event = None
        for record in self.stage.process(Batch(records={topic: [value]}), self.state):
            if record.topic == "registry-events":
                event = record.value
                self.events.append(event)
            elif record.topic == "reference-profiles":
                self.profiles.append(record.value)
            else:
                self.entries[record.value.model_version] = record.value
        return event

    def error(self, command: str, version: str | None = "1.0.0", **more: Any) -> str:
        event = self.send(command, version, **more)
        assert event is not None
        assert event.event == "rejected", event
        assert event.before is None
        assert event.after is None
        return event.error or ""


def test_promoting_a_version_sends_the_one_before_back_to_staging() -> None:
    desk = Desk()
    for version in ("1.0.0", "1.1.0"):
        desk.send("register", version)
        event = desk.send("promote", version, reason="won the comparison")
    assert event is not None
    assert event.before == {
        "1.1.0": {"stage": "development", "deployed_at": None, "promoted_by": None},
        "1.0.0": {"stage": "production"},
    }
    assert event.after == {
        "1.1.0": {
            "stage": "production",
            "deployed_at": "2026-11-04T00:00:00Z",
            "promoted_by": "ada",
        },
        "1.0.0": {"stage": "staging"},
    }
    assert (event.at, event.requested_by, event.reason, event.revision) == (
        "2026-11-04T00:00:00Z",
        "ada",
        "won the comparison",
        4,
    )
    assert {v: e.stage for v, e in desk.entries.items()} == {
        "1.0.0": "staging",
        "1.1.0": "production",
    }
    assert {v: e.revision for v, e in desk.entries.items()} == {"1.0.0": 4, "1.1.0": 4}


def test_what_may_not_be_is_rejected_with_what_to_do() -> None:
    desk = Desk()
    assert (
        desk.error("promote") == "promote: churn 1.0.0 is not registered; registered versions: none"
    )
    assert "model_version is missing" in desk.error("register", None)
    desk.send("register")
    assert "is registered since 2026-11-03T00:00:00Z; use update" in desk.error("register")
    assert (
        desk.error("set_threshold", threshold=1.5)
        == "set_threshold: Expected `float` <= 1.0 - at `params.threshold`"
    )
    assert "unknown field `treshold`" in desk.error("set_threshold", treshold=0.5)
    assert "unknown command 'delete_everything'; known are archive, promote" in desk.error(
        "delete_everything"
    )
    assert "archive to retire it" in desk.error("rollback")
    desk.send("promote")
    assert "promote another version first" in desk.error("archive")
    assert "already in production" in desk.error("promote")
    assert "goes back to staging" in desk.error("promote", to="staging")
    desk.send("set_threshold", threshold=0.4)
    assert "nothing to change" in desk.error("set_threshold", threshold=0.4)
    assert "does not lie before it" in desk.error("rollback", to_revision=3)
    assert desk.entries["1.0.0"].revision == 3


def test_a_stale_expected_revision_is_rejected_and_a_fresh_one_is_not() -> None:
    desk = Desk()
    desk.send("register", expected_revision=0)
    assert "expected revision 0, but churn is at 1" in desk.error(
        "set_threshold", threshold=0.4, expected_revision=0
    )
    event = desk.send("set_threshold", threshold=0.4, expected_revision=1)
    assert event is not None
    assert event.event == "set_threshold"


def test_a_command_sent_twice_is_one_event_and_its_id_serves_no_other_command() -> None:
    desk = Desk()
    desk.send("register", command_id="a", timestamp="2026-11-01T00:00:00Z")
    assert desk.send("register", command_id="a", timestamp="2026-11-01T00:00:00Z") is None
    assert "command_id 'a' was another command's" in desk.error("promote", command_id="a")
    assert desk.send("register", command_id="a", timestamp="2026-11-01T00:00:00Z") is None
    assert desk.error("archive", "9.9.9", command_id="b", timestamp="2026-11-01T00:00:00Z")
    assert desk.send("archive", "9.9.9", command_id="b", timestamp="2026-11-01T00:00:00Z") is None


def test_a_command_with_its_parameters_in_another_order_is_the_same_command() -> None:
    desk = Desk()
    for params in (
        {"owner": "ada", "framework": "sklearn"},
        {"framework": "sklearn", "owner": "ada"},
    ):
        desk.send("register", command_id="a", timestamp="2026-11-01T00:00:00Z", **params)
    assert len(desk.events) == 1


def test_versions_keep_the_order_of_their_registration() -> None:
    desk = Desk()
    for version in ("2.0.0", "10.0.0", "1.0.0"):
        desk.send("register", version)
    assert "registered versions: 2.0.0, 10.0.0, 1.0.0" in desk.error("promote", "3.0.0")


def test_a_dry_run_shows_the_event_and_changes_nothing() -> None:
    desk = Desk()
    desk.send("register")
    wish = desk.send(
        "set_threshold",
        threshold=0.3,
        dry_run=True,
        command_id="x",
        timestamp="2026-11-09T00:00:00Z",
    )
    assert wish is not None
    assert (wish.dry_run, wish.revision, wish.after) == (True, 2, {"1.0.0": {"threshold": 0.3}})
    assert desk.entries["1.0.0"].threshold is None
    event = desk.send(
        "set_threshold", threshold=0.3, command_id="x", timestamp="2026-11-09T00:00:00Z"
    )
    assert event is not None
    assert (event.dry_run, event.revision, desk.entries["1.0.0"].threshold) == (False, 2, 0.3)


def test_rollback_takes_the_last_change_back_and_rollback_again_restores_it() -> None:
    desk = Desk()
    for version in ("1.0.0", "1.1.0"):
        desk.send("register", version)
        desk.send("promote", version)
    desk.send("update", "1.1.0", owner="ada")  # what is known about a version is no setting
    before = {v: (e.stage, e.deployed_at, e.threshold) for v, e in desk.entries.items()}
    desk.send("rollback", "1.1.0")
    assert {v: e.stage for v, e in desk.entries.items()} == {
        "1.0.0": "production",
        "1.1.0": "development",
    }
    assert desk.entries["1.1.0"].owner == "ada"
    assert desk.entries["1.1.0"].deployed_at is None
    desk.send("rollback", "1.1.0")
    assert {v: (e.stage, e.deployed_at, e.threshold) for v, e in desk.entries.items()} == before


def test_rollback_of_a_change_whose_other_half_moved_on_asks_for_a_revision() -> None:
    desk = Desk()
    for version in ("1.0.0", "1.1.0"):
        desk.send("register", version)
        desk.send("promote", version)
    desk.send("archive", "1.0.0")
    assert "changed stage of 1.0.0 too, which moved on since; name the revision" in desk.error(
        "rollback", "1.1.0"
    )
    desk.send("rollback", None, to_revision=2)
    assert {v: e.stage for v, e in desk.entries.items()} == {
        "1.0.0": "production",
        "1.1.0": "staging",
    }


def test_rollback_that_would_put_a_second_version_in_production_is_rejected() -> None:
    desk = Desk()
    desk.send("register", "1.0.0")
    desk.send("register", "1.1.0")
    desk.send("promote", "1.1.0")
    desk.send("rollback", "1.1.0")
    desk.send("promote", "1.0.0")
    assert desk.error("rollback", "1.1.0") == (
        "rollback: this would put churn 1.1.0 in production, where 1.0.0 is now; "
        "promote it, or name the revision to go back to (to_revision)"
    )
    assert {v: e.stage for v, e in desk.entries.items()} == {
        "1.0.0": "production",
        "1.1.0": "development",
    }


def test_facts_are_kept_by_a_rollback() -> None:
    desk = Desk()
    desk.send("register")
    desk.send("set_threshold", threshold=0.4)
    desk.send(
        "record_baseline",
        maturity="1d",
        metrics={"f1": 0.5},
        ci={"f1": [0.48, 0.52]},
        n=1000,
        requested_by="driftline",
    )
    desk.send("record_baseline", maturity="6h", metrics={"f1": 0.4}, requested_by="driftline")
    desk.send(
        "record_reference",
        reference_id="r1",
        span=["2026-10-01T00:00:00Z", "2026-10-31T00:00:00Z"],
        profile={"score": [1, 2]},
    )
    desk.send("rollback", None, to_revision=1)
    entry = desk.entries["1.0.0"]
    assert entry.threshold is None
    assert entry.baselines == {
        "1d": {
            "metrics": {"f1": 0.5},
            "ci": {"f1": [0.48, 0.52]},
            "n": 1000,
            "recorded_by": "driftline",
        },
        "6h": {"metrics": {"f1": 0.4}, "recorded_by": "driftline"},
    }
    assert entry.reference_id == "r1"


def test_baseline_of_a_person_stays_until_a_person_records_another_one() -> None:
    desk = Desk()
    desk.send("register")
    automatic = {"maturity": "1d", "metrics": {"f1": 0.4}, "requested_by": "driftline"}
    desk.send("record_baseline", **automatic)
    desk.send("record_baseline", maturity="1d", metrics={"f1": 0.5})
    assert desk.error("record_baseline", **automatic) == (
        "record_baseline: ada recorded the baseline of churn 1.0.0 at maturity 1d; "
        "it stays until a person records another one"
    )
    assert desk.entries["1.0.0"].baselines == {"1d": {"metrics": {"f1": 0.5}, "recorded_by": "ada"}}
    desk.send("record_baseline", maturity="1d", metrics={"f1": 0.6}, requested_by="bob")
    desk.send("record_baseline", maturity="6h", metrics={"f1": 0.3}, requested_by="driftline")
    assert desk.entries["1.0.0"].baselines == {
        "1d": {"metrics": {"f1": 0.6}, "recorded_by": "bob"},
        "6h": {"metrics": {"f1": 0.3}, "recorded_by": "driftline"},
    }


SPAN = ("2026-10-01T00:00:00Z", "2026-10-31T00:00:00Z")


def test_entry_and_event_name_a_reference_whose_profile_is_a_record_of_its_own() -> None:
    desk = Desk()
    desk.send("register")
    event = desk.send(
        "record_reference", reference_id="r1", span=list(SPAN), profile={"score": [1, 2]}
    )
    assert event is not None
    assert event.after == {"1.0.0": {"reference_id": "r1"}}
    assert desk.entries["1.0.0"].reference_id == "r1"
    assert desk.profiles == [
        ReferenceProfile(
            model_name="churn",
            reference_id="r1",
            created_at="2026-11-02T00:00:00Z",
            span=SPAN,
            profile={"score": [1, 2]},
        )
    ]
    assert desk.profiles[0].key() == "churn/r1"


def test_reference_id_names_one_profile_of_a_model() -> None:
    desk = Desk()
    desk.send("register", "1.0.0")
    desk.send("register", "1.1.0")
    desk.send("record_reference", "1.0.0", reference_id="r1", profile={"n": 1})
    assert desk.error("record_reference", "1.1.0", reference_id="r1", profile={"n": 2}) == (
        "record_reference: 'r1' is the name of another profile of churn; "
        "give this one a reference_id of its own"
    )
    desk.send("record_reference", "1.1.0", reference_id="r1", profile={"n": 1})
    assert desk.entries["1.1.0"].reference_id == "r1"
    assert [profile.profile for profile in desk.profiles] == [{"n": 1}]


def test_rejected_reference_and_dry_run_emit_no_profile() -> None:
    desk = Desk()
    assert desk.error("record_reference", reference_id="r1", profile={"n": 1})
    desk.send("register")
    desk.send("record_reference", reference_id="r1", profile={"n": 1}, dry_run=True)
    assert desk.profiles == []
    desk.send("record_reference", reference_id="r1", profile={"n": 1})
    assert len(desk.profiles) == 1


def test_as_of_a_time_before_the_first_event_there_is_nothing_and_a_wrong_clock_reorders_nothing() -> (
    None
):
    desk = Desk()
    desk.send("register", timestamp="2026-11-05T00:00:00Z")
    desk.send("set_threshold", threshold=0.4, timestamp="2026-11-03T00:00:00Z")
    at = {
        day: 1_762_300_800_000 + (day - 5) * 86_400_000 for day in (3, 4, 5)
    }  # 2025-11-05T00:00:00Z
    year_ms = 365 * 86_400_000
    assert as_of(desk.events, at_ms=at[4] + year_ms) == {}
    assert as_of(desk.events, at_ms=at[5] + year_ms)["churn"].revision == 2


def test_history_of_a_version_names_what_was_done_to_it_by_another_ones_promotion() -> None:
    desk = Desk()
    for version in ("1.0.0", "1.1.0"):
        desk.send("register", version)
        desk.send("promote", version)
    desk.send("promote", "1.0.0", to="staging")
    desk.send("promote", "1.0.0", to="staging")
    assert [e.event for e in history(desk.events, model_version="1.0.0", rejected=False)] == [
        "promote",
        "promote",
        "register",
    ]
    assert [e.event for e in history(desk.events, model_name="other")] == []


def test_history_of_changes_leaves_dry_runs_out() -> None:
    desk = Desk()
    desk.send("register")
    desk.send("set_threshold", threshold=0.3, dry_run=True)
    assert [e.event for e in history(desk.events)] == ["set_threshold", "register"]
    assert [e.event for e in history(desk.events, rejected=False)] == ["register"]


def recommendation(gain: float, low: float, status: str = "open") -> Recommendation:
    return Recommendation(
        recommendation_id="r-1",
        model_name="churn",
        model_version="1.0.0",
        action="set_threshold",
        params={"threshold": 0.31},
        expected=Expected(metric="f1", from_=0.5, to=0.5 * (1 + gain), ci=(low, 0.2)),
        evidence={"relative_gain": gain},
        reason="F1 rises",
        status=status,
        at_ms=EpochMs.of("2026-11-10T00:00:00Z"),
    )


@pytest.mark.parametrize(
    ("policy", "gain", "low", "status", "applied"),
    [
        ({}, 0.2, 0.1, "open", False),
        ({"auto_apply": True}, 0.2, 0.1, "open", True),
        ({"auto_apply": True}, 0.04, 0.1, "open", False),
        ({"auto_apply": True, "min_gain": 0.03}, 0.04, 0.1, "open", True),
        ({"auto_apply": True}, 0.2, -0.01, "open", False),
        ({"auto_apply": True}, 0.2, 0.1, "outcome", False),
    ],
)
def test_a_recommendation_applies_itself_only_where_the_policy_says_so(
    policy: dict[str, Any], gain: float, low: float, status: str, applied: bool
) -> None:
    desk = Desk(Config(models={"churn": ModelConfig(policy=policy)}))
    desk.send("register")
    event = desk.take("recommendations", recommendation(gain, low, status))
    assert (event is not None) == applied
    if event is not None:
        assert (event.cause, event.requested_by, event.after) == (
            "r-1",
            "driftline",
            {"1.0.0": {"threshold": 0.31}},
        )
        assert desk.take("recommendations", recommendation(gain, low, status)) is None


def test_a_wrong_policy_is_refused_with_its_path() -> None:
    with pytest.raises(
        ValueError,
        match=r"^models\.churn\.policy\.auto_apply: has to be true or false, not a string",
    ):
        build_policy(ModelConfig(policy={"auto_apply": "yes"}), "models.churn.policy")
