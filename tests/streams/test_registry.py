"""The registry stage: commands, rejections, repeated ids, rollback, facts, history and policy."""

from __future__ import annotations

from typing import Any

import pytest

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.results import (
    Expected,
    ModelLabels,
    Recommendation,
    ReferenceProfile,
    RegistryCommand,
    RegistryEntry,
    RegistryEvent,
    SettledLabels,
    to_plain,
)
from driftline.schemas.settings import Config, ModelConfig
from driftline.schemas.times import EpochMs
from driftline.streams.registry import Registry, as_of, history
from driftline.streams.registry.command_params import SYSTEM
from driftline.streams.registry.policy import build_policy
from driftline.streams.stage import Batch

COMMAND_FIELDS = {
    "command_id",
    "timestamp",
    "expected_revision",
    "reason",
    "dry_run",
    "requested_by",
}


class RegistryRun:
    """Stage 4 on a state of its own: sends records one by one and collects the output."""

    def __init__(self, config: Config | None = None) -> None:
        self.stage, self.state = Registry(config or Config()), MemoryState()
        self.events: list[RegistryEvent] = []
        self.entries: dict[str, RegistryEntry] = {}
        self.profiles: list[ReferenceProfile] = []
        self.labels: list[ModelLabels] = []

    def send(
        self, command: str, version: str | None = "1.0.0", **fields: Any
    ) -> RegistryEvent | None:
        """Send a command of ada, one a day; fields that no command has are its parameters."""
        number = len(self.events)
        params = {name: value for name, value in fields.items() if name not in COMMAND_FIELDS}
        header = {
            "command_id": f"c{number}",
            "timestamp": f"2026-11-{number + 1:02d}T00:00:00Z",
            "requested_by": "ada",
        } | {name: value for name, value in fields.items() if name in COMMAND_FIELDS}
        return self.process(
            "registry-commands",
            RegistryCommand(
                command=command, model_name="churn", model_version=version, params=params, **header
            ),
        )

    def process(self, topic: str, value: Any) -> RegistryEvent | None:
        """Process one record; returns the event that answers it."""
        event = None
        for record in self.stage.process(Batch(records={topic: [value]}), self.state):
            if record.topic == "registry-events":
                event = record.value
                self.events.append(event)
            elif record.topic == "reference-profiles":
                self.profiles.append(record.value)
            elif record.topic == "model-labels":
                self.labels.append(record.value)
            else:
                self.entries[record.value.model_version] = record.value
        return event

    def rejection(self, command: str, version: str | None = "1.0.0", **fields: Any) -> str:
        """Send a command that has to be rejected; returns the error."""
        event = self.send(command, version, **fields)
        assert event is not None
        assert event.event == "rejected", event
        assert event.before is None
        assert event.after is None
        return event.error or ""


def test_promotion_moves_the_former_champion_back_to_staging() -> None:
    run = RegistryRun()
    for version in ("1.0.0", "1.1.0"):
        run.send("register", version)
        event = run.send("promote", version, reason="won the comparison")
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
    assert {v: e.stage for v, e in run.entries.items()} == {
        "1.0.0": "staging",
        "1.1.0": "production",
    }
    assert {v: e.revision for v, e in run.entries.items()} == {"1.0.0": 4, "1.1.0": 4}


def test_rejection_says_what_is_wrong_and_what_to_do() -> None:
    run = RegistryRun()
    assert (
        run.rejection("promote")
        == "promote: churn 1.0.0 is not registered; registered versions: none"
    )
    assert "model_version is missing" in run.rejection("register", None)
    run.send("register")
    assert "is registered since 2026-11-03T00:00:00Z; use update" in run.rejection("register")
    assert (
        run.rejection("set_threshold", threshold=1.5)
        == "set_threshold: Expected `float` <= 1.0 - at `params.threshold`"
    )
    assert "unknown field `treshold`" in run.rejection("set_threshold", treshold=0.5)
    assert "unknown command 'delete_everything'; known are archive, delete" in run.rejection(
        "delete_everything"
    )
    assert "archive to retire it" in run.rejection("rollback")
    run.send("promote")
    assert "promote another version first" in run.rejection("archive")
    assert "already in production" in run.rejection("promote")
    assert "goes back to staging" in run.rejection("promote", to="staging")
    run.send("set_threshold", threshold=0.4)
    assert "nothing to change" in run.rejection("set_threshold", threshold=0.4)
    assert "does not lie before it" in run.rejection("rollback", to_revision=3)
    assert run.entries["1.0.0"].revision == 3


