"""Small vision-language-action model that trains on two CPU cores."""

from __future__ import annotations

from rlt_ros.vla.builtin.config import VLAConfig, VLATrainingConfig
from rlt_ros.vla.builtin.policy import BuiltinVLA
from rlt_ros.vla.builtin.shipped import load_builtin
from rlt_ros.vla.builtin.text import InstructionError

__all__ = ["BuiltinVLA", "InstructionError", "VLAConfig", "VLATrainingConfig", "load_builtin"]
