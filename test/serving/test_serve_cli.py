"""The command as a user starts it: a process of its own, asked by a simulator, stopped with Ctrl-C."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
from genie_sim_client import Simulator


def test_a_run_is_served_until_interrupted(run: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "rlt_ros.cli.main",
        "serve",
        str(run),
        "--port",
        "0",
        "--hz",
        "30",
        "--json",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if line.startswith("serving"))
            address = re.search(r"ws://127\.0\.0\.1:\d+", line)
            assert address is not None, line
            simulator = Simulator(address.group())
            result = simulator.step(0)
            refused = simulator.ask({"method": "reboot"})
            simulator.close()
        finally:
            process.send_signal(signal.SIGINT)
        try:
            output, _ = process.communicate(timeout=120)
        finally:
            process.kill()
    # 0.2 s at Genie Sim's rate
    assert np.array(result["right_arm"]["values"]).shape == (6, 7)
    assert "only `infer`" in refused["error"]
    assert process.returncode == 0
    assert json.loads(output.splitlines()[-1])["refused"] == 1