def test_a_deleted_version_takes_no_command_until_its_deletion_is_rolled_back() -> None:
    run = RegistryRun()
    run.send("register", threshold=0.5)
    assert run.rejection("delete") == ("delete: churn 1.0.0 is in development; archive it first")
    run.send("archive")
    deleted = run.send("delete", reason="trained on the wrong table")
    assert deleted is not None
    assert (deleted.before, deleted.after) == (
        {"1.0.0": {"deleted_at": None}},
        {"1.0.0": {"deleted_at": "2026-11-04T00:00:00Z"}},
    )
    assert run.entries["1.0.0"].deleted_at == "2026-11-04T00:00:00Z"
    for command, params in (
        ("register", {}),
        ("update", {"owner": "ada"}),
        ("promote", {}),
        ("set_threshold", {"threshold": 0.4}),
        ("delete", {}),
    ):
        assert run.rejection(command, **params) == (
            f"{command}: churn 1.0.0 is deleted since 2026-11-04T00:00:00Z; roll its deletion back "
            "first"
        )
    run.send("rollback")
    entry = run.entries["1.0.0"]
    assert (entry.deleted_at, entry.stage, entry.threshold) == (None, "archived", 0.5)
    run.send("delete")
    run.send("rollback", None, to_revision=1)
    entry = run.entries["1.0.0"]
    assert (entry.deleted_at, entry.stage) == (None, "development")


def test_command_with_an_outdated_expected_revision_is_rejected() -> None:
    run = RegistryRun()
    run.send("register", expected_revision=0)
    assert "expected revision 0, but churn is at 1" in run.rejection(
        "set_threshold", threshold=0.4, expected_revision=0
    )
    event = run.send("set_threshold", threshold=0.4, expected_revision=1)
    assert event is not None
    assert event.event == "set_threshold"


def test_repeated_command_has_one_event_and_its_id_is_rejected_for_another_command() -> None:
    run = RegistryRun()
    run.send("register", command_id="a", timestamp="2026-11-01T00:00:00Z")
    assert run.send("register", command_id="a", timestamp="2026-11-01T00:00:00Z") is None
    assert "command_id 'a' was another command's" in run.rejection("promote", command_id="a")
    assert run.send("register", command_id="a", timestamp="2026-11-01T00:00:00Z") is None
    assert run.rejection("archive", "9.9.9", command_id="b", timestamp="2026-11-01T00:00:00Z")
    assert run.send("archive", "9.9.9", command_id="b", timestamp="2026-11-01T00:00:00Z") is None


def test_order_of_parameters_does_not_make_another_command() -> None:
    run = RegistryRun()
    for params in (
        {"owner": "ada", "framework": "sklearn"},
        {"framework": "sklearn", "owner": "ada"},
    ):
        run.send("register", command_id="a", timestamp="2026-11-01T00:00:00Z", **params)
    assert len(run.events) == 1


def test_versions_keep_the_order_of_their_registration() -> None:
    run = RegistryRun()
    for version in ("2.0.0", "10.0.0", "1.0.0"):
        run.send("register", version)
    assert "registered versions: 2.0.0, 10.0.0, 1.0.0" in run.rejection("promote", "3.0.0")


def test_dry_run_emits_the_event_and_changes_nothing() -> None:
    run = RegistryRun()
    run.send("register")
    preview = run.send(
        "set_threshold",
        threshold=0.3,
        dry_run=True,
        command_id="x",
        timestamp="2026-11-09T00:00:00Z",
    )
    assert preview is not None
    assert (preview.dry_run, preview.revision, preview.after) == (
        True,
        2,
        {"1.0.0": {"threshold": 0.3}},
    )
    assert run.entries["1.0.0"].threshold is None
    event = run.send(
        "set_threshold", threshold=0.3, command_id="x", timestamp="2026-11-09T00:00:00Z"
    )
    assert event is not None
    assert (event.dry_run, event.revision, run.entries["1.0.0"].threshold) == (False, 2, 0.3)


def test_rollback_undoes_the_last_change_and_a_second_rollback_restores_it() -> None:
    run = RegistryRun()
    for version in ("1.0.0", "1.1.0"):
        run.send("register", version)
        run.send("promote", version)
    run.send("update", "1.1.0", owner="ada")  # a description, not a setting
    before = {v: (e.stage, e.deployed_at, e.threshold) for v, e in run.entries.items()}
    run.send("rollback", "1.1.0")
    assert {v: e.stage for v, e in run.entries.items()} == {
        "1.0.0": "production",
        "1.1.0": "development",
    }
    assert run.entries["1.1.0"].owner == "ada"
    assert run.entries["1.1.0"].deployed_at is None
    run.send("rollback", "1.1.0")
    assert {v: (e.stage, e.deployed_at, e.threshold) for v, e in run.entries.items()} == before


