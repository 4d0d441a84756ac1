"""Lateness of the control timer."""

from __future__ import annotations

from collections import deque

import numpy as np

# Number of newest ticks for the percentile; 10 s at 50 Hz.
_MAX_TICKS = 500


class Lateness:
    """Measurement of the delay of each tick.

    Args:
        period: s.
    """

    def __init__(self, period: float) -> None:
        self._period = round(period * 1e9)
        self._expected = 0
        # ms
        self._late: deque[float] = deque(maxlen=_MAX_TICKS)
        self.missed = 0
        """Periods without a tick."""

    def restart(self, now: int) -> None:
        """Expect the next tick one period after steady time `now`, ns."""
        self._expected = now + self._period

    def tick(self, now: int) -> None:
        """Record a tick at steady time `now`, ns."""
        late = now - self._expected
        self._late.append(late * 1e-6)
        skipped = max(0, late // self._period)
        self.missed += skipped
        self._expected += self._period * (1 + skipped)

    @property
    def p99(self) -> float | None:
        """99th percentile of the newest ticks, ms; None before the first."""
        return float(np.percentile(self._late, 99)) if self._late else None
