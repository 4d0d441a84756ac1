"""For all tests: one thread, a drawing backend that works, and property tests that repeat exactly."""

from __future__ import annotations

import os

# Before NumPy and torch are imported: small matrices gain nothing from threads, and tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Before messages are imported: from Jazzy on, those of ROS 2 check what they are given only when asked to.
os.environ.setdefault("ROS_PYTHON_CHECK_FIELDS", "1")

from hypothesis import settings

from rlt_ros.sim.opengl import OpenGLMissing, ensure_opengl

# Busy machines stall for seconds, so a deadline would fail by chance; a fixed sequence fails for a reason.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


def pytest_configure() -> None:
    """Choose the OpenGL backend once, before workers start; they inherit it through the environment."""
    try:
        ensure_opengl()
    except OpenGLMissing as missing:
        # Not every test draws. Those that do fail with this same message.
        print(f"warning: {missing}")
