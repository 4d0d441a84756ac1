"""Nice level of a process, as reported by the operating system."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_PROGRAM = """
import os, threading
from rlt_ros.ros.realtime import renice
os.nice({already})
renice({steps})
found = []
thread = threading.Thread(target=lambda: found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
thread.start()
thread.join()
print(os.getpriority(os.PRIO_PROCESS, 0), *found)
"""


@pytest.mark.parametrize(("already", "steps"), [(0, 10), (0, 0), (15, 10)])
def test_a_process_and_its_new_threads_raise_their_nice_level_and_never_lower_it(
    already: int, steps: int
) -> None:
    program = _PROGRAM.format(already=already, steps=steps)
    out = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True)
    before = min(os.getpriority(os.PRIO_PROCESS, 0) + already, 19)
    assert out.stdout.split() == [str(max(steps, before))] * 2
