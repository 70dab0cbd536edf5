"""Is this Python able to run Driftline, and is it Driftline that it finds?"""

from __future__ import annotations

import importlib
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from driftline.agents.doctor.check_result import Finding

OLDEST = (3, 11)
PACKAGES = ("schemas", "streams", "agents")
LIBRARIES = ("msgspec", "numpy", "xxhash", "rocksdict", "click", "rich")


def python_version(version: Sequence[int] | None = None) -> Finding:
    """Whether the interpreter, by default this one, is new enough."""
    version = version or sys.version_info[:3]
    text = ".".join(map(str, version[:3]))
    if tuple(version[:2]) < OLDEST:
        return Finding(
            check="python",
            level="problem",
            message=f"this is Python {text}; Driftline needs {OLDEST[0]}.{OLDEST[1]} or newer",
            remedy="make a virtual environment with a newer interpreter and install Driftline there",
        )
    return Finding(check="python", level="ok", message=f"Python {text} on {platform.system()}")


def libraries() -> Iterator[Finding]:
    """Whether everything that is imported later can be."""
    for name in LIBRARIES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            yield Finding(
                check="libraries",
                level="problem",
                message=f"{name} cannot be imported: {error}",
                remedy="install Driftline again: pip install .",
            )


def packages(search: Sequence[str] | None = None) -> Iterator[Finding]:
    """Whether `schemas`, `streams` and `agents` are Driftline's own: plain names are easily
    shadowed.

    Parameters
    ----------
    search
        Folders in the order in which imports look; by default those of this process.
    """
    home = Path(__file__).resolve().parents[2]
    shadowed = False
    for name in PACKAGES:
        for folder in map(Path, sys.path if search is None else search):
            found = _package(folder, name)
            if found is None:
                continue
            if found.resolve() != (home / name).resolve():
                shadowed = True
                yield Finding(
                    check="packages",
                    level="problem",
                    message=f"`import {name}` finds {found}, not Driftline's own in {home}",
                    remedy="run in another folder, or take that folder out of PYTHONPATH",
                )
            break
    if not shadowed:
        yield Finding(
            check="packages", level="ok", message=f"schemas, streams and agents come from {home}"
        )


def beside(folder: Path) -> Iterator[Finding]:
    """Packages of the same name in the present folder, which `python -m` would take first."""
    home = Path(__file__).resolve().parents[2]
    for name in PACKAGES:
        found = _package(folder, name)
        if found is not None and folder.resolve() != home:
            yield Finding(
                check="packages",
                level="note",
                message=f"{found} has the name of a Driftline package",
                remedy="scripts and `python -m` that run in this folder import it instead; rename it or run elsewhere",
            )


def _package(folder: Path, name: str) -> Path | None:
    """What a folder holds under a package's name: a package, or a module."""
    if (folder / name / "__init__.py").is_file():
        return folder / name
    module = folder / f"{name}.py"
    return module if module.is_file() else None
