"""What an installation holds: one import package, next to which any other can be installed."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def build(source: Path, target: str, folder: Path) -> Path:
    """The archive that hatchling, the build backend, makes from a source folder."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=120)
    (archive,) = folder.iterdir()
    return archive


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with nothing but the wheel in it."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(site: Path, work: Path, *command: str) -> str:
    """What a command prints in an empty folder, with the wheel first on the path."""
    environment = os.environ | {"PYTHONPATH": str(site), "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_wheel_holds_one_import_package_and_its_metadata(wheel: Path) -> None:
    top = {name.partition("/")[0] for name in names(wheel)}
    assert "driftline" in top
    (metadata,) = top - {"driftline"}
    assert metadata.startswith("driftline-")
    assert metadata.endswith(".dist-info")


def test_the_wheel_holds_every_module_once_and_what_is_read_at_run_time(wheel: Path) -> None:
    held = names(wheel)
    assert len(held) == len(set(held))
    modules = {
        f"driftline/{path.relative_to(ROOT).as_posix()}"
        for package in ("schemas", "streams", "agents")
        for path in (ROOT / package).rglob("*.py")
    }
    assert modules | {"driftline/__init__.py", "driftline/py.typed"} <= set(held)
    assert "driftline/agents/devbroker/pom.xml" in held
    page = ROOT / "agents/serve/page"
    files = {f"driftline/{path.relative_to(ROOT).as_posix()}" for path in page.rglob("*.*")}
    assert len(files) > 30
    assert files <= set(held)


def test_a_wheel_built_from_the_source_archive_is_the_same(wheel: Path, tmp_path: Path) -> None:
    archive = build(ROOT, "sdist", tmp_path / "sdist")
    with tarfile.open(archive) as file:
        file.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    again = build(source, "wheel", tmp_path / "wheel")
    assert sorted(names(again)) == sorted(names(wheel))


def test_driftline_runs_beside_another_distribution_with_a_package_named_agents(
    site: Path, tmp_path: Path
) -> None:
    both = (
        "import agents, driftline, driftline.agents.cli\n"
        "print(agents.Agent(name='helper').name, agents.__file__, driftline.__file__, sep='\\n')"
    )
    name, theirs, ours = run(site, tmp_path, "-c", both).splitlines()
    assert name == "helper"
    assert not Path(theirs).is_relative_to(site)
    assert not Path(theirs).is_relative_to(ROOT / "agents")
    assert Path(ours) == site / "driftline" / "__init__.py"

    run(site, tmp_path, "-m", "driftline.agents.cli", "init", "trial")
    run(
        site,
        tmp_path,
        "-m",
        "driftline.agents.cli",
        "replay",
        "trial/sample-log",
        "--config",
        "trial/driftline.toml",
        "--out",
        "out",
    )
    assert (tmp_path / "out" / "metrics.jsonl").stat().st_size > 0


def test_importing_driftline_loads_neither_numpy_nor_its_own_packages(
    site: Path, tmp_path: Path
) -> None:
    code = (
        "import sys, driftline\n"
        "heavy = ('numpy', 'msgspec', 'click', 'driftline.streams', 'driftline.agents')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    assert run(site, tmp_path, "-c", code) == "[]"
