"""Checks of the installation: the Python version and the check_libraries that are imported later."""

from __future__ import annotations

import importlib
import platform
import sys
from collections.abc import Iterator, Sequence

from driftline.agents.doctor.check_result import CheckResult

OLDEST = (3, 11)
LIBRARIES = ("msgspec", "numpy", "xxhash", "rocksdict", "click", "rich")


def check_python(version: Sequence[int] | None = None) -> CheckResult:
    """Whether the interpreter, by default this one, is new enough."""
    version = version or sys.version_info[:3]
    text = ".".join(map(str, version[:3]))
    if tuple(version[:2]) < OLDEST:
        return CheckResult(
            check="python",
            level="problem",
            message=f"this is Python {text}; Driftline needs {OLDEST[0]}.{OLDEST[1]} or newer",
            remedy="make a virtual environment with a newer interpreter and install Driftline there",
        )
    return CheckResult(check="python", level="ok", message=f"Python {text} on {platform.system()}")


def check_libraries() -> Iterator[CheckResult]:
    """Whether everything that is imported later can be."""
    for name in LIBRARIES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            yield CheckResult(
                check="libraries",
                level="problem",
                message=f"{name} cannot be imported: {error}",
                remedy="install Driftline again: pip install .",
            )