def test_rollback_is_rejected_where_another_version_of_the_change_moved_on() -> None:
    run = RegistryRun()
    for version in ("1.0.0", "1.1.0"):
        run.send("register", version)
        run.send("promote", version)
    run.send("archive", "1.0.0")
    assert "changed stage of 1.0.0 too, which moved on since; name the revision" in run.rejection(
        "rollback", "1.1.0"
    )
    run.send("rollback", None, to_revision=2)
    assert {v: e.stage for v, e in run.entries.items()} == {
        "1.0.0": "production",
        "1.1.0": "staging",
    }


def test_rollback_that_would_put_a_second_version_in_production_is_rejected() -> None:
    run = RegistryRun()
    run.send("register", "1.0.0")
    run.send("register", "1.1.0")
    run.send("promote", "1.1.0")
    run.send("rollback", "1.1.0")
    run.send("promote", "1.0.0")
    assert run.rejection("rollback", "1.1.0") == (
        "rollback: this would put churn 1.1.0 in production, where 1.0.0 is now; "
        "promote it, or name the revision to go back to (to_revision)"
    )
    assert {v: e.stage for v, e in run.entries.items()} == {
        "1.0.0": "production",
        "1.1.0": "development",
    }


def test_rollback_keeps_references_and_baselines() -> None:
    run = RegistryRun()
    run.send("register")
    run.send("set_threshold", threshold=0.4)
    run.send(
        "record_baseline",
        maturity="1d",
        metrics={"f1": 0.5},
        ci={"f1": [0.48, 0.52]},
        n=1000,
        requested_by="driftline",
    )
    run.send("record_baseline", maturity="6h", metrics={"f1": 0.4}, requested_by="driftline")
    run.send(
        "record_reference",
        reference_id="r1",
        span=["2026-10-01T00:00:00Z", "2026-10-31T00:00:00Z"],
        profile={"score": [1, 2]},
    )
    run.send("rollback", None, to_revision=1)
    entry = run.entries["1.0.0"]
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
    run = RegistryRun()
    run.send("register")
    automatic = {"maturity": "1d", "metrics": {"f1": 0.4}, "requested_by": "driftline"}
    run.send("record_baseline", **automatic)
    run.send("record_baseline", maturity="1d", metrics={"f1": 0.5})
    assert run.rejection("record_baseline", **automatic) == (
        "record_baseline: ada recorded the baseline of churn 1.0.0 at maturity 1d; "
        "it stays until a person records another one"
    )
    assert run.entries["1.0.0"].baselines == {"1d": {"metrics": {"f1": 0.5}, "recorded_by": "ada"}}
    run.send("record_baseline", maturity="1d", metrics={"f1": 0.6}, requested_by="bob")
    run.send("record_baseline", maturity="6h", metrics={"f1": 0.3}, requested_by="driftline")
    assert run.entries["1.0.0"].baselines == {
        "1d": {"metrics": {"f1": 0.6}, "recorded_by": "bob"},
        "6h": {"metrics": {"f1": 0.3}, "recorded_by": "driftline"},
    }


SPAN = ("2026-10-01T00:00:00Z", "2026-10-31T00:00:00Z")


def test_entry_and_event_name_a_reference_whose_profile_is_a_record_of_its_own() -> None:
    run = RegistryRun()
    run.send("register")
    event = run.send(
        "record_reference", reference_id="r1", span=list(SPAN), profile={"score": [1, 2]}
    )
    assert event is not None
    assert event.after == {"1.0.0": {"reference_id": "r1"}}
    assert run.entries["1.0.0"].reference_id == "r1"
    assert run.profiles == [
        ReferenceProfile(
            model_name="churn",
            reference_id="r1",
            created_at="2026-11-02T00:00:00Z",
            span=SPAN,
            profile={"score": [1, 2]},
        )
    ]
    assert run.profiles[0].key() == "churn/r1"


LOSS = {
    "topic": "predictions",
    "from": "2026-10-02T00:00:00Z",
    "until": "2026-10-02T01:00:00Z",
    "records": None,
}


