"""Episodes: plan, state machine (reset, approach, critical phase, label) and log."""

from __future__ import annotations
