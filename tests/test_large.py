"""A gibibyte through real kernels and a real job: equal, and nowhere in memory twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernels import Kernel, kernel

_MEMORY = """
import numpy as np
from persist_magic import blobs

def held(field):
    "This process's memory in GiB: VmHWM is the most it ever held, VmRSS what it holds."
    text = open("/proc/self/status").read()
    return int(text.split(field + ":")[1].split()[0]) / (1 << 20)

def is_right(a):
    pieces = range(0, len(a), 1 << 20)
    return all((a[i : i + (1 << 20)] == np.arange(i, i + (1 << 20)) + 1).all() for i in pieces)

blobs.digest_of(b"")  # what is loaded once belongs to the base
base = held("VmHWM")
"""


def number(k: Kernel, expression: str) -> float:
    return float(k.get(f"float({expression})"))


@pytest.mark.timeout(400)
def test_array_of_one_gib_goes_in_and_comes_back_without_a_second_copy(root: Path) -> None:
    with kernel(root) as k:
        k.run(_MEMORY + "\na = np.arange(1 << 27, dtype='f8')")
        sent = k.run(
            "%%persist big\n"
            # The map of the array is not memory of the job until it is read.
            "start = held('VmHWM')\n"
            "a += 1\n"
            "in_job = held('VmHWM') - start\n",
            timeout=200,
        )
        assert not sent.error, sent.text
        assert number(k, "held('VmHWM') - base") <= 1.1
    with kernel(root) as k:
        k.run(_MEMORY)
        fetched = k.run("%persist_fetch big a in_job start", timeout=200)
        assert not fetched.error, fetched.text
        assert number(k, "held('VmRSS') - base") <= 0.15, "fetching read it into memory"
        assert k.get("is_right(a)") == "True"
        assert number(k, "held('VmHWM') - base") <= 1.1
        assert number(k, "in_job") <= 1.1
        used = k.run("%persist_status big").text
        assert "of memory" in used
        finished = k.run(
            "from persist_magic import read_job\n"
            "print(read_job('big').facts().attempt.finished.peak_memory / (1 << 30) - start)"
        )
        # Saving counts too: from before the cell to the end of the job.
        assert float(finished.stdout) <= 1.1
        # A job's own copy is private: writing to it changes no file.
        k.run("a[:] = 0")
        k.run("%persist_fetch big a -q", timeout=200)
        assert k.get("is_right(a)") == "True"