def test_a_profile_and_a_baseline_keep_the_lost_rows_of_their_span() -> None:
    run = RegistryRun()
    run.send("register")
    run.send("record_reference", reference_id="r1", span=list(SPAN), profile={}, losses=[LOSS])
    run.send("record_baseline", maturity="1d", metrics={"f1": 0.5}, losses=[LOSS])
    assert [to_plain(profile)["losses"] for profile in run.profiles] == [[LOSS]]
    assert run.entries["1.0.0"].baselines["1d"]["losses"] == [LOSS]
    # A number is no time on a topic.
    wrong = [LOSS | {"from": 5}]
    for command, params in (
        ("record_reference", {"reference_id": "r2", "profile": {}}),
        ("record_baseline", {"maturity": "1d", "metrics": {"f1": 0.5}}),
    ):
        assert run.rejection(command, **params, losses=wrong) == (
            f"{command}: 5 is not an RFC 3339 time - at `params.losses[0].from`"
        )


def test_reference_id_names_one_profile_of_a_model() -> None:
    run = RegistryRun()
    run.send("register", "1.0.0")
    run.send("register", "1.1.0")
    run.send("record_reference", "1.0.0", reference_id="r1", profile={"n": 1})
    assert run.rejection("record_reference", "1.1.0", reference_id="r1", profile={"n": 2}) == (
        "record_reference: 'r1' is the name of another profile of churn; "
        "give this one a reference_id of its own"
    )
    run.send("record_reference", "1.1.0", reference_id="r1", profile={"n": 1})
    assert run.entries["1.1.0"].reference_id == "r1"
    assert [profile.profile for profile in run.profiles] == [{"n": 1}]


def test_rejected_reference_and_dry_run_emit_no_profile() -> None:
    run = RegistryRun()
    assert run.rejection("record_reference", reference_id="r1", profile={"n": 1})
    run.send("register")
    run.send("record_reference", reference_id="r1", profile={"n": 1}, dry_run=True)
    assert run.profiles == []
    run.send("record_reference", reference_id="r1", profile={"n": 1})
    assert len(run.profiles) == 1


def test_labels_belong_to_the_model_and_a_rollback_to_a_revision_restores_them() -> None:
    run = RegistryRun()
    run.send("register")
    first = run.send("set_labels", None, labels=["no", "yes", "maybe"], positive_label="yes")
    assert first is not None
    assert (first.event, first.revision, first.before) == ("set_labels", 2, {})
    assert first.after == {
        "": {"labels": ["no", "yes", "maybe"], "positive_label": "yes", "set_by": "ada"}
    }
    run.send("set_labels", None, positive_label="no", requested_by="bob")
    assert "nothing to change" in run.rejection("set_labels", None, positive_label="no")
    run.send("rollback", None, to_revision=2)
    run.send("rollback", None, to_revision=1)
    in_force = [
        (each.revision, each.labels, each.positive_label, each.set_by) for each in run.labels
    ]
    assert in_force == [
        (2, ["no", "yes", "maybe"], "yes", "ada"),
        (3, None, "no", "bob"),
        (4, ["no", "yes", "maybe"], "yes", "ada"),
        (5, None, None, None),
    ]
    assert list(run.entries) == ["1.0.0"]
    (model,) = as_of(run.events).values()
    assert (model.head.n_versions, model.head.newest) == (1, ["1.0.0"])
    assert [entry.model_version for entry in model.entries()] == ["1.0.0"]
    assert model.labels() == run.labels[-1]


def test_settled_labels_are_a_fact_that_a_rollback_leaves() -> None:
    run = RegistryRun()
    fact = {"labels": ["no", "yes"], "positive_label": "yes", "positive_basis": "vocabulary"}
    assert "only Driftline records" in run.rejection("record_labels", None, **fact)
    run.send("register")
    run.send("record_labels", None, requested_by=SYSTEM, **fact)
    run.send("set_labels", None, labels=["no", "yes", "maybe"])
    run.send("rollback", None, to_revision=1)
    assert [(each.revision, each.labels, each.settled) for each in run.labels] == [
        (2, None, SettledLabels(**fact)),
        (3, ["no", "yes", "maybe"], SettledLabels(**fact)),
        (4, None, SettledLabels(**fact)),
    ]


