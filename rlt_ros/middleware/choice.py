"""Selection of the middleware of this process: rclpy or Cyclone DDS."""

from __future__ import annotations

import importlib.util
import os

VARIABLE = "RLT_ROS_MIDDLEWARE"


class MiddlewareError(ImportError):
    """The selected implementation cannot be imported."""


def _choose() -> str:
    chosen = os.environ.get(VARIABLE, "")
    if chosen not in ("", "rclpy", "dds"):
        raise MiddlewareError(f"{VARIABLE} is `{chosen}`; set it to rclpy or dds, or unset it")
    if chosen:
        return chosen
    if importlib.util.find_spec("rclpy") is None:
        return "dds"
    try:
        importlib.import_module("rclpy")
    except ImportError as error:
        raise MiddlewareError(
            f"ROS 2 is sourced, but this Python cannot import its rclpy ({error}). Use the Python that this ROS 2 was "
            f"built for, a shell in which ROS 2 is not sourced, or {VARIABLE}=dds"
        ) from error
    return "rclpy"


IMPLEMENTATION = _choose()
"""``rclpy`` or ``dds``."""
