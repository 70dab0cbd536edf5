"""Identity of a run: the input, configuration and options that an output folder belongs to.

`run.json` is written before anything else and never changed. The same run resumes where it stopped;
any other run on the folder is refused, and so is a second process at the same time.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from driftline.schemas.errors import DriftlineError
from driftline.schemas.setting_changes import differences

FORMAT: Final = 2
RUN_FILE: Final = "run.json"
LOCK_FILE: Final = "run.lock"
_HEAD_BYTES: Final = 1 << 20
_MAX_DIFFERENCES: Final = 5


class RunRefused(DriftlineError):
    """A run cannot use its output folder; the message says why and what to do."""


class InputFile(Struct, frozen=True):
    """Identity of an input file, independent of its path: its size, and SHA-256 over its first and
    last MiB.
    """

    bytes: int
    sha256: str


class Identity(Struct, frozen=True, kw_only=True):
    """Everything that determines what a run writes; the size of its steps does not.

    Attributes
    ----------
    format
        Version of the output folder's layout.
    driftline
        Version of the program. Another one may compute other figures, so it does not resume the
        run.
    started_at_ms
        The clock at the first start; times too far ahead of it are invalid, after a resume too.
    inputs
        By file name.
    config
        Fingerprint of the configuration.
    mapping, features, drop
        What the caller said about the columns of a table.
    settings
        The settings behind the fingerprint, see `setting_changes.recorded_settings`: to name the
        ones that differ.
    """

    format: int
    driftline: str
    started_at_ms: int
    inputs: dict[str, InputFile]
    config: str
    partitions: int
    open_end: bool
    follow: bool
    keep_order: bool = False
    mapping: dict[str, str] = {}
    features: list[str] = []
    drop: list[str] = []
    settings: dict[str, Any] = {}


def identify(path: Path) -> InputFile:
    """Identity of a file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        digest = sha256(file.read(_HEAD_BYTES))
        file.seek(max(size - _HEAD_BYTES, 0))
        digest.update(file.read(_HEAD_BYTES))
    return InputFile(size, digest.hexdigest())


def program_version() -> str:
    """Version of the installed program, "unknown" in a checkout that is not installed."""
    try:
        return metadata.version("driftline")
    except metadata.PackageNotFoundError:
        return "unknown"


def claim(out: Path, wanted: Identity) -> Identity:
    """Assign `out` to a run, or check that it belongs to this one.

    Parameters
    ----------
    out
        The output folder, locked by this process.
    wanted
        The identity of this run. Its start time holds only if the folder is new.

    Returns
    -------
    Identity
        The run as it first started.

    Raises
    ------
    RunRefused
        If the folder belongs to another run, or has other content.
    """
    path = out / RUN_FILE
    if not path.exists():
        foreign = sorted(
            entry.name
            for entry in out.iterdir()
            if entry.name != LOCK_FILE and not entry.name.endswith(".tmp")
        )
        if foreign:
            raise RunRefused(
                f"{out}: is not empty ({', '.join(foreign[:3])}) and has no {RUN_FILE}; "
                "choose another --out"
            )
        partial = out / f"{RUN_FILE}.tmp"
        try:
            partial.write_bytes(msgspec.json.format(msgspec.json.encode(wanted), indent=1) + b"\n")
        except OSError as error:  # the error of a full disk does not name the file
            raise OSError(error.errno, error.strerror, str(partial)) from error
        os.replace(partial, path)
        return wanted
    try:
        owner = msgspec.json.decode(path.read_bytes(), type=Identity)
    except msgspec.DecodeError as error:
        raise RunRefused(
            f"{path}: cannot be read ({error}); choose another --out or delete {out}"
        ) from error
    differences = list(_differences(owner, wanted))
    if differences:
        raise RunRefused(
            f"{out}: belongs to another run: {'; '.join(differences)}; "
            f"choose another --out or delete {out}"
        )
    return owner


def release(out: Path) -> None:
    """Free `out` for any run, after one that failed before it computed anything."""
    (out / RUN_FILE).unlink()


def _differences(owner: Identity, wanted: Identity) -> Iterator[str]:
    for name in sorted({*owner.inputs, *wanted.inputs}):
        before, now = owner.inputs.get(name), wanted.inputs.get(name)
        if before != now:
            yield f"its {name} {_describe(before)}, this one {_describe(now)}"
    for name in _NAMES:
        before, now = getattr(owner, name), getattr(wanted, name)
        if before != now:
            if name == "config":
                yield from _changed_settings(owner, wanted)
            else:
                yield f"its {_NAMES[name]} is {before}, this one's {now}"


def _changed_settings(owner: Identity, wanted: Identity) -> Iterator[str]:
    changed = list(differences(owner.settings, wanted.settings))
    yield from changed[:_MAX_DIFFERENCES]
    if len(changed) > _MAX_DIFFERENCES or not changed:
        yield f"its configuration is {owner.config[:12]}, this one's {wanted.config[:12]}"


def _describe(file: InputFile | None) -> str:
    return "is missing" if file is None else f"has {file.bytes} bytes and hash {file.sha256[:12]}"


_NAMES: Final = {
    "format": "folder format",
    "driftline": "driftline version",
    "config": "configuration",
    "partitions": "number of partitions",
    "open_end": "--open-end",
    "follow": "--follow",
    "keep_order": "--keep-order",
    "mapping": "column mapping",
    "features": "list of features",
    "drop": "list of columns left out",
}


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Lock the output folder for this process; the operating system releases the lock when the
    process dies.

    Raises
    ------
    RunRefused
        If another process holds it.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK_FILE).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunRefused(
                f"{out}: another run is writing here; wait for it or choose another --out"
            ) from error
        yield