@pytest.mark.parametrize(
    ("version", "params", "words"),
    [
        (None, {"labels": ["yes"]}, "length >= 2"),
        (None, {"labels": ["yes", "yes"]}, "a label is there twice"),
        (
            None,
            {"labels": ["no", "yes"], "positive_label": "oui"},
            "'oui' is not one of the",
        ),
        (None, {"positive_label": ""}, "length >= 1"),
        (None, {"label": ["no", "yes"]}, "unknown field `label`"),
        (None, {}, "nothing to change"),
        ("1.0.0", {"labels": ["no", "yes"]}, "leave model_version out"),
    ],
)
def test_labels_that_make_no_sense_are_rejected(
    version: str | None, params: dict[str, Any], words: str
) -> None:
    assert words in RegistryRun().rejection("set_labels", version, **params)


def test_labels_of_the_configuration_are_changed_there() -> None:
    run = RegistryRun(Config(models={"churn": ModelConfig(positive_label="yes")}))
    assert "the configuration sets positive_label of churn" in run.rejection(
        "set_labels", None, positive_label="no"
    )
    assert "'yes' is not one of the labels" in run.rejection("set_labels", None, labels=["a", "b"])
    run.send("set_labels", None, labels=["no", "yes"])
    assert [each.labels for each in run.labels] == [["no", "yes"]]


def test_as_of_keeps_the_order_of_revisions_where_a_clock_was_wrong() -> None:
    run = RegistryRun()
    run.send("register", timestamp="2026-11-05T00:00:00Z")
    run.send("set_threshold", threshold=0.4, timestamp="2026-11-03T00:00:00Z")
    at = {
        day: 1_762_300_800_000 + (day - 5) * 86_400_000 for day in (3, 4, 5)
    }  # 2025-11-05T00:00:00Z
    year_ms = 365 * 86_400_000
    assert as_of(run.events, at_ms=at[4] + year_ms) == {}
    assert as_of(run.events, at_ms=at[5] + year_ms)["churn"].revision == 2


def test_history_of_a_version_includes_the_promotion_that_replaced_it() -> None:
    run = RegistryRun()
    for version in ("1.0.0", "1.1.0"):
        run.send("register", version)
        run.send("promote", version)
    run.send("promote", "1.0.0", to="staging")
    run.send("promote", "1.0.0", to="staging")
    assert [e.event for e in history(run.events, model_version="1.0.0", rejected=False)] == [
        "promote",
        "promote",
        "register",
    ]
    assert [e.event for e in history(run.events, model_name="other")] == []


def test_history_of_changes_leaves_dry_runs_out() -> None:
    run = RegistryRun()
    run.send("register")
    run.send("set_threshold", threshold=0.3, dry_run=True)
    assert [e.event for e in history(run.events)] == ["set_threshold", "register"]
    assert [e.event for e in history(run.events, rejected=False)] == ["register"]


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
def test_recommendation_is_applied_without_a_person_only_where_the_policy_allows_it(
    policy: dict[str, Any], gain: float, low: float, status: str, applied: bool
) -> None:
    run = RegistryRun(Config(models={"churn": ModelConfig(policy=policy)}))
    run.send("register")
    event = run.process("recommendations", recommendation(gain, low, status))
    assert (event is not None) == applied
    if event is not None:
        assert (event.cause, event.requested_by, event.after) == (
            "r-1",
            "driftline",
            {"1.0.0": {"threshold": 0.31}},
        )
        assert run.process("recommendations", recommendation(gain, low, status)) is None


def test_invalid_policy_is_rejected_with_its_path() -> None:
    with pytest.raises(
        ValueError,
        match=r"^models\.churn\.policy\.auto_apply: has to be true or false, not a string",
    ):
        build_policy(ModelConfig(policy={"auto_apply": "yes"}), "models.churn.policy")


def test_a_person_can_roll_back_only_the_version_or_only_the_configuration() -> None:
    run = RegistryRun()
    for version in ("1.0.0", "1.1.0"):
        run.send("register", version, threshold=0.5)
        run.send("promote", version)
    run.send("set_threshold", "1.1.0", threshold=0.6)
    assert "to_revision or only, not both" in run.rejection(
        "rollback", only="version", to_revision=1
    )
    assert "is in staging, not in production" in run.rejection("rollback", "1.0.0", only="version")
    event = run.send("rollback", "1.1.0", only="configuration")
    assert event is not None
    assert event.after == {"1.1.0": {"threshold": 0.5}}
    run.send("rollback", "1.1.0", only="version")
    assert {v: e.stage for v, e in run.entries.items()} == {
        "1.0.0": "production",
        "1.1.0": "staging",
    }
    assert "no version was in production before" in run.rejection(
        "rollback", "1.0.0", only="version"
    )
    run.send("rollback", "1.1.0")
    assert run.entries["1.1.0"].stage == "production"
