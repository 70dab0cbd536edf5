"""Large pieces of memory are given back when they are free."""

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys
from driftline.agents.worker.malloc_settings import give_back_large

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)
if mallinfo2 is None:
    sys.exit("no mallinfo2")
mallinfo2.restype = Info
if sys.argv[1] == "fixed" and not give_back_large():
    sys.exit("no mallopt")
first = bytearray(30 << 20)
del first  # glibc now holds pieces of up to 30 MiB to be ordinary
before = mallinfo2().hblkhd
piece = bytearray(8 << 20)
print(mallinfo2().hblkhd - before)
"""


def mapped_alone(how: str) -> int:
    """Bytes that a piece of 8 MiB, after one of 30 MiB was freed, takes from the system by itself."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=False
    )
    if "no mall" in done.stderr:
        pytest.skip(f"this C library has {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_large_pieces_are_mapped_one_by_one_however_large_one_before_was():
    assert mapped_alone("as it is") == 0  # what there is to change
    assert mapped_alone("fixed") >= 8 << 20
