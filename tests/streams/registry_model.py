"""Slow model of the registry for tests: a full snapshot after every change.

It shares no code with `driftline.streams.registry` and models stages and thresholds only.
"""

from __future__ import annotations

import copy
from typing import Any

Snapshot = dict[str, dict[str, Any]]


class SnapshotRegistry:
    """One model.

    `snapshots[r]` is version -> {"stage", "threshold", "deployed_at", "deleted_at"} after
    revision r.
    """

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = [{}]
        self.answers: dict[str, tuple[Any, ...]] = {}

    def send(
        self,
        command_id: str,
        command: str,
        version: str,
        params: dict[str, Any],
        expected: int | None,
        at: str,
        dry_run: bool,
    ) -> str:
        """Return "changed", "rejected", "repeated" or, for a dry run, "would change"."""
        content = (command, version, repr(params), expected, at, dry_run)
        if self.answers.get(command_id) == content:
            return "repeated"
        if command_id in self.answers:
            return "rejected"
        if not dry_run:
            self.answers[command_id] = content
        now = self.snapshots[-1]
        if expected is not None and expected != len(self.snapshots) - 1:
            return "rejected"
        after = self._after(copy.deepcopy(now), command, version, params, at)
        if after is None or after == now:
            return "rejected"
        if dry_run:
            return "would change"
        self.snapshots.append(after)
        return "changed"

    def _after(
        self, now: Snapshot, command: str, version: str, params: dict[str, Any], at: str
    ) -> Snapshot | None:
        if command == "register":
            if version in now:
                return None
            now[version] = {
                "stage": params.get("stage", "development"),
                "threshold": params.get("threshold"),
                "deployed_at": None,
                "deleted_at": None,
            }
            return now
        if command == "rollback" and "to_revision" in params:
            return self._back(now, params["to_revision"])
        if version not in now:
            return None
        held = now[version]
        if command == "rollback":
            return self._undone(now, version)
        if command == "archive":
            if held["stage"] in ("production",):
                return None
            held["stage"] = "archived"
            return now
        if command == "delete":
            if held["stage"] != "archived" or held["deleted_at"] is not None:
                return None
            held["deleted_at"] = at
            return now
        if held["stage"] == "archived":
            return None
        if command == "set_threshold":
            if not 0 <= params["threshold"] <= 1:
                return None
            held["threshold"] = params["threshold"]
            return now
        assert command == "promote"
        to = params.get("to", "production")
        if held["stage"] == to or (held["stage"] == "production" and to == "staging"):
            return None
        if to == "production":
            for other in now.values():
                if other["stage"] == "production":
                    other["stage"] = "staging"
            held["deployed_at"] = at
        held["stage"] = to
        return now

    def _back(self, now: Snapshot, revision: int) -> Snapshot | None:
        if revision >= len(self.snapshots) - 1:
            return None
        then = self.snapshots[revision]
        for version, held in now.items():
            if version in then:
                now[version] = copy.deepcopy(then[version])
            elif held["stage"] == "production":
                held["stage"] = "staging"
        return now

    def _undone(self, now: Snapshot, version: str) -> Snapshot | None:
        for revision in range(len(self.snapshots) - 1, 0, -1):
            before, after = self.snapshots[revision - 1], self.snapshots[revision]
            if version not in before:
                return None
            if before[version] == after[version]:
                continue
            for other in before:
                for field in before[other]:
                    if before[other][field] != after[other][field]:
                        if now[other][field] != after[other][field]:
                            return None
                        now[other][field] = before[other][field]
            champions = [held for held in now.values() if held["stage"] == "production"]
            return now if len(champions) <= 1 else None
        return None
