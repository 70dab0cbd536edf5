"""Java, and the jars of Kafka, which Maven fetches once into a cache folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path

from driftline.schemas.errors import DriftlineError

OLDEST_JAVA = 17  # Kafka 4 brokers
CACHE_VARIABLE = "DRIFTLINE_CACHE"
POMS = (
    Path(__file__).with_name("pom.xml"),
    Path(__file__).resolve().parents[2] / "deploy" / "kafka" / "pom.xml",
)
FETCH_S = 1_800


class DevBrokerError(DriftlineError):
    """The broker cannot be started or stopped; the message says why and what to do."""


def java() -> str:
    """Path of the `java` command: that of JAVA_HOME, else the one on the path.

    Raises
    ------
    DevBrokerError
        If there is none, or it is too old.
    """
    home = os.environ.get("JAVA_HOME")
    command = shutil.which("java", path=str(Path(home) / "bin")) if home else shutil.which("java")
    requirement = (
        f"the broker needs Java {OLDEST_JAVA} or newer "
        "(Debian: apt-get install openjdk-17-jre-headless)"
    )
    if command is None:
        where = f"in JAVA_HOME={home}" if home else "on the path"
        raise DevBrokerError(f"{requirement}; there is none {where}")
    done = subprocess.run([command, "-version"], capture_output=True, text=True, check=False)
    output = (done.stderr + done.stdout).strip()
    match = re.search(r'version "(\d+)', output)
    if match is None or int(match[1]) < OLDEST_JAVA:
        first = output.partition("\n")[0] or f"nothing, and ended with {done.returncode}"
        raise DevBrokerError(f"{requirement}; {command} says: {first}")
    return command


def jars() -> Path:
    """Folder of Kafka's jars; Maven fetches them at the first call.

    Raises
    ------
    DevBrokerError
        If Maven is needed and missing, or if it fails.
    """
    pom = next((path for path in POMS if path.is_file()), None)
    if pom is None:
        raise DevBrokerError(f"{POMS[-1]} is missing; install Driftline from a complete checkout")
    target = cache_folder() / f"kafka-{sha256(pom.read_bytes()).hexdigest()[:12]}"
    if target.is_dir():
        return target
    maven = shutil.which("mvn")
    if maven is None:
        raise DevBrokerError(
            "Maven fetches Kafka's jars, and there is no mvn on the path "
            "(Debian: apt-get install maven)"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="fetching-") as scratch:
        folder = Path(scratch) / "jars"
        command = [maven, "-q", "-B", "-ntp", "-f", str(pom), "dependency:copy-dependencies"]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=FETCH_S,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode or not folder.is_dir():
            tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
            raise DevBrokerError(
                f"Maven could not fetch Kafka's jars (mvn ended with {done.returncode}):\n{tail}"
            )
        try:
            folder.rename(target)
        except OSError:
            if not target.is_dir():  # else another process was first
                raise
    return target


def cache_folder() -> Path:
    """Folder for the jars: $DRIFTLINE_CACHE, else `driftline` in the user's cache folder."""
    named = os.environ.get(CACHE_VARIABLE)
    return (
        Path(named)
        if named
        else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "driftline"
    )
