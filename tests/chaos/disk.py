"""A disk for the local copies that can be full: a small file system in memory or, without the right
to mount one, a limit on the size of files.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

SIZE = 1 << 30


class Disk:
    """The file system at `folder`, mounted within a `with` block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mounted = False

    def __enter__(self) -> Disk:
        self._folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "chaos", str(self._folder)]
        self._mounted = (
            bool(shutil.which("mount"))
            and subprocess.run(command, capture_output=True, check=False).returncode == 0
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._mounted:
            subprocess.run(["umount", str(self._folder)], check=False)

    @property
    def kind(self) -> str:
        return "tmpfs" if self._mounted else "file size limit"

    @contextmanager
    def full(self, pids: Sequence[int]) -> Iterator[None]:
        """Within this block the disk is full, at least for these processes."""
        if not self._mounted:
            for pid in pids:
                _limit(pid, 4096)
            yield
            for pid in pids:
                _limit(pid, resource.RLIM_INFINITY)
            return
        filler = self._folder / "filler"
        with filler.open("wb") as file:
            step = 1 << 20
            while step >= 4096:
                try:
                    os.write(file.fileno(), b"\0" * step)
                except OSError:
                    step //= 2
            yield
        filler.unlink()


def _limit(pid: int, size: int) -> None:
    with suppress(ProcessLookupError):  # it has ended
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
