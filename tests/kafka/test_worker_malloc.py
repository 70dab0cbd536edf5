"""Large blocks of memory return to the system when they are free."""

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys
from driftline.agents.worker.malloc_settings import return_large_blocks

class Info(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
        .split()
    ]

mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)
if mallinfo2 is None:
    sys.exit("no mallinfo2")
mallinfo2.restype = Info
if sys.argv[1] == "fixed" and not return_large_blocks():
    sys.exit("no mallopt")
first = bytearray(30 << 20)
del first  # glibc now treats blocks of up to 30 MiB as ordinary
before = mallinfo2().hblkhd
block = bytearray(8 << 20)
print(mallinfo2().hblkhd - before)
"""


def mapped_alone(how: str) -> int:
    """Bytes that a block of 8 MiB maps on its own after a block of 30 MiB was freed."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=False
    )
    if "no mall" in done.stderr:
        pytest.skip(f"this C library has {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_large_blocks_are_mapped_one_by_one_whatever_was_freed_before():
    assert mapped_alone("default") == 0  # the behaviour that the setting changes
    assert mapped_alone("fixed") >= 8 << 20
