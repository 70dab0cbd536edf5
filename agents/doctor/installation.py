"""Checks of the installation: the Python version and the libraries that are imported later."""

from __future__ import annotations

import importlib
import platform
import sys
from collections.abc import Iterator, Sequence

from driftline.schemas.check_result import CheckResult

MIN_VERSION = (3, 11)
LIBRARIES = ("msgspec", "numpy", "xxhash", "rocksdict", "click", "rich")


def check_python(version: Sequence[int] | None = None) -> CheckResult:
    """Whether the Python version, by default the running one, is supported."""
    version = version or sys.version_info[:3]
    text, oldest = (".".join(map(str, parts)) for parts in (version[:3], MIN_VERSION))
    if tuple(version[:2]) < MIN_VERSION:
        return CheckResult(
            check="python",
            level="problem",
            message=f"this is Python {text}; Driftline needs {oldest} or newer",
            remedy="install Driftline in a virtual environment with a newer Python",
        )
    return CheckResult(check="python", level="ok", message=f"Python {text} on {platform.system()}")


def check_libraries() -> Iterator[CheckResult]:
    """Yield a problem for each library that cannot be imported."""
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
