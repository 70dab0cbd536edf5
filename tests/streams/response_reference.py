"""Slow and obvious model of responses to alerts, for tests.

It shares no code with `driftline.streams.registry`: it keeps all that ever happened, and looks
through it for every decision. Registry: versions with a stage, a threshold, and when and by whom
they were deployed.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

RANKS = {"info": 0, "warning": 1, "error": 2, "critical": 3}
DAY = 86_400_000
Versions = dict[str, dict[str, Any]]


@dataclass
class Step:
    """One revision: the command, and all versions before and after it."""

    command: str
    version: str | None
    by: str
    at_ms: int
    before: Versions
    after: Versions


@dataclass
class Told:
    """One decision that was recorded."""

    response: str
    action: str
    version: str
    episode: str
    outcome: str
    dry_run: bool
    at_ms: int
    revision: int | None = None

    def plain(self) -> tuple[Any, ...]:
        return (self.response, self.action, self.version, self.episode, self.outcome, self.dry_run)


@dataclass
class SlowResponses:
    """One model. `responses` have all their keys, durations in milliseconds."""

    responses: list[dict[str, Any]]
    steps: list[Step] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)

    @property
    def versions(self) -> Versions:
        return self.steps[-1].after if self.steps else {}

    def champion(self, versions: Versions) -> str | None:
        return next((v for v, held in versions.items() if held["stage"] == "production"), None)

    # the registry

    def command(
        self, command: str, version: str | None, params: dict[str, Any], by: str, at_ms: int
    ) -> bool:
        """Whether the command was accepted."""
        before, now = deepcopy(self.versions), deepcopy(self.versions)
        if not self._carried_out(now, command, version, params, (by, at_ms)) or now == before:
            return False
        self.steps.append(Step(command, version, by, at_ms, before, now))
        return True

    def _carried_out(
        self,
        now: Versions,
        command: str,
        version: str | None,
        params: dict[str, Any],
        sent: tuple[str, int],
    ) -> bool:
        if command == "register":
            assert version is not None
            if version in now:
                return False
            now[version] = {
                "stage": "development",
                "threshold": params.get("threshold"),
                "deployed": None,
            }
            return True
        if version not in now:
            return False
        held = now[version]
        if command == "promote":
            if held["stage"] in ("archived", "production"):
                return False
            self._put_in_production(now, version, sent)
            return True
        if command == "archive":
            if held["stage"] == "production":
                return False
            held["stage"] = "archived"
            return True
        if command == "set_threshold":
            held["threshold"] = params["threshold"]
            return bool(held["stage"] != "archived")
        assert command == "rollback"
        if params.get("only") == "version":
            earlier = self.before(version, now)
            if earlier is None:
                return False
            self._put_in_production(now, earlier, sent)
            return True
        if params.get("only") == "configuration":
            step = self._last(version, "threshold")
            if step is None or step.command == "rollback":
                return False
            held["threshold"] = step.before[version]["threshold"]
            return True
        return self._undone(now, version)

    def _put_in_production(self, now: Versions, version: str, sent: tuple[str, int]) -> None:
        champion = self.champion(now)
        if champion is not None:
            now[champion]["stage"] = "staging"
        now[version] |= {"stage": "production", "deployed": sent}

    def before(self, version: str, now: Versions) -> str | None:
        """The version to which a rollback of the version leads."""
        if now[version]["stage"] != "production":
            return None
        earlier = None
        for step in self.steps:
            if step.command == "promote" and step.version == version:
                earlier = self.champion(step.before)
        return None if earlier is None or now[earlier]["stage"] == "archived" else earlier

    def _last(self, version: str, *fields: str) -> Step | None:
        for step in reversed(self.steps):
            if version not in step.before:
                return None
            if any(step.before[version][name] != step.after[version][name] for name in fields):
                return step
        return None

    def _undone(self, now: Versions, version: str) -> bool:
        step = self._last(version, "stage", "threshold", "deployed")
        if step is None:
            return False
        for other, held in step.before.items():
            for name in held:
                if held[name] != step.after[other][name]:
                    if now[other][name] != step.after[other][name]:
                        return False
                    now[other][name] = held[name]
        return sum(held["stage"] == "production" for held in now.values()) <= 1

    # responses

    def alert(
        self,
        *,
        change: str,
        version: str,
        rule: str,
        severity: str,
        silenced: bool,
        episode: str,
        at_ms: int,
    ) -> None:
        if change not in ("firing", "escalated", "joined", "unsilenced"):
            return
        for response in self.responses:
            if (
                fnmatchcase(rule, response["rule"])
                and RANKS[severity] >= RANKS[response["severity"]]
            ):
                self._respond(response, version, episode, at_ms, silenced)

    def _respond(
        self, response: dict[str, Any], version: str, episode: str, at_ms: int, silenced: bool
    ) -> None:
        mine = [
            each
            for each in self.told
            if each.response == response["name"] and each.dry_run == response["dry_run"]
        ]
        of_episode = [each.outcome for each in mine if each.episode == episode]
        if "taken" in of_episode or "dry_run" in of_episode:
            return
        outcome, revision = self._outcome(response, version, at_ms, silenced, mine), None
        if outcome == "taken" and response["action"].startswith("rollback_"):
            only = response["action"].removeprefix("rollback_")
            done = self.command("rollback", version, {"only": only}, "driftline", at_ms)
            assert done
            revision = len(self.steps) - 1
        if outcome not in of_episode:
            self.told.append(
                Told(
                    response["name"],
                    response["action"],
                    version,
                    episode,
                    outcome,
                    response["dry_run"],
                    at_ms,
                    revision,
                )
            )

    def _outcome(
        self, response: dict[str, Any], version: str, at_ms: int, silenced: bool, mine: list[Told]
    ) -> str:
        if silenced:
            return "silenced"
        changes = response["action"].startswith("rollback_")
        if changes:
            back_ms = self._taken_back_ms(response["action"], version)
            if back_ms is not None and at_ms < back_ms + response["hold_off"]:
                return "held_off"
        done = [each for each in mine if each.outcome in ("taken", "dry_run")]
        if done and at_ms < done[-1].at_ms + response["cool_down"]:
            return "cool_down"
        if sum(each.at_ms // DAY == at_ms // DAY for each in done) >= response["most_a_day"]:
            return "most_a_day"
        if changes:
            now = deepcopy(self.versions)
            only = response["action"].removeprefix("rollback_")
            sent = ("driftline", at_ms)
            if not self._carried_out(now, "rollback", version, {"only": only}, sent):
                return "not_possible"
            if now == self.versions:
                return "not_possible"
            earlier = self.champion(now)
            if only == "version" and self._left(earlier):
                return "not_possible"
        return "dry_run" if response["dry_run"] else "taken"

    def _left(self, version: str | None) -> bool:
        """Whether an alert led away from the version, and no person put it back."""
        return (
            version is not None
            and self._newest("rollback_version", version) is not None
            and self._taken_back_ms("rollback_version", version) is None
        )

    def _newest(self, action: str, version: str) -> Told | None:
        return next(
            (
                each
                for each in reversed(self.told)
                if (each.action, each.version, each.outcome) == (action, version, "taken")
            ),
            None,
        )

    def _taken_back_ms(self, action: str, version: str) -> int | None:
        newest = self._newest(action, version)
        if newest is None:
            return None
        assert newest.revision is not None
        change = self.steps[newest.revision]
        name = "stage" if action == "rollback_version" else "threshold"
        made, was = change.after[version][name], change.before[version][name]
        for step in self.steps[newest.revision + 1 :]:
            then, now = step.before[version][name], step.after[version][name]
            if step.by == "driftline" or then == now or then != made:
                continue
            if name == "threshold" or now == was:
                return max(step.at_ms, newest.at_ms)
        return None
