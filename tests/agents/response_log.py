"""The sample log with two versions, of which the alert f1_low rolls the second one back."""

from __future__ import annotations

import json
from pathlib import Path

from driftline.agents.sample_log import write_sample

EPISODE = "7fbc7a5cddfe7039-1749081600000"
RESPONSES = """
[[models.churn.responses]]
rule = "f1_low"
severity = "warning"
action = "rollback_configuration"
dry_run = false

[[models.churn.responses]]
rule = "f1*"
severity = "warning"
action = "rollback_version"
dry_run = false

[[models.churn.responses]]
rule = "f1_low"
severity = "warning"
action = "clear_cache"
params = { cache = "features" }
"""
COMMANDS = (
    ("2025-06-01T00:00:00Z", "register", "1.4.1", {}),
    ("2025-06-01T01:00:00Z", "promote", "1.4.1", {}),
    ("2025-06-03T01:00:00Z", "set_threshold", "1.4.2", {"threshold": 0.45}),
    ("2025-06-03T02:00:00Z", "promote", "1.4.2", {}),
    ("2025-06-03T03:00:00Z", "set_threshold", "1.4.2", {"threshold": 0.4}),
)


def write_response_log(folder: Path) -> tuple[Path, Path]:
    """Write configuration and log to a folder: f1_low of 1.4.2, a warning, fires on 2025-06-05 and
    stays.
    """
    config, log = write_sample(folder)
    config.write_text(config.read_text() + RESPONSES)
    lines = [
        {
            "command_id": f"c{number}",
            "command": command,
            "model_name": "churn",
            "model_version": version,
            "timestamp": at,
            "requested_by": "ada",
            "params": params,
        }
        for number, (at, command, version, params) in enumerate(COMMANDS)
    ]
    (log / "registry-commands.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return config, log
