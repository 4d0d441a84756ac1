"""Set up all tests: one thread, a drawing backend that works, own DDS domains, repeatable property tests."""

from __future__ import annotations

import os

# Before NumPy and torch are imported: small matrices gain nothing from threads, and tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Before messages are imported: from Jazzy on, those of ROS 2 check what they are given only when asked to.
os.environ.setdefault("ROS_PYTHON_CHECK_FIELDS", "1")

import pytest
from hypothesis import settings

from rlt_ros.bench.domain import reserve_domain
from rlt_ros.sim.opengl import OpenGLMissing, ensure_opengl

# Busy machines stall for seconds, so a deadline would fail by chance; a fixed sequence fails for a reason.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")

_DOMAINS = "RLT_TEST_DOMAINS"


def pytest_configure(config: pytest.Config) -> None:
    """Choose OpenGL backend and domains once, before workers start; they inherit both through the environment."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    if not hasattr(config, "workerinput"):
        count = max(getattr(config.option, "numprocesses", None) or 1, 1)
        os.environ[_DOMAINS] = " ".join(str(reserve_domain()) for _ in range(count))
        worker = "gw0"
        print(f"ROS_DOMAIN_ID of the tests: {os.environ[_DOMAINS]}")
    domains = os.environ[_DOMAINS].split()
    # xdist replaces a crashed worker by one of the next number.
    os.environ["ROS_DOMAIN_ID"] = domains[int(worker.removeprefix("gw")) % len(domains)]
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    try:
        ensure_opengl()
    except OpenGLMissing as missing:
        # Not every test draws. Those that do fail with this same message.
        print(f"warning: {missing}")
