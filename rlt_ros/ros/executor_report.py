"""Diagnostics of the executor: state of the control loop in one sentence, and its figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rlt_ros.acting.config import ControlConfig
from rlt_ros.acting.controller import Controller
from rlt_ros.robots.plausible import outside
from rlt_ros.ros.diagnostics import OK, WARN, Report
from rlt_ros.ros.lateness import Lateness

# Percentile of the chunk latencies that `overlap_delay` must cover.
_LATENCY_PERCENTILE = 95
# Minimum number of latencies for the percentile.
_MIN_LATENCIES = 20


def figures_of(controller: Controller, lateness: Lateness) -> dict[str, Any]:
    """Counters of executed steps and limits, and the lateness of the timer."""
    counters = controller.counters
    figures: dict[str, Any] = {f"steps_{source}": count for source, count in counters.sources.items()}
    figures.update({f"limited_{limit}": count for limit, count in counters.limit_hits.items()})
    figures["refused_targets"] = controller.refused_targets
    figures["unsent_steps"] = counters.unsent
    if lateness.p99 is not None:
        figures["timer_late_p99_ms"] = lateness.p99
        figures["missed_periods"] = lateness.missed
    return figures


def report(controller: Controller, config: ControlConfig, joints: Sequence[str]) -> Report:
    """State of an active executor of an arm with these `joints`."""
    if controller.hold_reason:
        return WARN, f"holds: {controller.hold_reason}{_outside(controller, joints)}", {}
    latencies = controller.latencies
    if len(latencies) < _MIN_LATENCIES or config.lock_step:
        return OK, "acts", {}
    latency = float(np.percentile(latencies, _LATENCY_PERCENTILE))
    figures = {f"chunk_latency_p{_LATENCY_PERCENTILE}_ms": 1e3 * latency}
    if latency > config.overlap_delay:
        delay = math.ceil(1e2 * latency) / 1e2
        return WARN, f"chunks arrive late: raise `overlap_delay` to {delay:.2f} s", figures
    return OK, "acts", figures


def _outside(controller: Controller, joints: Sequence[str]) -> str:
    """End of a sentence with joints outside their limits and the remedy; empty without any, and while commanding."""
    if controller.measured is None or controller.commanding:
        return ""
    limits = controller.limits
    found = list(outside(joints, controller.measured, limits.lower, limits.upper))
    if not found:
        return ""
    return f"; {'; '.join(found)}; the start of an episode or a take-over moves it back at the speed limit"
